"""
Views that use their session in every way that we can think of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import authenticate, login, logout
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template import Context, engines
from django.template.response import TemplateResponse

from django_distsession.exceptions import StoreUnavailable


def untouched(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.session.get("a")))


async def aread(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await request.session.aget("a")))


def fill(request: HttpRequest) -> HttpResponse:
    request.session["a"] = 1
    return HttpResponse("ok")


def write(request: HttpRequest) -> HttpResponse:
    request.session["b"] = request.session.get("b", 0) + 1
    return HttpResponse("ok")


async def awrite(request: HttpRequest) -> HttpResponse:
    await request.session.aset("b", await request.session.aget("b", 0) + 1)
    return HttpResponse("ok")


def same(request: HttpRequest) -> HttpResponse:
    request.session["a"] = 1
    return HttpResponse("ok")


def save(request: HttpRequest) -> HttpResponse:
    request.session["b"] = request.session.get("b", 0) + 1
    request.session.save()
    request.session.modified = False
    return HttpResponse("ok")


def expire_with_browser(request: HttpRequest) -> HttpResponse:
    request.session.set_expiry(0)
    return HttpResponse("ok")


def _template(text: str) -> Any:
    return engines["django"].from_string(text)


def read_in_template(request: HttpRequest) -> HttpResponse:
    text = _template("{{ session.a }}").template.render(Context({"session": request.session}))
    return HttpResponse(text)


def read_in_if(request: HttpRequest) -> HttpResponse:
    # Any error in an operator counts as False there.
    return HttpResponse(
        _template("{% if session.a and 1 %}logged in{% else %}log in{% endif %}").render(
            {"session": request.session}
        )
    )


def read_in_context_processor(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_template("{{ cart.size }}").render({}, request))


def read_in_template_response(request: HttpRequest) -> TemplateResponse:
    return TemplateResponse(request, _template("{{ session.a }}"), {"session": request.session})


def catch(request: HttpRequest) -> HttpResponse:
    try:
        request.session.get("a")
    except StoreUnavailable:
        return HttpResponse("without a session")
    return HttpResponse("with a session")


def catch_and_say_so(request: HttpRequest) -> HttpResponse:
    request.session.anonymous_when_unavailable = True  # type: ignore[attr-defined]
    return catch(request)


def catch_and_fail(request: HttpRequest) -> HttpResponse:
    catch(request)
    raise ValueError("A bug that has nothing to do with the session.")


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("A bug that has nothing to do with the session.")


def write_and_fail(request: HttpRequest) -> HttpResponse:
    request.session["b"] = 1
    return HttpResponse("The view says so.", status=502)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    request.session["b"] = 1
    return StreamingHttpResponse(iter([b"one", b"two"]))


def stream_what_is_read_late(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield b"one"
        yield str(request.session.get("a")).encode()

    return StreamingHttpResponse(parts())


sent_files: list[Any] = []


def send_file(request: HttpRequest) -> HttpResponseBase:
    request.session["b"] = 1
    file = tempfile.TemporaryFile()  # noqa: SIM115
    sent_files.append(file)
    return FileResponse(file)


def flush(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponse("ok")


def flush_and_write(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    request.session["fresh"] = 1
    return HttpResponse("ok")


def log_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username="demo", password="demo")
    assert user
    login(request, user)
    return HttpResponse("ok")


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("ok")


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username() or "nobody")
