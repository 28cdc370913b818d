"""
The response to a request whose session cannot be had.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import views
from .conftest import Browser, Outage, assert_is_outage

# Most of this happens above the store, for which one engine is as good as another.
pytestmark = pytest.mark.parametrize("session_class", ["hybrid"], indirect=True)


def test_the_page_promises_no_more_than_is_known(browser: Browser, outage: Outage) -> None:
    browser.get("/fill/")
    with outage():
        page = browser.get("/read/").content.decode()
    assert "it may not have arrived" in page
    # With memcached alone, that may be.
    assert not any(word in page for word in ("lost", "logged"))


def test_files_of_a_response_that_is_not_sent_are_closed(browser: Browser, outage: Outage) -> None:
    browser.get("/fill/")
    with outage("replace"):
        assert_is_outage(browser.get("/send_file/"))
    assert views.sent_files.pop().closed


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/html;q=0.5"])
def test_who_asks_for_json_gets_json(browser: Browser, outage: Outage, accept: str) -> None:
    browser.get("/fill/")
    with outage():
        response = browser.get("/read/", accept=accept)
    assert response.status_code == 503
    assert "error" in json.loads(response.content)
    assert "Accept" in response.headers["Vary"]


@pytest.mark.parametrize("accept", ["*/*", "text/html,*/*;q=0.8", "", ";;nonsense"])
def test_who_asks_for_anything_gets_the_page(browser: Browser, outage: Outage, accept: str) -> None:
    browser.get("/fill/")
    with outage():
        assert_is_outage(browser.get("/read/", accept=accept))


def test_the_page_is_a_template_that_sites_override(
    browser: Browser, outage: Outage, settings: Any
) -> None:
    browser.get("/fill/")
    settings.TEMPLATES = [_pages({"distsession/unavailable.html": "Gone fishing."})]
    with outage():
        response = browser.get("/read/")
    assert (response.status_code, response.content) == (503, b"Gone fishing.")


@pytest.mark.parametrize("pages", [{}, {"distsession/unavailable.html": "{% url 'no-such' %}"}])
def test_a_page_that_cannot_be_rendered_has_a_stand_in(
    browser: Browser, outage: Outage, settings: Any, pages: dict[str, str]
) -> None:
    browser.get("/fill/")
    settings.TEMPLATES = [_pages(pages)]
    with outage():
        response = browser.get("/read/")
    assert response.status_code == 503
    assert b"try again" in response.content


def _pages(pages: dict[str, str]) -> dict[str, Any]:
    loaders = [("django.template.loaders.locmem.Loader", pages)]
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"loaders": loaders},
    }
