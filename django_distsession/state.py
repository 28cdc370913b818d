"""
A session as a last-writer-wins map, and `merge`, which brings any two states of it together.

This is a state-based CRDT (Shapiro, Preguiça, Baquero, Zawirski: "Conflict-free replicated data
types", 2011) over Lamport time-stamps ("Time, clocks, and the ordering of events in a distributed
system", 1978). Everything here is pure: no I/O, no clock, no Django.
"""

from __future__ import annotations

import hashlib
import os
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Any, NamedTuple

from . import canonical
from .stamps import LARGEST, LOW, LOWEST_TAG, NEVER, Stamp, Stamps

# A removed key has to be remembered, or an old copy would bring it back. Past this many, those
# removed more than `KEPT_GENERATIONS` ago are folded into `State.cleared`.
MAX_REMOVED = 32
KEPT_GENERATIONS = 32

TAG_BYTES = 6

NOTHING: Mapping[Any, Any] = MappingProxyType({})

# The highest there is, so it alone shows that no save can follow.
ENDED_GENERATION = LARGEST


def new_tag() -> str:
    """
    Return a tag for one save.
    """
    return urlsafe_b64encode(os.urandom(TAG_BYTES)).decode()


def _tag_of(*parts: bytes) -> str:
    digest = hashlib.blake2b(canonical.encode(*parts), digest_size=TAG_BYTES)
    return urlsafe_b64encode(digest.digest()).decode()


def ended_version(expires_at: int) -> Stamp:
    """
    Return the version of a tombstone that expires then.
    """
    return Stamp(ENDED_GENERATION, _tag_of(b"%d" % expires_at))


class State(NamedTuple):
    """
    What is known of one session.

    values: the session's top-level keys and values.
    stamps: for each key of `values`, the stamp of the save that wrote it; and those of the latest
        few saves, whatever became of what they wrote.
    removed: for each removed key, the stamp of the save that removed it.
    cleared: keys with lower stamps are removed.
    saved: the stamp of the latest save, which also set `expires_at`. No stamp in here is higher.
    created_at, expires_at: seconds since the epoch.
    merged: whether it is a merge of differing copies, which no single save wrote.
    unseen: where it was merged, the stamps of recent saves, but for `saved`, that no save in here
        had seen.
    """

    values: Mapping[Any, Any]
    stamps: Stamps
    created_at: int
    expires_at: int
    saved: Stamp
    removed: Mapping[Any, Stamp] = NOTHING
    cleared: Stamp = NEVER
    merged: bool = False
    unseen: tuple[Stamp, ...] = ()

    @property
    def version(self) -> Stamp:
        """
        The name of this state: equal versions mean equal states.

        The stamp of the save that wrote it; where it was merged, a digest of all stamps, since a
        key and a stamp determine a value: whoever merges the same copies makes the same name.
        """
        return self._digest() if self.merged else self.saved

    def _digest(self) -> Stamp:
        keys = [
            canonical.encode(kind, repr(key).encode("utf-8", "surrogatepass"), stamp.packed())
            for kind, known in ((b"written", self.stamps), (b"removed", self.removed))
            for key, stamp in known.items()
        ]
        tag = _tag_of(
            b"".join(sorted(keys)),
            b"%d" % self.created_at,
            b"".join([stamp.packed() for stamp in self.stamps.recent]),
            self.cleared.packed(),
        )
        return Stamp(self.saved.generation, tag)

    def was_seen(self, saved: Stamp) -> bool | None:
        """
        Whether the save with this stamp is in here, and was seen by another one that is; None if
        that is not known. Only the latest `HISTORY` saves are known of.
        """
        if saved not in self.stamps.recent:
            return None
        return saved != self.saved and saved not in self.unseen

    def is_equivalent_to(self, other: State) -> bool:
        """
        Whether both are the same but for the version.
        """
        return (
            self.stamps == other.stamps
            and self.removed == other.removed
            and self.cleared == other.cleared
            and self.saved == other.saved
            and self.created_at == other.created_at
        )


def first_state(
    values: Mapping[Any, Any],
    *,
    created_at: int,
    expires_at: int,
    tag: str,
    after: int = 0,
) -> State:
    """
    Return the state of a session that is saved for the first time.

    after: the generation of an expired session whose place it takes, and of which nothing may
        come back.
    """
    stamp = Stamp(after + 1, tag)
    cleared = stamp if after else NEVER
    stamps = Stamps.of(stamp, dict.fromkeys(values, stamp))
    return State(values, stamps, created_at, expires_at, stamp, cleared=cleared)


def next_state(
    base: State,
    values: Mapping[Any, Any],
    *,
    changed: Collection[Any],
    expires_at: int,
    tag: str,
    cleared: bool = False,
) -> State:
    """
    Return the state that a save makes of the state `base` which it had loaded.

    values: the session as it is to be.
    changed: those of its keys whose values differ from `base`; what is in `base` and not in
        `values` counts as removed.
    cleared: whether the session was emptied first. Then concurrent changes with lower stamps are
        removed, too.
    """
    stamp = Stamp(base.saved.generation + 1, tag)
    if cleared:
        stamps = Stamps.of(stamp, dict.fromkeys(values, stamp), base.stamps.recent)
        return State(values, stamps, base.created_at, expires_at, stamp, cleared=stamp)
    stamps = base.stamps.after(stamp, values, changed)
    removed, gone = base.removed, base.values.keys() - values.keys()
    if removed or gone:
        removed = {key: at for key, at in removed.items() if key not in values}
        removed |= dict.fromkeys(gone, stamp)
    state = State(values, stamps, base.created_at, expires_at, stamp, removed, base.cleared)
    return _forget_removed(state) if len(removed) > MAX_REMOVED else state


def _forget_removed(state: State) -> State:
    """
    Fold keys that were removed long ago into `cleared`, so that they cannot pile up.

    What is left are the keys removed by the latest saves. However many these are, the session
    held them and their values a moment ago.

    The floor is so far below the present generation that changes of concurrent saves outlive it:
    a change made to any state of the last `KEPT_GENERATIONS` is stamped higher. Values from below
    the floor are stamped anew at the floor, still below everything that is recent, and with the
    tag of this save, so that key and stamp still name one value.
    """
    generation, tag = state.saved
    cleared = max(state.cleared, Stamp(generation - KEPT_GENERATIONS, LOWEST_TAG))
    if all(at >= cleared for at in state.removed.values()):
        return state
    restamped = Stamp(cleared.generation, LOW + tag[1:])
    stamps = {key: at if at >= cleared else restamped for key, at in state.stamps.items()}
    return State(
        state.values,
        Stamps.of(state.saved, stamps, state.stamps.recent),
        state.created_at,
        state.expires_at,
        state.saved,
        {key: at for key, at in state.removed.items() if at >= cleared},
        cleared,
    )


def merge_all(states: Sequence[State]) -> State:
    """
    Return the merge of several copies, but for those of a session that had expired when another
    one began under its key.
    """
    begun_last = max(state.created_at for state in states)
    latest = [one for one in states if one.created_at == begun_last and one.expires_at > begun_last]
    return reduce(merge, [one for one in states if not _had_expired(one, begun_last, latest)])


def _had_expired(state: State, begun_last: int, latest: Sequence[State]) -> bool:
    """
    Whether a session was over when another one began, of which `latest` are live copies.
    """
    if state.expires_at > begun_last:
        return False
    # Begun in the same second, it may still be the same session, which was told to expire at once.
    return state.created_at < begun_last or any(
        other.saved.generation >= state.saved.generation
        and not {*other.stamps.recent} & {*state.stamps.recent}
        for other in latest
    )


def merge(a: State, b: State) -> State:
    """
    Return the least state that holds what both copies know.

    Commutative, associative and idempotent; for each key the higher stamp wins.
    Where one of the two holds all that both know, it is that one, with its version.
    """
    cleared = max(a.cleared, b.cleared)
    newest: dict[Any, Stamp] = {}
    for known in (a.stamps, b.stamps, a.removed, b.removed):
        for key, at in known.items():
            if at >= cleared and at >= newest.get(key, NEVER):
                newest[key] = at
    values: dict[Any, Any] = {}
    removed: dict[Any, Stamp] = {}
    # In the order of the saves, so that whoever merges writes the same bytes.
    for key, at in sorted(newest.items(), key=lambda entry: (entry[1], repr(entry[0]))):
        if at in (a.removed.get(key), b.removed.get(key)):
            removed[key] = at
        else:
            values[key] = (a if a.stamps.get(key) == at else b).values[key]
    latest = a if a.saved >= b.saved else b
    stamps = Stamps.of(
        latest.saved,
        {key: newest[key] for key in values},
        [*a.stamps.recent, *b.stamps.recent],
    )
    merged = State(
        values,
        stamps,
        min(a.created_at, b.created_at),
        latest.expires_at,
        latest.saved,
        removed,
        cleared,
        merged=True,
        unseen=_unseen(a, b, stamps.recent),
    )
    return next((known for known in (a, b) if known.is_equivalent_to(merged)), merged)


def _unseen(a: State, b: State, recent: Sequence[Stamp]) -> tuple[Stamp, ...]:
    # What is recent in the merge is recent in each copy that contains it.
    seen: set[Stamp] = set()
    for state in (a, b):
        seen |= {*state.stamps.recent} - {state.saved, *state.unseen}
    return tuple(stamp for stamp in recent[:-1] if stamp not in seen)
