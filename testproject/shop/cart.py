"""
The shopping cart: one session key per product.

Requests that change different keys of one session never undo each other, so a cart laid out
like this survives two tabs; one list under one key would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.contrib.sessions.backends.base import SessionBase

from testproject.shop.catalogue import PRODUCTS, Product

PREFIX = "cart:"
MAX_QUANTITY = 99


@dataclass(frozen=True)
class Line:
    product: Product
    session_key: str
    quantity: int

    @property
    def price(self) -> Decimal:
        return self.product.price * self.quantity


class Cart:
    def __init__(self, session: SessionBase) -> None:
        self._session = session

    def add(self, product: Product) -> None:
        self.change(product, self.quantity(product) + 1)

    def change(self, product: Product, quantity: int) -> None:
        """
        Set how many of a product are wanted; none removes it.
        """
        if quantity > 0:
            self._session[PREFIX + product.slug] = min(quantity, MAX_QUANTITY)
        else:
            self._session.pop(PREFIX + product.slug, None)

    def empty(self) -> None:
        for product in PRODUCTS.values():
            self.change(product, 0)

    def quantity(self, product: Product) -> int:
        quantity: int = self._session.get(PREFIX + product.slug, 0)
        return quantity

    @property
    def lines(self) -> list[Line]:
        return [
            Line(product, PREFIX + product.slug, quantity)
            for product in PRODUCTS.values()
            if (quantity := self.quantity(product))
        ]

    @property
    def total(self) -> Decimal:
        return sum((line.price for line in self.lines), Decimal(0))

    @property
    def size(self) -> int:
        return sum(line.quantity for line in self.lines)
