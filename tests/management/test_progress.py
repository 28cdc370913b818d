from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr

import pytest

from django_distsession.management.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(output: io.StringIO, *, hidden: bool = False) -> str:
    with redirect_stderr(output):
        assert list(progress([1, 2], 2, "Sessions on a:1", hidden=hidden)) == [1, 2]
    return output.getvalue()


def test_a_terminal_shows_how_far_it_got() -> None:
    assert "Sessions on a:1" in shown(Terminal())


def test_nothing_is_shown_where_it_is_not_wanted() -> None:
    assert shown(Terminal(), hidden=True) == ""


def test_nothing_is_shown_in_a_log() -> None:
    assert shown(io.StringIO()) == ""


def test_items_pass_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert shown(Terminal()) == ""
