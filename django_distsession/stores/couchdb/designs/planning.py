"""
What there is to do about design documents: a comparison, without any request.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .design import VERSION, Design, content_of

# Python makes no number of thousands of digits.
STAGING = re.compile(r"_design/(.+)\.staging\.([0-9]{1,18})\.[0-9a-f]{8}")

Document = Mapping[str, Any]


class State(StrEnum):
    """
    What a database has of a design, seen from the code.
    """

    MISSING = "missing"
    SAME = "same"
    OLDER = "older"
    NEWER = "newer"
    EDITED = "edited"


@dataclass(frozen=True)
class Entry:
    """
    One design. found: the document in the database, if there is one.
    """

    design: Design
    state: State
    found: Document | None

    @property
    def rev(self) -> str | None:
        """
        The revision that may be replaced. Another one has not been looked at.
        """
        return None if self.found is None else self.found["_rev"]

    @property
    def diff(self) -> str:
        """
        From what the database has to what the code wants.
        """
        return "\n".join(
            difflib.unified_diff(
                list(_lines(content_of(self.found or {}))),
                list(_lines(self.design.content)),
                f"{self.design.name} in the database, version {self.version_found}",
                f"{self.design.name} in the code, version {self.design.version}",
                lineterm="",
            )
        )

    @property
    def version_found(self) -> Any:
        return (self.found or {}).get(VERSION)


@dataclass(frozen=True)
class Plan:
    """
    entries: all designs. leftovers: ids and revisions of staging copies that nobody needs.
    newer_staged: ids of staging copies of a release to come.
    """

    entries: tuple[Entry, ...]
    leftovers: Mapping[str, str]
    newer_staged: tuple[str, ...]
    force: bool

    @property
    def refused(self) -> list[Entry]:
        """
        Those that are replaced by force only.
        """
        return [one for one in self.entries if one.state is State.EDITED and not self.force]

    @property
    def changes(self) -> list[Entry]:
        """
        Those to be created or replaced.
        """
        states = {State.MISSING, State.OLDER} | ({State.EDITED} if self.force else set())
        return [entry for entry in self.entries if entry.state in states]

    @property
    def is_done(self) -> bool:
        return not (self.refused or self.changes or self.leftovers)


def compare(design: Design, found: Document | None) -> Entry:
    """
    Compare one design with the document of its name.
    """
    if found is None:
        return Entry(design, State.MISSING, None)
    version = found.get(VERSION)
    if not isinstance(version, int) or isinstance(version, bool):
        # Somebody else's document, under a name of ours.
        return Entry(design, State.EDITED, found)
    if version != design.version:
        state = State.OLDER if version < design.version else State.NEWER
    else:
        state = State.SAME if content_of(found) == design.content else State.EDITED
    return Entry(design, state, found)


def make_plan(
    designs: Iterable[Design], documents: Iterable[Document], *, force: bool = False
) -> Plan:
    """
    Compare all designs with all design documents of a database.
    """
    there = {document["_id"]: document for document in documents}
    entries = tuple(compare(design, there.get(design.doc_id)) for design in designs)
    leftovers, newer = {}, []
    by_name = {entry.design.name: entry for entry in entries}
    for doc_id, document in there.items():
        match = STAGING.fullmatch(doc_id)
        entry = by_name.get(match[1]) if match else None
        if match is None or entry is None:
            continue
        if int(match[2]) > entry.design.version:
            newer.append(doc_id)
        else:
            leftovers[doc_id] = document["_rev"]
    return Plan(entries, leftovers, tuple(newer), force)


def _lines(content: Document) -> Iterator[str]:
    """
    Yield a document's content as lines that are worth comparing: functions are texts.
    """
    for key in sorted(content):
        value = content[key]
        if isinstance(value, Mapping):
            yield f"{key}:"
            yield from (f"  {line}" for line in _lines(value))
        elif isinstance(value, str) and "\n" in value:
            yield f"{key}:"
            yield from (f"  {line}" for line in value.splitlines())
        else:
            yield f"{key}: {json.dumps(value, sort_keys=True)}"
