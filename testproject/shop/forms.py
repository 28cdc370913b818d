"""
What the shop's buttons may send.
"""

from __future__ import annotations

from django import forms

from testproject.shop.cart import MAX_QUANTITY
from testproject.shop.catalogue import PRODUCTS, Product

MAX_REQUESTS = 60


class ProductForm(forms.Form):
    product = forms.ChoiceField(choices=[(slug, item.name) for slug, item in PRODUCTS.items()])

    def clean_product(self) -> Product:
        return PRODUCTS[self.cleaned_data["product"]]


class QuantityForm(ProductForm):
    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class MarkForm(forms.Form):
    number = forms.IntegerField(min_value=1, max_value=MAX_REQUESTS)
