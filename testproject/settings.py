"""
Settings of the demo site and of the tests.

Whatever differs between a demo, a test run and a developer's own servers comes from the
environment; the defaults suit servers on their usual ports on this machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent


def _from_environment(name: str) -> list[str]:
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


# A published key signs nothing worth having; `make demo` makes a new one for each run.
SECRET_KEY = os.environ.get("DISTSESSION_SECRET_KEY", "for-demo-and-tests-only-" + "0" * 40)
DEBUG = os.environ.get("DISTSESSION_DEBUG", "1") == "1"

DEMO_HOSTS = ["127.0.0.1", "localhost"]
# The ports of all web processes that serve this demo, this one's included.
DEMO_PORTS = [int(port) for port in _from_environment("DISTSESSION_DEMO_PORTS")]

ALLOWED_HOSTS = DEMO_HOSTS
# The parallel page posts from one web process to the other, which is another origin.
CSRF_TRUSTED_ORIGINS = [f"http://{host}:{port}" for host in DEMO_HOSTS for port in DEMO_PORTS]

INSTALLED_APPS = [
    "django_distsession",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "testproject.shop",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django_distsession.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

SESSION_ENGINE = os.environ.get("DISTSESSION_ENGINE", "django_distsession.backends.hybrid")

DISTSESSION: dict[str, dict[str, Any]] = {
    "MEMCACHED": {"SERVERS": _from_environment("DISTSESSION_MEMCACHED") or ["127.0.0.1:11211"]},
    "COUCHDB": {"URL": os.environ.get("DISTSESSION_COUCHDB_URL", "http://127.0.0.1:5984")},
}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DISTSESSION_DEMO_DB", ":memory:"),
    }
}

ROOT_URLCONF = "testproject.urls"
WSGI_APPLICATION = "testproject.wsgi.application"
ASGI_APPLICATION = "testproject.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "testproject.shop.context_processors.web_processes",
                "testproject.shop.context_processors.cart",
            ],
        },
    }
]

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

STATIC_URL = "/static/"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
