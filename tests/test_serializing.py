"""
Values that JSON, or CouchDB, does not know, in sessions that are kept as JSON.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_distsession.backends.base import StoreBackedSession
from django_distsession.serializing import PortableJSONSerializer

from .conftest import stored
from .sessions import contents

JSON = PortableJSONSerializer()

# Lone surrogates, the mark that stands for them, and what could be taken for either.
PIECES = ["\ud800", "\udbff", "\udc00", "\udfff", "\ufdd0", "\U0001f600", "\\", "\\u", "d800", '"']
texts = st.lists(st.sampled_from([*PIECES, "fdd0", "0", "é", "\0", "\n"])).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)  # fmt: skip


@given(values)
def test_whatever_is_written_is_read(value: Any) -> None:
    data = JSON.dumps(value)
    usual = json.loads(json.dumps(value))
    assert JSON.loads(data) == usual
    # As CouchDB has it: text that is UTF-8.
    kept = json.dumps(json.loads(data), ensure_ascii=False).encode()
    assert JSON.loads(json.dumps(json.loads(kept)).encode()) == usual


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), 2**1024, -(2**1024), 10**400, 10**5000],
    ids=["NaN", "inf", "-inf", "2**1024", "-2**1024", "10**400", "10**5000"],
)
@pytest.mark.parametrize("within", [lambda value: value, lambda value: {"a": [0, {"b": value}]}])
def test_what_couchdb_does_not_know_is_refused(value: Any, within: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="no JSON"):
        JSON.dumps(within(value))


def test_text_with_many_digits_is_no_number() -> None:
    assert JSON.loads(JSON.dumps({"a": "1" * 1000})) == {"a": "1" * 1000}


KEPT = {
    "lone": "a\ud800b",
    "pair": "\U0001f600",
    "mark": "\ufdd0d800",
    "\udc00": {"\udfff": 1},
    "large": 10**300,
    "larger": int(sys.float_info.max),
    "float": 0.1,
    "smallest": sys.float_info.min,
}


def test_what_a_visitor_may_send_is_kept(
    session_class: type[StoreBackedSession], configure: Callable[..., None]
) -> None:
    configure(CODEC="django_distsession.codecs.JSONCodec")
    # A server of pouchdb's counts as JavaScript does, which knows no such integers.
    kept = {key: value for key, value in KEPT.items() if not isinstance(value, int)}
    key = stored(session_class, **kept)
    assert contents(session_class, key) == kept
    session = session_class(key)
    session["\ud800 too"] = "\udc00"
    session.save()
    assert contents(session_class, key) == {**kept, "\ud800 too": "\udc00"}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 10**400], ids=["NaN", "inf", "10**400"]
)
def test_what_is_refused_leaves_the_session_as_it_was(
    session_class: type[StoreBackedSession], configure: Callable[..., None], value: Any
) -> None:
    configure(CODEC="django_distsession.codecs.JSONCodec")
    key = stored(session_class, a=1)
    session = session_class(key)
    session["b"] = value
    with pytest.raises(TypeError):
        session.save()
    assert contents(session_class, key) == {"a": 1}
    other = session_class(key)
    other["a"] = 2
    other.save()
    assert contents(session_class, key) == {"a": 2}


def test_the_signed_codec_keeps_all_that_django_does(
    session_class: type[StoreBackedSession],
) -> None:
    values = {**KEPT, "inf": float("inf"), "zero": -0.0, "tiny": 5e-324, "huge": 10**400}
    key = stored(session_class, nan=float("nan"), **values)
    read = contents(session_class, key) or {}
    assert math.isnan(read.pop("nan"))
    assert repr(read) == repr(values)
