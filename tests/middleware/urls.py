from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path(f"{view.__name__}/", view)
    for view in (
        views.untouched,
        views.read,
        views.aread,
        views.write,
        views.awrite,
        views.same,
        views.read_in_template,
        views.read_in_if,
        views.read_in_context_processor,
        views.read_in_template_response,
        views.catch,
        views.catch_and_say_so,
        views.catch_and_fail,
        views.fail,
        views.write_and_fail,
        views.stream,
        views.stream_what_is_read_late,
        views.send_file,
        views.fill,
        views.flush,
        views.flush_and_write,
        views.log_in,
        views.log_out,
        views.who,
        views.save,
        views.expire_with_browser,
    )
]
