from __future__ import annotations

from traceback import extract_tb

import pytest

from django_distsession.secret import Secret, without_frames, wrapped, wrapped_items


def test_no_way_to_print_a_secret_shows_it() -> None:
    secret = Secret("hush").map(str.upper)
    assert "HUSH" not in f"{secret} {secret!r} {[secret]} {wrapped_items(Secret({1: secret}))}"
    assert not isinstance(secret, str)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == "HUSH"


def test_a_secret_is_wrapped_once() -> None:
    secret = Secret("hush")
    assert wrapped("hush") == secret
    again: Secret[str] = wrapped(secret)
    assert again is secret
    assert secret != "hush"


def test_each_value_of_a_mapping_is_wrapped() -> None:
    assert wrapped_items(Secret({"PASSWORD": "hush"})) == {"PASSWORD": Secret("hush")}
    assert wrapped_items(Secret([("PASSWORD", "hush")])) is None


def test_frames_of_a_library_are_cut_off_and_no_more() -> None:
    def library(secret: str) -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    try:
        raise LookupError("of the caller")
    except LookupError as handled:
        outer = handled
        with pytest.raises(ValueError, match="outer") as caught:
            without_frames(lambda: library("hush"))
    assert "library" not in [entry.name for entry in extract_tb(caught.value.__traceback__)]
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    assert cause.__traceback__ is None
    # It may be reported yet.
    assert outer.__traceback__ is not None
