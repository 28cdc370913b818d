"""
What every page shows: the cart's size, and which web process answered.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from testproject.shop.cart import Cart
from testproject.shop.web_process import all_processes, answering


def cart(request: HttpRequest) -> dict[str, Any]:
    return {"cart": Cart(request.session)}


def web_processes(request: HttpRequest) -> dict[str, Any]:
    return {"answering": answering(request), "web_processes": all_processes(request)}
