"""
Every page of the demo site, through Django's test client.
"""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.usefixtures("distsession")

PAGES = ["/", "/cart/", "/parallel/", "/where/", "/login/"]
POST_ONLY = [
    "/cart/add/",
    "/cart/change/",
    "/cart/empty/",
    "/parallel/open/",
    "/parallel/mark/",
    "/parallel/reset/",
    "/logout/",
]
ORIGIN = "http://127.0.0.1:8001"


@pytest.fixture
def customer(db: None, settings: Any) -> User:
    # The usual one is slow by design.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_user("demo", password="demo")


class Ids(HTMLParser):
    """
    The ids that a page gives, and those that it refers to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: list[str] = []
        self.wanted: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.given.append(value)
            elif name in {"for", "aria-labelledby"} and value:
                self.wanted.append(value)


def text(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def cart_of(client: Client) -> dict[str, Any]:
    return {key: value for key, value in client.session.items() if key.startswith("cart:")}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_which_web_process_answered(client: Client, page: str) -> None:
    assert f"Answered by web process <strong>{os.getpid()}</strong>" in text(client, page)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_stores_nothing_for_a_passer_by(client: Client, page: str) -> None:
    text(client, page)

    assert "sessionid" not in client.cookies


@pytest.mark.parametrize("page", PAGES)
def test_labels_and_headings_on_every_page_exist_once(client: Client, page: str) -> None:
    client.post("/cart/add/", {"product": "tea"})
    ids = Ids()
    ids.feed(text(client, page))

    assert len(ids.given) == len(set(ids.given))
    assert set(ids.wanted) <= set(ids.given)


@pytest.mark.parametrize("path", POST_ONLY)
def test_what_changes_a_session_is_not_to_be_had_by_a_link(client: Client, path: str) -> None:
    assert client.get(path).status_code == 405


@pytest.mark.parametrize("path", POST_ONLY)
def test_a_post_without_csrf_token_is_refused(path: str) -> None:
    assert Client(enforce_csrf_checks=True).post(path).status_code == 403


def test_home_links_all_web_processes(client: Client, settings: Any) -> None:
    settings.DEMO_PORTS = [8000, 8001]
    page = text(client, "/")

    assert 'href="http://testserver:8000/"' in page
    assert 'href="http://testserver:8001/"' in page


def test_cart_has_a_session_key_per_product(client: Client) -> None:
    for product in ["tea", "pot", "tea"]:
        client.post("/cart/add/", {"product": product})

    assert cart_of(client) == {"cart:tea": 2, "cart:pot": 1}
    page = text(client, "/cart/")
    assert "<code>cart:pot</code>" in page
    assert "€ 47.00" in page


def test_cart_quantity_can_be_changed(client: Client) -> None:
    client.post("/cart/add/", {"product": "tea"})
    client.post("/cart/change/", {"product": "tea", "quantity": "7"})

    assert cart_of(client) == {"cart:tea": 7}


def test_cart_quantity_of_none_removes_the_product(client: Client) -> None:
    client.post("/cart/add/", {"product": "tea"})
    client.post("/cart/add/", {"product": "cup"})
    client.post("/cart/change/", {"product": "tea", "quantity": "0"})

    assert cart_of(client) == {"cart:cup": 1}


@pytest.mark.parametrize("quantity", ["-1", "100", "1.5", "many", ""])
def test_impossible_quantity_is_refused_and_changes_nothing(client: Client, quantity: str) -> None:
    client.post("/cart/add/", {"product": "tea"})
    change = {"product": "tea", "quantity": quantity}
    response = client.post("/cart/change/", change, follow=True)

    assert "from 0 to 99" in response.content.decode()
    assert cart_of(client) == {"cart:tea": 1}


def test_a_product_can_be_added_up_to_the_largest_quantity(client: Client) -> None:
    client.post("/cart/change/", {"product": "tea", "quantity": "99"})
    client.post("/cart/add/", {"product": "tea"})

    assert cart_of(client) == {"cart:tea": 99}


def test_unknown_product_is_refused(client: Client) -> None:
    response = client.post("/cart/add/", {"product": "coffee"}, follow=True)

    assert "does not sell that" in response.content.decode()
    assert cart_of(client) == {}


def test_cart_can_be_emptied(client: Client) -> None:
    client.post("/cart/add/", {"product": "tea"})
    client.post("/cart/add/", {"product": "pot"})
    client.post("/cart/empty/")

    assert cart_of(client) == {}
    assert "Nothing yet" in text(client, "/cart/")


def test_login_page_names_the_demo_user(client: Client) -> None:
    page = text(client, "/login/")

    assert "user name <kbd>demo</kbd>, password <kbd>demo</kbd>" in page


def test_login_keeps_the_cart_and_changes_the_session_key(client: Client, customer: User) -> None:
    client.post("/cart/add/", {"product": "tea"})
    before = client.cookies["sessionid"].value
    response = client.post("/login/", {"username": "demo", "password": "demo"}, follow=True)

    assert '<span class="visitor-name">demo</span>' in response.content.decode()
    assert client.cookies["sessionid"].value != before
    assert cart_of(client) == {"cart:tea": 1}


def test_login_returns_to_the_page_asked_for(client: Client, customer: User) -> None:
    response = client.post("/login/", {"username": "demo", "password": "demo", "next": "/where/"})

    assert response.headers["Location"] == "/where/"


def test_wrong_password_is_refused_on_the_page(client: Client, customer: User) -> None:
    response = client.post("/login/", {"username": "demo", "password": "sesame"})

    assert 'role="alert"' in response.content.decode()
    assert "visitor-name" not in text(client, "/")


def test_logout_ends_the_session_for_good(client: Client, customer: User) -> None:
    client.post("/login/", {"username": "demo", "password": "demo"})
    cookie = client.cookies["sessionid"].value
    client.post("/logout/")

    thief = Client()
    thief.cookies["sessionid"] = cookie
    assert "visitor-name" not in text(thief, "/")


def test_parallel_requests_lose_no_update(client: Client) -> None:
    client.post("/parallel/open/")

    def mark(number: int) -> int:
        # A client of its own: this one is not made for several threads.
        sender = Client()
        sender.cookies["sessionid"] = client.cookies["sessionid"].value
        return sender.post("/parallel/mark/", {"number": number}).status_code

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(mark, range(1, 21)))

    assert answers == [200] * 20
    assert client.get("/parallel/marks/").json() == {"marks": list(range(1, 21))}


def test_a_mark_tells_what_it_found_and_who_answered(client: Client) -> None:
    client.post("/parallel/open/")
    client.post("/parallel/mark/", {"number": 1})
    answer = client.post("/parallel/mark/", {"number": 2}).json()

    assert answer == {"seen": 1, "pid": os.getpid(), "process": 1}


@pytest.mark.parametrize("number", ["0", "61", "one", ""])
def test_impossible_mark_is_refused(client: Client, number: str) -> None:
    client.post("/parallel/open/")

    assert client.post("/parallel/mark/", {"number": number}).status_code == 400
    assert client.get("/parallel/marks/").json() == {"marks": []}


def test_reset_and_open_clear_the_board(client: Client) -> None:
    for path in ["/parallel/reset/", "/parallel/open/"]:
        client.post("/parallel/open/")
        client.post("/parallel/mark/", {"number": 1})
        client.post(path)

        assert client.get("/parallel/marks/").json() == {"marks": []}


def test_parallel_page_shows_keys_of_an_earlier_volley(client: Client) -> None:
    client.post("/parallel/open/")
    client.post("/parallel/mark/", {"number": 1})

    assert "1 key of an earlier volley" in text(client, "/parallel/")


def test_parallel_page_without_javascript_says_so(client: Client) -> None:
    noscript = re.search(r"<noscript>(.*?)</noscript>", text(client, "/parallel/"), re.DOTALL)

    assert noscript is not None
    assert "JavaScript" in noscript[1]


def test_pages_of_a_peer_may_read_the_marks(client: Client, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = [ORIGIN]
    response = client.get("/parallel/marks/", headers={"Origin": ORIGIN})

    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9999", "https://example.org", "null"])
def test_pages_of_others_may_not_read_the_marks(client: Client, settings: Any, origin: str) -> None:
    settings.CSRF_TRUSTED_ORIGINS = [ORIGIN]
    response = client.get("/parallel/marks/", headers={"Origin": origin})

    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Origin" in response.headers["Vary"]


def test_where_page_of_a_passer_by_says_nowhere(client: Client) -> None:
    assert "Nowhere yet" in text(client, "/where/")


def test_where_page_shows_id_version_and_copies(client: Client) -> None:
    client.post("/cart/add/", {"product": "tea"})
    key = client.cookies["sessionid"].value
    page = text(client, "/where/")

    assert hashlib.sha256(key.encode()).hexdigest() in page
    assert key not in page
    assert "cart:tea" in page
    assert re.search(r"<code>1 · \S+</code>", page)
    assert page.count('<span class="state live">live</span>') >= 2
    assert "&quot;type&quot;: &quot;session&quot;" in page


def test_where_page_of_an_engine_that_cannot_tell_says_so(client: Client, settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

    assert "does not tell" in text(client, "/where/")
