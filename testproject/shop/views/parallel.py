"""
Many requests at once, all of them changing one session.

The page's script opens a board, fires the marks at both web processes, and reads the board back
from each of them.
"""

from __future__ import annotations

import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from testproject.shop.forms import MAX_REQUESTS, MarkForm
from testproject.shop.noticeboard import Noticeboard
from testproject.shop.web_process import all_processes, answering, readable_by_peers

# Between loading the session and saving it, a real view works. Without that the requests
# would hardly overlap, and the page would prove little.
WORK = 0.05


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    processes = all_processes(request) or [answering(request)]
    context = {
        "marks": Noticeboard(request.session).marks(),
        "max_requests": MAX_REQUESTS,
        "origins": [{"origin": process.origin, "port": process.port} for process in processes],
    }
    return render(request, "shop/parallel.html", context)


@require_POST
def open_board(request: HttpRequest) -> HttpResponse:
    Noticeboard(request.session).open()
    return JsonResponse({"opened": True})


@require_POST
@readable_by_peers
def mark(request: HttpRequest) -> HttpResponse:
    """
    Write one session key, and say how many others were there when the session was loaded.
    """
    form = MarkForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    board = Noticeboard(request.session)
    seen = len(board.marks())
    time.sleep(WORK)
    board.mark(form.cleaned_data["number"])
    process = answering(request)
    return JsonResponse({"seen": seen, "pid": process.pid, "process": process.number})


@require_safe
@readable_by_peers
def marks(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"marks": Noticeboard(request.session).marks()})


@require_POST
def reset(request: HttpRequest) -> HttpResponse:
    Noticeboard(request.session).clear()
    return redirect("parallel")
