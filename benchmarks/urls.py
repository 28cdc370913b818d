"""
Three pages, by what they do with the session.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from benchmarks.sample import READ_KEY, change


def untouched(request: HttpRequest) -> HttpResponse:
    return HttpResponse("done")


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.session[READ_KEY])


def write(request: HttpRequest) -> HttpResponse:
    change(request.session)
    return HttpResponse("done")


urlpatterns = [path("untouched", untouched), path("read", read), path("write", write)]
