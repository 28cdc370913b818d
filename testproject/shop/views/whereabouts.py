from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from testproject.shop.whereabouts import Whereabouts


@never_cache
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """
    Where does this session live?
    """
    # Django's own engines, which one may want to compare, know no copies to tell of.
    inspect = getattr(request.session, "inspect", None)
    context = {
        "engine": settings.SESSION_ENGINE,
        "whereabouts": Whereabouts.from_inspection(inspect()) if inspect else None,
        "session_keys": sorted(request.session.keys()),
    }
    return render(request, "shop/where.html", context)
