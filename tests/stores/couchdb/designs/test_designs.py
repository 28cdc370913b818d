"""
Design documents as files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from django_distsession.stores.couchdb.designs.design import (
    BUNDLED,
    Design,
    DesignError,
    bundled_designs,
    forgotten_versions,
    own_designs,
    read_designs,
)
from tests.stores.couchdb.designs.conftest import release

BUNDLED_DESIGNS = tuple(bundled_designs().values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A copy of the designs that come with the package.
    """
    return Path(shutil.copytree(BUNDLED, tmp_path / "designs"))


def write(folder: Path, name: str, manifest: Any, **views: str) -> None:
    (folder / name / "views").mkdir(parents=True)
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (folder / name / "design.json").write_text(text)
    for view, source in views.items():
        (folder / name / "views" / f"{view}.js").write_text(source)


def test_nobody_changed_a_map_function_and_forgot_the_version() -> None:
    for design in BUNDLED_DESIGNS:
        assert design.recorded, f"{design.name}: design.json records no digests"
        assert list(design.recorded) == [str(n + 1) for n in range(design.version)]
    forgotten = forgotten_versions(BUNDLED_DESIGNS)
    assert not forgotten, "\n".join(forgotten)


@pytest.mark.parametrize("file", sorted(BUNDLED.glob("*/views/*.js")), ids=lambda file: file.stem)
def test_any_change_of_a_map_function_is_noticed(folder: Path, file: Path) -> None:
    copy = folder / file.relative_to(BUNDLED)
    copy.write_text(copy.read_text().replace("emit(", "emit( "))
    (message,) = forgotten_versions(read_designs(folder))
    name = file.relative_to(BUNDLED).parts[0]
    assert message.startswith(f"{name} is not what it was in version")


def test_a_reduce_function_is_content_too(folder: Path) -> None:
    manifest = folder / "distsession_users" / "design.json"
    manifest.write_text(manifest.read_text().replace("_count", "_stats"))
    assert len(forgotten_versions(read_designs(folder))) == 1


def test_what_the_message_says_to_add_is_right(folder: Path) -> None:
    file = folder / "distsession_users" / "views" / "by_user.js"
    file.write_text(file.read_text().replace("emit(", "emit( "))
    (message,) = forgotten_versions(read_designs(folder))
    manifest = folder / "distsession_users" / "design.json"
    given = json.loads(manifest.read_text())
    given["digests"] |= json.loads("{" + message.rpartition("\n")[2] + "}")
    given["version"] += 1
    manifest.write_text(json.dumps(given))
    assert forgotten_versions(read_designs(folder)) == []


def test_a_comment_above_a_map_function_is_no_content(folder: Path) -> None:
    file = folder / "distsession_users" / "views" / "by_user.js"
    file.write_text("// Said in another way.\n" + file.read_text())
    assert read_designs(folder) == BUNDLED_DESIGNS


def test_a_design_that_records_nothing_is_left_alone() -> None:
    assert forgotten_versions([release(1)]) == []


def test_a_project_has_designs_of_its_own(tmp_path: Path) -> None:
    manifest = {"version": 3, "reduces": {"a": "_count"}, "autoupdate": False}
    write(tmp_path, "statistics", manifest, a="function (doc) {}", b="// Why\nfunction (d) {}")
    (tmp_path / "README.md").write_text("No design.")
    (tmp_path / ".git").mkdir()
    (design,) = own_designs(tmp_path)
    views = {
        "a": {"map": "function (doc) {}", "reduce": "_count"},
        "b": {"map": "function (d) {}"},
    }
    content = {"language": "javascript", "views": views, "autoupdate": False}
    assert design == Design("statistics", 3, content, {})
    assert own_designs(None) == ()


@pytest.mark.parametrize(
    ("name", "manifest", "message"),
    [
        ("A", {"version": 1}, "lower-case"),
        ("a.staging", {"version": 1}, "lower-case"),
        ("distsession_mine", {"version": 1}, "belong to django-distsession"),
        ("a", "{", "a/design.json is no JSON"),
        ("a", [], "holds something else"),
        ("a", {}, '"version" has to be a whole number'),
        ("a", {"version": "1"}, '"version" has to be a whole number'),
        ("a", {"version": True}, '"version" has to be a whole number'),
        ("a", {"version": 0}, '"version" has to be a whole number'),
        ("a", {"version": 1, "redcues": {}}, "holds something else"),
        ("a", {"version": 1, "reduces": {"w": "_sum"}}, "no views/w.js"),
        ("a", {"version": 1, "reduces": ["v"]}, '"reduces" has to be'),
        ("a", {"version": 1, "digests": {"1": 1}}, '"digests" has to be'),
        ("a", {"version": 1, "autoupdate": 0}, '"autoupdate" has to be'),
    ],
)
def test_a_design_that_cannot_be_used_is_refused(
    tmp_path: Path, name: str, manifest: Any, message: str
) -> None:
    write(tmp_path, name, manifest, v="function (doc) {}")
    with pytest.raises(DesignError, match=message.replace("(", r"\(")):
        own_designs(tmp_path)


def test_a_folder_without_manifest_or_views_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(DesignError, match=r"design\.json cannot be read"):
        own_designs(tmp_path)
    (tmp_path / "a" / "design.json").write_text('{"version": 1}')
    with pytest.raises(DesignError, match="no map functions"):
        own_designs(tmp_path)
