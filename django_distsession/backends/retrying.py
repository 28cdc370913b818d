"""
What a save has yet to do that lost against another one.
"""

from __future__ import annotations

from typing import Any

from ..stamps import Stamp
from ..state import State, merge
from .changes import Change
from .loading import Loaded

# Stands for the clearing of a session, among its keys.
CLEARING = object()


class Retry:
    """
    current: what the store was last seen to hold. base: that, and all that was seen before.
    rest: what is yet to be done to `base`. own: the stamps of what was tried.

    A store may have taken a save that it said to have refused: one of its servers did, or its reply
    was lost. If others saw that save and wrote something in its place, its change must not be made
    once more, or what they wrote would be gone. So a save looks in what it meets for itself. Where
    nothing is left to do, `base` is to be saved as it is, since not all of the store's servers need
    have heard of it.
    """

    def __init__(self, current: Loaded, change: Change) -> None:
        self.current = current
        self.base: State = current.state
        self.rest = self._change = change
        self.own: set[Stamp] = set()
        # By key, the stamp of the last try to write it.
        self._tried: dict[Any, Stamp] = {}
        # Those of the tries that are in `base`, and the keys that are others' by now.
        self._found: set[Stamp] = set()
        self._left: set[Any] = set()

    def tried(self, saved: Stamp) -> None:
        """
        Note that `rest` was tried, and how that was stamped.
        """
        self.own.add(saved)
        self._tried |= dict.fromkeys([*self.rest.values, *self.rest.removed], saved)
        if self.rest.cleared:
            self._tried[CLEARING] = saved

    def rebase(self, current: Loaded, *, applied: bool = False) -> None:
        """
        Go on from what the store holds by now. applied: see `Conflict`.
        """
        self.current = current
        # Nothing that was seen is forgotten, whatever a second fault brought to light.
        base = self.base = merge(current.state, self.base)
        change = self.rest = self._change
        if change.cleared and not self._is_over(CLEARING, base.cleared, applied):
            return
        stamps = {**base.removed, **base.stamps}
        over = {key for key in self._tried if self._is_over(key, stamps.get(key), applied)}
        self.rest = Change(
            {key: value for key, value in change.values.items() if key not in over},
            [key for key in change.removed if key not in over],
        )

    def _is_over(self, key: Any, at: Stamp | None, applied: bool) -> bool:
        """
        Whether what was to be done to a key is done, or done and followed by what others did.

        at: the stamp of who wrote it last.
        """
        tried = self._tried.get(key)
        if tried is None or key in self._left:
            return tried is not None
        was_seen = self.base.was_seen(tried)
        if was_seen is not None or at == tried:
            self._found.add(tried)
        if was_seen is None:
            # So many saves came after it that it is not known any more; or it never arrived.
            was_seen = applied or tried in self._found
        if was_seen and at not in self.own:
            self._left.add(key)
        return was_seen or at in self.own
