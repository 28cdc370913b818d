"""
Django's own session tests, run with our engines and our middleware.
"""

from __future__ import annotations

import sys
import unittest
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.test import SimpleTestCase

from django_distsession.middleware import SessionMiddleware

from .. import conftest
from . import sdist


def _import_django_tests() -> Any:
    sys.path.insert(0, str(sdist.tests_folder()))
    # Its models need an app of their own; only the tests that we do not take use them.
    models = ModuleType("sessions_tests.models")
    models.SessionStore = DatabaseSession  # type: ignore[attr-defined]
    sys.modules["sessions_tests.models"] = models
    return import_module("sessions_tests.tests")


django_tests = _import_django_tests()


class StoredSession:
    """
    What one of the tests looks up in Django's own table, looked up in our engine instead.
    """

    def __init__(self, backend: Any) -> None:
        self.objects = self
        self._backend = backend

    def get(self, session_key: str) -> StoredSession:
        self._session = self._backend(session_key)
        return self

    def get_decoded(self) -> dict[str, Any]:
        decoded: dict[str, Any] = self._session.load()
        assert self._session.session_key, "there is no such session"
        return decoded


class EngineTests(django_tests.SessionTestsMixin):  # type: ignore[misc,name-defined]
    engine: str

    @pytest.fixture(autouse=True)
    def _use_engine(self, settings: Any, distsession: Any) -> None:
        self.backend = conftest.engine_class(settings, self.engine)


class MiddlewareTests:
    engine: str

    @pytest.fixture(autouse=True)
    def _use_engine(self, settings: Any, distsession: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = conftest.engine_class(settings, self.engine)
        monkeypatch.setattr(django_tests, "Session", StoredSession(backend))
        monkeypatch.setattr(django_tests, "SessionMiddleware", SessionMiddleware)


class MemcachedTests(EngineTests, SimpleTestCase):
    engine = "memcached"


class CouchDBTests(EngineTests, SimpleTestCase):
    engine = "couchdb"


class HybridTests(EngineTests, SimpleTestCase):
    engine = "hybrid"


class MemcachedMiddlewareTests(MiddlewareTests, django_tests.SessionMiddlewareTests):  # type: ignore[misc,name-defined]
    engine = "memcached"


class CouchDBMiddlewareTests(MiddlewareTests, django_tests.SessionMiddlewareTests):  # type: ignore[misc,name-defined]
    engine = "couchdb"


class HybridMiddlewareTests(MiddlewareTests, django_tests.SessionMiddlewareTests):  # type: ignore[misc,name-defined]
    engine = "hybrid"


def test_no_test_is_missing() -> None:
    """
    Every test of Django's runs here for every engine.
    """
    loader = unittest.TestLoader()
    wanted = loader.getTestCaseNames(django_tests.SessionTestsMixin)
    assert len(wanted) > 60
    for case in (MemcachedTests, CouchDBTests, HybridTests):
        assert set(wanted) <= set(loader.getTestCaseNames(case))
