"""
Which of a session's values somebody was given, and may since have changed in place.

A save has to look for such changes, and that takes unpacking the session once more. A list that
nobody was given cannot have changed, and most requests look at few of a session's values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import SessionBase

OURS = f"{__name__.partition('.')[0]}."


class Everything:
    """
    The set of all keys.
    """

    def __contains__(self, key: Any) -> bool:
        return True

    def add(self, key: Any) -> None:
        """
        Do nothing: it is in there.
        """


EVERYTHING = Everything()


class Lending(SessionBase):
    """
    Keeps the books. What is not kept book of in detail counts as lending everything.
    """

    if TYPE_CHECKING:
        # Django's stubs leave out what Django's own engines use.
        _session_cache: dict[Any, Any]

        def _load_session(self, no_load: bool = False) -> dict[Any, Any]: ...
    else:
        # Under this name of ours nothing is lent.
        _load_session = SessionBase._get_session

    _keeps_book = True

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        # Under which keys values were handed out.
        self._lent: set[Any] | Everything = set() if self._keeps_book else EVERYTHING

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # What a method of somebody else's does with the values, nobody knows.
        cls._keeps_book = all(load.__module__.startswith(OURS) for load in (cls.load, cls.aload))

    # Every other method of Django's goes through one of these two.

    def _get_session(self, no_load: bool = False) -> dict[Any, Any]:
        self._lent = EVERYTHING
        return self._load_session(no_load)

    _session = property(_get_session)

    async def _aget_session(self, no_load: bool = False) -> dict[Any, Any]:
        self._lent = EVERYTHING
        return await self._aload_session(no_load)

    async def _aload_session(self, no_load: bool = False) -> dict[Any, Any]:
        values: dict[Any, Any] = await super()._aget_session(no_load)  # type: ignore[misc]
        return values

    # Those that requests use most.

    def __contains__(self, key: Any) -> bool:
        return key in self._load_session()

    def __getitem__(self, key: Any) -> Any:
        self._lent.add(key)
        return self._load_session()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._lent.add(key)
        self._load_session()[key] = value
        self.modified = True

    def get(self, key: Any, default: Any = None) -> Any:
        """
        As `dict.get`.
        """
        self._lent.add(key)
        return self._load_session().get(key, default)

    async def aget(self, key: Any, default: Any = None) -> Any:
        """
        See `get`.
        """
        self._lent.add(key)
        return (await self._aload_session()).get(key, default)

    async def aset(self, key: Any, value: Any) -> None:
        """
        See `__setitem__`.
        """
        self._lent.add(key)
        (await self._aload_session())[key] = value
        self.modified = True
