"""
Django's session contract on any store: what is the same for all engines.

What does I/O is a generator, in `loading`, `saving`, `creating` and `ending`: the blocking method
runs it, and the async one hands it to `adrive`. None of it knows where records live.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.sessions.backends.base import VALID_KEY_CHARS, SessionBase
from django.utils.crypto import get_random_string

from ..clock import SYSTEM_CLOCK, Clock
from ..exceptions import StoreUnavailable
from ..stores.contract import Store
from ..stores.operations import run
from . import administration
from .access_tracking import EVERYTHING, AccessedKeys
from .creating import create_gen, cycle_key_gen
from .ending import delete_gen
from .expiry import LONGEST_AGE
from .loading import Loaded, Seen, exists_gen, load_gen
from .overriding import adrive, is_ours
from .runtime import Runtime, RuntimeOfEngine
from .saving import save_gen

logger = logging.getLogger("django_distsession.sessions")


class StoreBackedSession(SessionBase):
    """
    A session in a store. Engines say which store by `make_store`.

    Beyond Django's contract: only keys that changed are written, concurrent saves are merged, and
    `StoreUnavailable` tells "cannot be reached" from "does not exist".
    """

    # Which sections of DISTSESSION the engine cannot do without.
    needed_settings: ClassVar[tuple[str, ...]] = ()
    # By which the engine's sessions expire.
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    # What all sessions of an engine share.
    runtime = RuntimeOfEngine()

    # Set by the middleware: the browser's version cookie.
    version_cookie: str | None = None
    # The storage id and the generation of what was written last.
    written: tuple[str, int] | None = None

    # Set by the middleware, or by a view: after an outage this is an empty session, not saved.
    anonymous_when_unavailable = False
    # Whether this object met an outage, and what the store said.
    unavailable = False
    outage = ""

    # What a save compares the session dict with: what the store held, whether it was emptied
    # since, and the keys of values that may have changed in place.
    loaded: Loaded | None = None
    was_cleared = False
    accessed_keys: AccessedKeys

    _tracks_access = True

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.seen = Seen()
        # What is not tracked in detail counts as access to everything.
        self.accessed_keys = set() if self._tracks_access else EVERYTHING

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # What a method of somebody else's does with the values, nobody knows.
        cls._tracks_access = is_ours(cls.load) and is_ours(cls.aload)

    @classmethod
    @abstractmethod
    def make_store(cls, runtime: Runtime) -> Store:
        """
        Return the engine's store. Called once per process, and again when settings change.
        """

    # Django's contract.

    def load(self) -> dict[str, Any]:
        """
        Return the session's dict; empty, and without a key, if there is no such session.
        """
        return run(load_gen(self))

    async def aload(self) -> dict[str, Any]:
        return await adrive(load_gen(self), self.load)

    def save(self, must_create: bool = False) -> None:
        """
        Write what changed since the load, merged with what others changed meanwhile.

        `UpdateError` if the session is gone, `CreateError` if it exists and must not. Whatever
        goes wrong, the stored session is as before.
        """
        run(save_gen(self, must_create))

    async def asave(self, must_create: bool = False) -> None:
        await adrive(save_gen(self, must_create), self.save, must_create)

    def create(self) -> None:
        run(create_gen(self))

    async def acreate(self) -> None:
        await adrive(create_gen(self), self.create)

    def _get_new_session_key(self) -> str:
        # 165 bits: no need to ask whether it is taken; `create` notices if it is.
        return get_random_string(32, VALID_KEY_CHARS)

    async def _aget_new_session_key(self) -> str:
        return self._get_new_session_key()

    def exists(self, session_key: str) -> bool:
        return run(exists_gen(self.runtime, session_key))

    async def aexists(self, session_key: str) -> bool:
        return await adrive(exists_gen(self.runtime, session_key), self.exists, session_key)

    def delete(self, session_key: str | None = None) -> None:
        """
        End a session: leave a tombstone, so that no old copy comes back to life.

        In an outage this raises, whatever `ON_UNAVAILABLE` says: nobody must be told that they
        are logged out while they are not.
        """
        run(delete_gen(self, session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        await adrive(delete_gen(self, session_key), self.delete, session_key)

    def cycle_key(self) -> None:
        run(cycle_key_gen(self))

    async def acycle_key(self) -> None:
        await adrive(cycle_key_gen(self), self.cycle_key)

    def clear(self) -> None:
        """
        Empty the session. What others add without knowing of it is gone too.
        """
        super().clear()
        self.was_cleared = True

    # Expiry.

    def expires_at(self, expiry: Any) -> int:
        """
        Return when a session that was given this expiry is over, in seconds since the epoch.
        """
        # Settings and `set_expiry` may give fractions, and centuries.
        age = int(self.get_expiry_age(expiry=expiry))
        return int(self.runtime.clock.now()) + max(-LONGEST_AGE, min(age, LONGEST_AGE))

    # Outages.

    def give_up(self) -> None:
        """
        Ask the store for nothing any more: what was not read is empty, what changes is dropped.
        """
        self.unavailable = self.anonymous_when_unavailable = True

    def go_on_without(self, error: StoreUnavailable) -> None:
        """
        Note an outage, and raise it unless the request is to go on without its session.
        """
        self.unavailable = True
        self.outage = str(error)
        if not self.anonymous_when_unavailable:
            raise error
        logger.warning(
            "The store is unavailable: a request goes on without its session, and what it changes "
            "there is dropped. %s",
            error,
        )

    # Access to values. Every other method of Django's goes through one of the first two.

    def _get_session(self, no_load: bool = False) -> dict[Any, Any]:
        self.accessed_keys = EVERYTHING
        return self.load_session(no_load)

    _session = property(_get_session)

    async def _aget_session(self, no_load: bool = False) -> dict[Any, Any]:
        self.accessed_keys = EVERYTHING
        return await self.aload_session(no_load)

    if TYPE_CHECKING:
        # Django's stubs leave out what Django's own engines use.
        _session_cache: dict[Any, Any]

        def load_session(self, no_load: bool = False) -> dict[Any, Any]: ...

        async def aload_session(self, no_load: bool = False) -> dict[Any, Any]: ...
    else:
        # By these names of ours nothing counts as accessed.
        load_session = SessionBase._get_session
        aload_session = SessionBase._aget_session

    def __contains__(self, key: Any) -> bool:
        return key in self.load_session()

    def __getitem__(self, key: Any) -> Any:
        self.accessed_keys.add(key)
        return self.load_session()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.accessed_keys.add(key)
        self.load_session()[key] = value
        self.modified = True

    def get(self, key: Any, default: Any = None) -> Any:
        self.accessed_keys.add(key)
        return self.load_session().get(key, default)

    async def aget(self, key: Any, default: Any = None) -> Any:
        self.accessed_keys.add(key)
        return (await self.aload_session()).get(key, default)

    async def aset(self, key: Any, value: Any) -> None:
        self.accessed_keys.add(key)
        (await self.aload_session())[key] = value
        self.modified = True

    # For sites and operators.

    @classmethod
    def storage_id(cls, session_key: str) -> str | None:
        """
        Return what the store files a session under, or None for a key that no session can have.
        """
        return cls.runtime.storage_id(session_key)

    get_store = classmethod(administration.get_store)
    stale_loads = classmethod(administration.stale_loads)
    status = classmethod(administration.status)
    astatus = classmethod(administration.astatus)
    clear_expired = classmethod(administration.clear_expired)  # type: ignore[assignment]
    aclear_expired = classmethod(administration.aclear_expired)
    for_user = classmethod(administration.for_user)
    afor_user = classmethod(administration.afor_user)
    end_for_user = classmethod(administration.end_for_user)
    aend_for_user = classmethod(administration.aend_for_user)
    inspect = administration.inspect
    ainspect = administration.ainspect
