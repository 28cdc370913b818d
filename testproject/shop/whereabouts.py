"""
Where a session's copies are, in the words of a page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LONGEST = 48

NOTES = {
    "ended": "A tombstone: the session was ended, and stays so.",
    "absent": "Has no copy.",
    "unavailable": "Does not answer.",
}
NO_REPLICA = "Not one of this session's replicas."


@dataclass(frozen=True)
class Copy:
    store: str
    place: str
    state: str
    version: str
    replica: bool
    size: int | None = None
    database: str = ""
    document: str = ""

    @property
    def note(self) -> str:
        note = NOTES.get(self.state, "")
        if self.replica:
            return note
        # Having no copy is what is expected of such a node.
        return f"{note if self.state != 'absent' else ''} {NO_REPLICA}".strip()


@dataclass(frozen=True)
class Whereabouts:
    engine: str
    storage_id: str | None
    version: str
    expires_at: datetime | None
    copies: list[Copy] = field(default_factory=list)

    @classmethod
    def from_inspection(cls, inspection: dict[str, Any]) -> Whereabouts:
        """
        What `session.inspect()` said, for people.
        """
        expires_at = inspection["expires_at"]
        return cls(
            engine=inspection["engine"],
            storage_id=inspection["storage_id"],
            version=_version(inspection["version"]),
            expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
            copies=[_copy(copy) for copy in inspection["copies"]],
        )

    @property
    def memcached(self) -> list[Copy]:
        return [copy for copy in self.copies if copy.store == "memcached"]

    @property
    def couchdb(self) -> list[Copy]:
        return [copy for copy in self.copies if copy.store == "couchdb"]


def _copy(copy: dict[str, Any]) -> Copy:
    detail = copy.get("detail") or {}
    document = detail.get("document")
    return Copy(
        store=copy["store"],
        place=copy["place"],
        state=copy["state"],
        version=_version(copy["version"]),
        replica=copy.get("replica", True),
        size=detail.get("size"),
        database=detail.get("database", ""),
        document=json.dumps(_abbreviated(document), indent=2, ensure_ascii=False)
        if document
        else "",
    )


def _version(version: list[Any] | None) -> str:
    return "" if version is None else " · ".join(str(part) for part in version)


def _abbreviated(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _abbreviated(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_abbreviated(item) for item in value]
    # Storage id and revision are what one looks a document up by.
    if isinstance(value, str) and len(value) > LONGEST and name not in {"_id", "_rev"}:
        return f"{value[:LONGEST]}… ({len(value)} characters)"
    return value
