from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from testproject.shop.cart import MAX_QUANTITY, Cart
from testproject.shop.catalogue import PRODUCTS
from testproject.shop.forms import ProductForm, QuantityForm


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    context = {"products": PRODUCTS.values(), "max_quantity": MAX_QUANTITY}
    return render(request, "shop/cart.html", context)


@require_POST
def add(request: HttpRequest) -> HttpResponse:
    form = ProductForm(request.POST)
    if form.is_valid():
        product = form.cleaned_data["product"]
        Cart(request.session).add(product)
        messages.success(request, f"{product.name} is in your cart.")
    else:
        messages.error(request, "The shop does not sell that.")
    return redirect("cart")


@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """
    Set a product's quantity, or remove the product: then the quantity is 0.
    """
    form = QuantityForm(request.POST)
    if form.is_valid():
        product, quantity = form.cleaned_data["product"], form.cleaned_data["quantity"]
        Cart(request.session).change(product, quantity)
        said = f"{product.name}: {quantity} now." if quantity else f"{product.name} is removed."
        messages.success(request, said)
    else:
        messages.error(request, f"A quantity is a whole number from 0 to {MAX_QUANTITY}.")
    return redirect("cart")


@require_POST
def empty(request: HttpRequest) -> HttpResponse:
    Cart(request.session).empty()
    messages.success(request, "Your cart is empty.")
    return redirect("cart")
