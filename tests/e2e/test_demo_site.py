"""
The demo site under gunicorn and uvicorn, its stores killed and hung, seen by a real browser.
"""

from __future__ import annotations

import pytest

from .browser import Browser
from .conftest import Site
from .web import WebServer

WEB_SERVERS = ["gunicorn", "uvicorn"]
LOG_OUT = 'form[action="/logout/"] button'


@pytest.fixture(params=WEB_SERVERS)
def web(request: pytest.FixtureRequest, site: Site) -> WebServer:
    return site.web_servers[WEB_SERVERS.index(request.param)]


def log_in(browser: Browser, web: WebServer) -> str:
    browser.open(f"{web.url}/login/")
    browser.fill("input[name=username]", "demo")
    browser.fill("input[name=password]", "demo")
    browser.click("main form button")
    assert is_logged_in(browser)
    assert browser.cookie
    return browser.cookie


def is_logged_in(browser: Browser) -> bool:
    assert browser.status == 200
    logged_in = browser.shows(LOG_OUT)
    assert logged_in != browser.shows('.visitor a[href="/login/"]')
    return logged_in


def test_an_outage_of_every_store_logs_nobody_out(
    site: Site, web: WebServer, browser: Browser
) -> None:
    cookie = log_in(browser, web)
    browser.click('a[href="/cart/"]')
    browser.click(".product form button")
    assert browser.shows(".line-name")

    site.kill_every_store()
    browser.click('a[href="/parallel/"]')
    for page in ("/cart/", "/", "/where/", "/login/"):
        assert browser.status == 503
        assert browser.text("h1") == "Back in a moment"
        assert browser.cookie == cookie
        browser.open(web.url + page)

    site.start_every_store()
    browser.open_when_back(f"{web.url}/cart/")
    assert is_logged_in(browser)
    assert browser.shows(".line-name")
    assert browser.cookie == cookie


def test_parallel_requests_lose_no_update(web: WebServer, browser: Browser) -> None:
    log_in(browser, web)
    browser.open(f"{web.url}/parallel/")
    browser.fill("#requests", "24")
    assert browser.fire("#fire button", "#verdict") == "All 24 updates are there. None was lost."
    assert browser.text("#lost") == "0"
    browser.open(f"{web.url}/")
    assert is_logged_in(browser)


@pytest.mark.parametrize("site", ["hybrid", "memcached"], indirect=True)
def test_a_logout_during_the_pause_of_a_node_outlasts_it(
    site: Site, web: WebServer, browser: Browser
) -> None:
    # Two of the three hold the session; which ones depends on its key.
    for node in site.nodes:
        cookie = log_in(browser, web)
        node.pause()
        try:
            browser.open(f"{web.url}/")
            browser.click(LOG_OUT)
            assert not is_logged_in(browser)
            assert browser.cookie is None
        finally:
            node.resume()
        # As from a tab, or a thief, that still has it.
        browser.put_cookie(cookie)
        for page in ("/", "/cart/", "/where/"):
            browser.open(web.url + page)
            assert not is_logged_in(browser)
