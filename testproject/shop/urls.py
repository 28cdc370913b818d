"""
URLs of the shop.
"""

from __future__ import annotations

from django.urls import path

from testproject.shop.views import cart, home, parallel, whereabouts

urlpatterns = [
    path("", home.home, name="home"),
    path("cart/", cart.show, name="cart"),
    path("cart/add/", cart.add, name="cart-add"),
    path("cart/change/", cart.change, name="cart-change"),
    path("cart/empty/", cart.empty, name="cart-empty"),
    path("parallel/", parallel.show, name="parallel"),
    path("parallel/open/", parallel.open_board, name="parallel-open"),
    path("parallel/mark/", parallel.mark, name="parallel-mark"),
    path("parallel/marks/", parallel.marks, name="parallel-marks"),
    path("parallel/reset/", parallel.reset, name="parallel-reset"),
    path("where/", whereabouts.show, name="where"),
]
