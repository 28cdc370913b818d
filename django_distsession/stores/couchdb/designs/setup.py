"""
What a database needs before it can hold sessions, made on first use: the database, who may use
it, and the design documents. Several processes may do so at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ....exceptions import StoreError, StoreMisconfigured, StoreUnavailable
from ...deadline import Deadline
from ..client import (
    Client,
    DatabaseMissing,
    DocumentMissing,
    LoginRefused,
    RevisionConflict,
    RightMissing,
)
from .design import Design, bundled_designs
from .planning import State, compare

COMMAND = "manage.py migratedesigndocs"
URL = 'DISTSESSION["COUCHDB"]["URL"]'
ADMIN_URL = 'DISTSESSION["COUCHDB"]["ADMIN_URL"]'


class SetUp:
    """
    admin: a client with the rights of ADMIN_URL. create: whether it may be used without being told.
    member: the user of the request path, where that is another one.
    designs: the design documents; None: those that come with this package.
    """

    def __init__(
        self,
        admin: Client,
        *,
        create: bool = True,
        member: str | None = None,
        designs: Iterable[Design] | None = None,
    ) -> None:
        self.admin = admin
        self.designs = tuple(bundled_designs().values() if designs is None else designs)
        self._create = create
        self._member = member

    def run(self) -> None:
        """
        Create what is missing, and change nothing else: neither is an index built here, nor an
        older design document replaced. `StoreMisconfigured` if that may not be.
        """
        if not self._create:
            raise StoreMisconfigured(
                f"The CouchDB database {self.admin.name!r}, or a design document in it, does not "
                'exist at its server, and DISTSESSION["COUCHDB"]["CREATE"] is False. Run '
                f'"{COMMAND}" with {ADMIN_URL} naming a server admin; it creates both.'
            )
        self.prepare_database()
        with self.explained():
            try:
                for design in self.designs:
                    if compare(design, self._stored(design)).state is State.MISSING:
                        self._create_design(design)
            except DatabaseMissing as error:
                raise StoreUnavailable(
                    f"CouchDB at {self.admin.place} does not show what was just set up."
                ) from error

    def prepare_database(self) -> None:
        """
        Create the database if it is missing, and let the user of the request path in.
        """
        check_address(self.admin, self._setting)
        if not self.exists():
            self._create_database()
        if self._member:
            self._admit(self._member)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """
        Say which right is missing, should design documents be refused.
        """
        try:
            yield
        except (LoginRefused, RightMissing) as error:
            if isinstance(error, LoginRefused) and not self._is_known():
                raise
            raise self._lacks_database_admin("store design documents in it") from error

    def _is_known(self) -> bool:
        """
        Whether the server knows the user. Some say 401 to users whom they know, too; who may not
        even look has the wrong password.
        """
        try:
            self.exists()
        except LoginRefused:
            return False
        except StoreUnavailable:
            return True
        return True

    def exists(self) -> bool:
        try:
            self.admin.info()
        except DatabaseMissing:
            return False
        return True

    def _create_database(self) -> None:
        try:
            self.admin.create_database()
        except StoreMisconfigured as error:
            raise StoreMisconfigured(
                f"The CouchDB database {self.admin.name!r} does not exist, and the user of "
                f"{self._setting} may not create it: that is a server admin's right. Let "
                f'{ADMIN_URL} name a server admin, then try again or run "{COMMAND}".'
            ) from error
        except StoreUnavailable:
            # Two nodes of a cluster that create one database at once may both stumble over it.
            if not self.exists():
                raise

    def _admit(self, member: str) -> None:
        """
        Let the user of the request path in, unless somebody decided who may come in.
        """
        try:
            security = self.admin.security()
            if _is_untouched(security.get("members") or {}):
                self.admin.put_security(admitting(member))
        except StoreMisconfigured as error:
            raise self._lacks_database_admin("say who may use it") from error

    def _stored(self, design: Design) -> dict[str, Any] | None:
        try:
            return self.admin.get(design.doc_id)
        except DocumentMissing:
            return None

    def _create_design(self, design: Design) -> None:
        try:
            self.admin.put(design.document())
        except RevisionConflict:
            # Another process was faster.
            return

    def _lacks_database_admin(self, what: str) -> StoreMisconfigured:
        return StoreMisconfigured(
            f"The CouchDB database {self.admin.name!r} exists, but the user of {self._setting} "
            f"may not {what}: that is a right of the database's admins. Let {ADMIN_URL} name a "
            "server admin, or one of the admins in the database's _security, then try again or "
            f'run "{COMMAND}".'
        )

    @property
    def _setting(self) -> str:
        return ADMIN_URL if self._member else URL


def check_address(
    client: Client,
    setting: str,
    deadline: Deadline | None = None,
    because: StoreError | None = None,
) -> None:
    """
    Ask for CouchDB's welcome. `StoreMisconfigured` if there is none at the address.

    setting: what names the address. because: what made somebody ask.
    """
    if not client.is_welcome(deadline):
        raise StoreMisconfigured(
            f"There is no CouchDB at {client.place.rpartition('/')[0]}, which {setting} names: it "
            "does not say Welcome. Write the address of the server alone, and the name of the "
            'database in DISTSESSION["COUCHDB"]["DATABASE"].'
        ) from because


def admitting(member: str) -> dict[str, Any]:
    """
    Return the `_security` object under which one user may read and write sessions, no more.
    """
    return {
        "admins": {"names": [], "roles": ["_admin"]},
        "members": {"names": [member], "roles": ["_admin"]},
    }


def _is_untouched(members: dict[str, Any]) -> bool:
    return not members.get("names") and members.get("roles", []) in ([], ["_admin"])
