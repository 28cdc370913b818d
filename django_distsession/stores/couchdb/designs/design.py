"""
Design documents, read from files: one folder each, with `design.json` and `views/*.js`.

A design has a version, which says which of two is newer, and a digest, which says whether two are
the same. `design.json` records the digest of each version there ever was, so that nobody changes a
design and forgets its version.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BUNDLED = Path(__file__).parent / "bundled"
# Of the names of designs that come with this package.
RESERVED = "distsession_"

EXPIRY = "distsession_expiry"
BY_EXPIRY = "by_expiry"
USERS = "distsession_users"
BY_USER = "by_user"
# In both: the sessions whose branches have to be merged first.
CONFLICTED = "conflicted"

VERSION = "distsession_version"
# What CouchDB adds, and what is no content.
NO_CONTENT = frozenset({"_id", "_rev", "_conflicts", VERSION})

NAME = re.compile(r"[a-z][a-z0-9_]*")
MANIFEST_KEYS = frozenset({"version", "digests", "reduces", "autoupdate"})


class DesignError(Exception):
    """
    A folder that holds no design document. The message says which file is wrong, and how.
    """


@dataclass(frozen=True)
class Design:
    """
    content: the document without its name and version. recorded: digests, by version.
    """

    name: str
    version: int
    content: Mapping[str, Any]
    recorded: Mapping[str, str]

    @property
    def doc_id(self) -> str:
        return f"_design/{self.name}"

    @property
    def digest(self) -> str:
        return digest(self.content)

    @property
    def staging_name(self) -> str:
        """
        Where the document waits for its index. The version and the digest are in it, so that two
        releases that migrate at once do not take each other's copy.
        """
        return f"{self.name}.staging.{self.version}.{self.digest[:8]}"

    @property
    def any_view(self) -> str:
        """
        The name of a view. The views of a document share one index.
        """
        return str(min(self.content["views"]))

    def document(self, name: str | None = None, rev: str | None = None) -> dict[str, Any]:
        """
        Return the document, under its own name or another, as a new one or the next revision.
        """
        named = {"_id": f"_design/{name or self.name}", VERSION: self.version, **self.content}
        return {**named, "_rev": rev} if rev else named


def digest(content: Mapping[str, Any]) -> str:
    """
    Return the digest of a design's content.
    """
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def content_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what there is in a document but its name, revision and version.
    """
    return {key: value for key, value in document.items() if key not in NO_CONTENT}


@cache
def bundled_designs() -> dict[str, Design]:
    """
    Return the designs that come with this version, by name.
    """
    return {design.name: design for design in read_designs(BUNDLED)}


def own_designs(folder: str | Path | None) -> tuple[Design, ...]:
    """
    Return the designs of a project. `DesignError` if they cannot be used.
    """
    found = () if folder is None else read_designs(Path(folder))
    for design in found:
        if design.name.startswith(RESERVED):
            raise DesignError(
                f"{design.name}: names that begin with {RESERVED!r} belong to django-distsession"
            )
    return found


def read_designs(folder: Path) -> tuple[Design, ...]:
    """
    Return the designs of a directory, by name.
    """
    folders = (entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")
    return tuple(_read(entry) for entry in sorted(folders))


def forgotten_versions(designs: Iterable[Design]) -> list[str]:
    """
    Return what to do about designs whose content is not what was recorded for their version.

    A design that records nothing is left alone.
    """
    return [
        f"{design.name} is not what it was in version {design.version}: somebody changed it and "
        'forgot the version. In its design.json raise "version" and add to "digests" (never '
        f'change what is recorded there):\n    "{design.version + 1}": "{design.digest}"'
        for design in designs
        if design.recorded and design.recorded.get(str(design.version)) != design.digest
    ]


def _read(folder: Path) -> Design:
    manifest = _manifest(folder)
    reduces = manifest.get("reduces", {})
    maps = {
        file.stem: _without_comment(file.read_text(encoding="utf-8"))
        for file in sorted((folder / "views").glob("*.js"))
    }
    if not maps:
        raise DesignError(f"{folder.name}: there are no map functions in views/*.js")
    if unknown := set(reduces) - set(maps):
        raise DesignError(f"{folder.name}/design.json: no views/{min(unknown)}.js to reduce")
    content: dict[str, Any] = {
        "language": "javascript",
        "views": {
            view: {"map": source} | ({"reduce": reduces[view]} if view in reduces else {})
            for view, source in maps.items()
        },
    }
    if "autoupdate" in manifest:
        content["autoupdate"] = manifest["autoupdate"]
    return Design(folder.name, manifest["version"], content, manifest.get("digests", {}))


def _manifest(folder: Path) -> dict[str, Any]:
    path = f"{folder.name}/design.json"
    if not NAME.fullmatch(folder.name):
        raise DesignError(
            f"{folder.name}: a design's name is a lower-case letter, then lower-case letters, "
            "digits and _"
        )
    try:
        manifest = json.loads((folder / "design.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise DesignError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DesignError(f"{path} is no JSON ({error})") from error
    if not isinstance(manifest, dict) or set(manifest) - MANIFEST_KEYS:
        raise DesignError(f"{path} holds something else than {', '.join(sorted(MANIFEST_KEYS))}")
    version = manifest.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DesignError(f'{path}: "version" has to be a whole number, 1 or more')
    for key in ("reduces", "digests"):
        texts = manifest.get(key, {})
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise DesignError(f'{path}: "{key}" has to be an object whose values are strings')
    if not isinstance(manifest.get("autoupdate", True), bool):
        raise DesignError(f'{path}: "autoupdate" has to be true or false')
    return manifest


def _without_comment(source: str) -> str:
    # CouchDB wants an expression, and some servers take no comment in front of it.
    lines = source.splitlines()
    while lines and lines[0].startswith("//"):
        del lines[0]
    return "\n".join(lines)
