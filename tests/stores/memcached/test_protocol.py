"""
Answers that memcached gives when something is wrong with it, and answers that it never gives.
"""

from __future__ import annotations

from typing import Any

import pytest

from django_distsession.exceptions import StoreUnavailable

from .conftest import contents, stored
from .impostor import Answer, impostor

KEY = "a" * 32


def out_of_memory(verb: bytes, ending: bytes) -> bytes:
    return b"SERVER_ERROR out of memory writing get response\r\n"


def unknown_status(verb: bytes, ending: bytes) -> bytes:
    return b"ZZ" + ending


def done_whatever_it_was(verb: bytes, ending: bytes) -> bytes:
    return b"HD" + ending


def less_than_nothing(verb: bytes, ending: bytes) -> bytes:
    return b"VA -2 c1 t60" + ending


def without_end(verb: bytes, ending: bytes) -> bytes:
    return b"VA 2 c1 t60" + ending + b"xxyy"


@pytest.mark.parametrize(
    "answer",
    [out_of_memory, unknown_status, done_whatever_it_was, less_than_nothing, without_end],
)
def test_what_is_no_answer_to_a_question_is_an_outage_and_no_logout(
    use: Any, answer: Answer
) -> None:
    with impostor(answer) as address:
        sessions = use([address])
        session = sessions(KEY)
        with pytest.raises(StoreUnavailable):
            session.get("a")
        # So the cookie stays.
        assert session.session_key == KEY
        # And nobody is told that the session has ended.
        with pytest.raises(StoreUnavailable):
            sessions(KEY).delete()
        sessions.get_store().close()


@pytest.mark.parametrize("about", [b"STAT\r\nEND\r\n", b"VALUE x 0 0\r\nEND\r\n"])
def test_settings_that_cannot_be_read_are_an_outage(use: Any, about: bytes) -> None:
    with impostor(out_of_memory, about) as address:
        sessions = use([address])
        with pytest.raises(StoreUnavailable):
            contents(sessions, KEY)
        sessions.get_store().close()


def test_a_server_that_has_every_key_is_not_asked_for_ever(use: Any) -> None:
    with impostor(lambda verb, ending: (b"EN" if verb == b"mg" else b"NS") + ending) as address:
        sessions = use([address])
        with pytest.raises(StoreUnavailable, match="8 new session keys"):
            stored(sessions, a=1)
        sessions.get_store().close()
