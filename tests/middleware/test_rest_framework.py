"""
Django REST framework, whose views authenticate by session.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest
from django.urls import path
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from ..sessions import Calls
from . import views
from .conftest import Browser, Outage

JSON = {"accept": "application/json"}


class Basket(APIView):  # type: ignore[misc]
    authentication_classes = [SessionAuthentication]  # noqa: RUF012
    permission_classes = [IsAuthenticated]  # noqa: RUF012
    renderer_classes = [JSONRenderer]  # noqa: RUF012

    def get(self, request: HttpRequest) -> Response:
        return Response({"user": request.user.get_username(), "b": request.session.get("b")})

    def post(self, request: HttpRequest) -> Response:
        request.session["b"] = request.session.get("b", 0) + 1
        return Response({"b": request.session["b"]})


urlpatterns = [path("basket/", Basket.as_view()), path("who/", views.who)]


@pytest.fixture
def browser(
    browser: Browser, settings: Any, with_middleware: Callable[..., None], customer: Any
) -> Browser:
    settings.ROOT_URLCONF = __name__
    with_middleware("django.contrib.auth.middleware.AuthenticationMiddleware")
    return browser


def test_who_is_logged_in_may_use_the_api(browser: Browser, customer: Any, calls: Calls) -> None:
    browser.log_in_as(customer)
    calls.names.clear()
    assert json.loads(browser.post("/basket/", **JSON).content) == {"b": 1}
    assert calls == ["get", "replace"]
    answer = browser.get("/basket/", **JSON)
    assert json.loads(answer.content) == {"user": "demo", "b": 1}
    assert calls == ["get"]


def test_who_is_not_logged_in_may_not(browser: Browser) -> None:
    assert browser.get("/basket/", **JSON).status_code == 403


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_outage_is_no_forbidden_and_no_server_error(
    browser: Browser, customer: Any, outage: Outage, method: str
) -> None:
    browser.log_in_as(customer)
    with outage():
        answer = getattr(browser, method)("/basket/", **JSON)
    assert answer.status_code == 503
    assert "error" in json.loads(answer.content)
    assert not answer.cookies
    assert browser.get("/who/").content == b"demo"


def test_who_sent_no_cookie_is_forbidden_in_an_outage_too(browser: Browser, outage: Outage) -> None:
    with outage():
        assert browser.get("/basket/", **JSON).status_code == 403
