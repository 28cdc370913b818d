"""
The model that random histories are held against finds what it is there to find, and no more.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.histories.model import CONTENDED, NUMBER, Harm, Model, Session


class Told:
    """
    A session of which the model was told some saves.
    """

    def __init__(self) -> None:
        self.model = Model()
        self.session = Session(7, "key")

    def save(self, who: str, number: int, *, acknowledged: bool = True) -> None:
        self.model.sent(self.session, who, number)
        if acknowledged:
            self.model.acknowledged(self.session, who, number)

    def claim(self, who: str, number: int, saw: str | None) -> None:
        self.save(who, number)
        by = {CONTENDED: {"by": saw, "saw": self.saw_of(saw)}} if saw else {}
        self.model.claimed(self.session, who, number, {NUMBER: 7, **by})

    def saw_of(self, name: str | None) -> str | None:
        claim = self.session.claims.get(name or "")
        return claim.saw if claim else None

    def see(self, final: bool = False, **values: Any) -> dict[Harm, int]:
        """
        Return the harm that is found in a load of these values.
        """
        before = self.model.begin(self.session)
        shown = {NUMBER: 7, **values} if values else {}
        return self.found(before, shown, final)

    def found(self, before: Any, values: dict[str, Any], final: bool = False) -> dict[Harm, int]:
        self.model.harm.clear()
        self.model.loaded(self.session, before, values, final=final)
        return dict(self.model.harm)


@pytest.fixture
def told() -> Told:
    return Told()


def test_what_was_saved_must_be_seen(told: Told) -> None:
    told.save("w0", 1)
    told.save("w1", 1)
    told.save("w1", 2, acknowledged=False)
    assert told.see(w0=1, w1=1) == {}
    assert told.see(w0=1, w1=2) == {}
    assert told.see(w0=1) == {Harm.STALE: 1}
    assert "w1" in told.model.first[Harm.STALE]


def test_what_was_saved_after_a_request_began_need_not_be_seen(told: Told) -> None:
    before = told.model.begin(told.session)
    told.save("w0", 1)
    assert told.found(before, {NUMBER: 7}) == {}


def test_what_a_final_load_lacks_is_lost_once(told: Told) -> None:
    told.save("w0", 1)
    told.save("w0", 2)
    assert told.see(final=True, w0=1) == {Harm.STALE: 1, Harm.KEY_LOST: 1}
    assert told.see(final=True, w0=1) == {}
    told.save("w0", 3)
    assert told.see(w0=1) == {Harm.STALE: 1}


def test_a_session_is_lost_once_and_only_if_nobody_ends_it(told: Told) -> None:
    assert told.see() == {Harm.SESSION_LOST: 1}
    assert told.see() == {}
    another = Told()
    another.session.ending = True
    assert another.see() == {}


def test_an_ended_session_must_not_be_seen_by_who_comes_later(told: Told) -> None:
    before = told.model.begin(told.session)
    told.session.ending = told.session.ended = True
    assert told.found(before, {NUMBER: 7}) == {}
    assert told.see(w0=1) == {Harm.ENDED_ALIVE: 1}
    assert told.see() == {}


def test_what_nobody_wrote_there_is_another_sessions(told: Told) -> None:
    told.save("w0", 1)
    assert told.see(w0=2) == {Harm.MIXED_UP: 1}
    assert told.found(told.model.begin(told.session), {NUMBER: 8, "w0": 1}) == {Harm.MIXED_UP: 1}


def shown(by: str, saw: str | None) -> dict[str, str | None]:
    return {"by": by, "saw": saw}


def test_a_value_must_not_come_back_after_one_that_had_seen_it(told: Told) -> None:
    told.claim("w0", 1, saw=None)
    told.claim("w1", 1, saw="w0.1")
    told.claim("w2", 1, saw="w1.1")
    latest: dict[str, Any] = {"w0": 1, "w1": 1, "w2": 1}
    assert told.see(**latest, contended=shown("w2.1", "w1.1")) == {}
    assert told.see(**latest, contended=shown("w0.1", None)) == {Harm.UNDONE: 2}
    # Once for each of those that had seen it.
    assert told.see(**latest, contended=shown("w0.1", None)) == {}


def test_a_value_may_be_seen_as_long_as_the_one_that_saw_it_is_not(told: Told) -> None:
    told.claim("w0", 1, saw=None)
    told.claim("w1", 1, saw="w0.1")
    assert told.see(w0=1, contended=shown("w0.1", None)) == {Harm.STALE: 1}


def test_of_saves_that_did_not_see_each_other_either_may_win(told: Told) -> None:
    told.claim("w0", 1, saw=None)
    told.claim("w1", 1, saw="w0.1")
    told.claim("w2", 1, saw="w0.1")
    for winner in ("w1.1", "w2.1"):
        assert told.see(w0=1, w1=1, w2=1, contended=shown(winner, "w0.1")) == {}
