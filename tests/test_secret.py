from __future__ import annotations

from traceback import extract_tb

import pytest

from django_distsession.secret import without_frames


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
