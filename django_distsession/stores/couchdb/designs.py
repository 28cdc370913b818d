"""
Design documents, read from files: one folder each, with `design.json` and `views/*.js`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

BUNDLED = Path(__file__).parents[2] / "designs"

EXPIRY = "distsession_expiry"
BY_EXPIRY = "by_expiry"
USERS = "distsession_users"
BY_USER = "by_user"
# In both: the sessions whose branches have to be merged first.
CONFLICTED = "conflicted"


@cache
def bundled_designs() -> dict[str, dict[str, Any]]:
    """
    Return the design documents that come with this version, by name.
    """
    return {folder.name: _read(folder) for folder in sorted(BUNDLED.iterdir()) if folder.is_dir()}


def _read(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "design.json").read_text())
    reduces = manifest.get("reduces", {})
    return {
        "_id": f"_design/{folder.name}",
        "language": "javascript",
        "distsession_version": manifest["version"],
        "views": {
            file.stem: {"map": _without_comment(file.read_text())}
            | ({"reduce": reduces[file.stem]} if file.stem in reduces else {})
            for file in sorted((folder / "views").glob("*.js"))
        },
    }


def _without_comment(source: str) -> str:
    # CouchDB wants an expression, and some servers take no comment in front of it.
    lines = source.splitlines()
    while lines and lines[0].startswith("//"):
        del lines[0]
    return "\n".join(lines)
