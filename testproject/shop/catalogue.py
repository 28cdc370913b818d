"""
What the shop sells.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Product:
    slug: str
    name: str
    note: str
    price: Decimal


PRODUCTS = {
    product.slug: product
    for product in [
        Product("tea", "Assam tea", "Malty second flush, 100 g", Decimal("6.50")),
        Product("pot", "Teapot", "Stoneware, pours for two", Decimal("34.00")),
        Product("cup", "Cup", "One of a pair, sold singly", Decimal("11.50")),
        Product("honey", "Honey", "Lime blossom, 250 g", Decimal("7.20")),
        Product("lemon", "Lemon", "Unwaxed, from Sorrento", Decimal("0.80")),
        Product("biscuit", "Shortbread", "All butter, box of twelve", Decimal("4.90")),
    ]
}
