from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """
    What this demo is, and how its parts hang together.
    """
    context = {
        "engine": settings.SESSION_ENGINE,
        "memcached_nodes": settings.DISTSESSION["MEMCACHED"]["SERVERS"],
    }
    return render(request, "shop/home.html", context)
