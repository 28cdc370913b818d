"""
What every session must hold, and what of that a request did not see. No I/O.

Each process counts up a key of its own in a session, and nobody else touches that. In some of
these saves it also takes the key that all processes fight for: it writes its name there, and whom
it saw there. An acknowledged save is one that returned; others may be seen or not.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

# Under these keys a session says which one it is, and who won the fight.
NUMBER, CONTENDED = "number", "contended"

LONGEST_HISTORY = 200


class Harm(StrEnum):
    """
    stale: a load that lacks what was acknowledged before it began. key lost: what was acknowledged
    is nowhere any more. session lost: "no such session", of one that nobody ended. ended alive: a
    session seen whose end was acknowledged before. error: an exception, in spite of a replica that
    all can reach. undone: a load that holds a save, and yet the value that this save had seen and
    replaced. mixed up: contents that nobody ever wrote there.
    """

    STALE = "stale"
    KEY_LOST = "key lost"
    SESSION_LOST = "session lost"
    ENDED_ALIVE = "ended alive"
    ERROR = "error"
    UNDONE = "undone"
    MIXED_UP = "mixed up"


class Snapshot(NamedTuple):
    """
    What a request must see that begins now.
    """

    acknowledged: Mapping[str, int]
    ended: bool


class Claim(NamedTuple):
    """
    One save's value of the contended key. saw: whose value it replaced. depth: how many went
    before that one.
    """

    saw: str | None
    depth: int


@dataclass(slots=True)
class Session:
    """
    acknowledged, sent: for each process the highest number that it was told is saved, and the
    highest that it ever sent.
    """

    number: int
    key: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    ending: bool = False
    ended: bool = False
    lost: bool = False
    claims: dict[str, Claim] = field(default_factory=dict)
    # For each process the numbers of its saves that claimed the contended key.
    claimed: dict[str, list[int]] = field(default_factory=dict)
    history: deque[str] = field(default_factory=lambda: deque(maxlen=LONGEST_HISTORY))
    reported: set[tuple[str | None, str]] = field(default_factory=set)


class Model:
    """
    Not thread-safe.
    """

    def __init__(self) -> None:
        self.harm: Counter[Harm] = Counter()
        # Of each kind the first one, with all that went before it in that session.
        self.first: dict[Harm, str] = {}
        self._began = time.monotonic()

    def begin(self, session: Session) -> Snapshot:
        """
        Return what a request must see that is about to begin.
        """
        return Snapshot(dict(session.acknowledged), session.ended)

    def note(self, session: Session, text: str) -> None:
        """
        Add a line to the history of a session.
        """
        session.history.append(f"{time.monotonic() - self._began:10.4f} {text}")

    def report(self, harm: Harm, session: Session, detail: str) -> None:
        """
        Count something that must not happen.
        """
        self.harm[harm] += 1
        self.note(session, f"--> {harm}: {detail}")
        if harm not in self.first:
            self.first[harm] = "\n".join(
                [f"{harm} in session {session.number}: {detail}", *session.history]
            )

    def loaded(
        self,
        session: Session,
        before: Snapshot,
        values: Mapping[str, Any],
        *,
        final: bool = False,
    ) -> None:
        """
        Judge what a request saw, nothing if it was told that there is no such session.

        final: whether it could ask every server, so that what it lacks is nowhere.
        """
        if session.lost:
            return
        if not values:
            if not session.ending:
                session.lost = True
                self.report(Harm.SESSION_LOST, session, "no such session")
            return
        if values.get(NUMBER) != session.number or any(
            values[who] > sent for who, sent in session.sent.items() if who in values
        ):
            self.report(Harm.MIXED_UP, session, f"{values}")
            return
        if before.ended:
            self.report(Harm.ENDED_ALIVE, session, f"{values}")
            return
        self._find_missing(session, before, values, final=final)
        self._find_undone(session, values)

    def sent(self, session: Session, who: str, number: int) -> None:
        """
        Note that a process is about to save.
        """
        session.sent[who] = number

    def claimed(self, session: Session, who: str, number: int, seen: Mapping[str, Any]) -> None:
        """
        Note that this save, whatever became of it, claimed the contended key, and what it saw.
        """
        self._learn(session, seen.get(CONTENDED))
        saw = (seen.get(CONTENDED) or {}).get("by")
        self._learn(session, {"by": name(who, number), "saw": saw})
        session.claimed.setdefault(who, []).append(number)

    def acknowledged(self, session: Session, who: str, number: int) -> None:
        """
        Note that a save returned.
        """
        session.acknowledged[who] = number

    def _find_missing(
        self, session: Session, before: Snapshot, values: Mapping[str, Any], *, final: bool
    ) -> None:
        missing = {
            who: (number, values.get(who))
            for who, number in before.acknowledged.items()
            if values.get(who, 0) < number
        }
        if missing:
            self.report(Harm.STALE, session, f"saved, and seen instead: {missing}")
        if not final:
            return
        for who, (number, seen) in missing.items():
            self.report(Harm.KEY_LOST, session, f"{who} = {number}, instead {seen}")
            # From now on nobody is blamed for it again.
            if session.acknowledged.get(who) == number:
                session.acknowledged[who] = seen or 0

    def _learn(self, session: Session, shown: Mapping[str, Any] | None) -> None:
        if shown is None or shown["by"] in session.claims:
            return
        saw = shown["saw"]
        before = session.claims.get(saw)
        session.claims[shown["by"]] = Claim(saw, before.depth + 1 if before else 1)

    def _find_undone(self, session: Session, values: Mapping[str, Any]) -> None:
        self._learn(session, values.get(CONTENDED))
        shown = (values.get(CONTENDED) or {}).get("by")
        for who, numbers in session.claimed.items():
            seen = values.get(who, 0)
            latest = next((number for number in reversed(numbers) if number <= seen), None)
            if latest is None:
                continue
            claim = name(who, latest)
            if (shown, claim) not in session.reported and self._comes_before(session, shown, claim):
                session.reported.add((shown, claim))
                self.report(Harm.UNDONE, session, f"{claim} had seen {shown}, which is back")

    def _comes_before(self, session: Session, one: str | None, other: str) -> bool:
        depth = session.claims[one].depth if one in session.claims else 0
        at: str | None = other
        while at is not None and at in session.claims and session.claims[at].depth > depth:
            at = session.claims[at].saw
        return at == one and one != other


def name(who: str, number: int) -> str:
    """
    Return what a save writes under the contended key.
    """
    return f"{who}.{number}"
