"""
`manage.py migratedesigndocs`, as a deployment uses it.
"""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.core.management import CommandError

from django_distsession import conf
from django_distsession.backends.couchdb import SessionStore
from django_distsession.management.watchers import LineWatcher, watching
from django_distsession.stores.couchdb.designs import Design
from testproject.servers import CouchDBServer
from tests.stores.couchdb.designs.conftest import Database, migrate, raised, release

Engine = type[SessionStore]
Deploy = Callable[..., None]
UP_TO_DATE = "The design documents are what this release wants.\n"


class Output(io.StringIO):
    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def run(sessions: Engine) -> Callable[..., tuple[int, str, str]]:
    """
    Return a function that runs the command: exit status, output, errors.
    """

    def do(*arguments: str, terminal: bool = False) -> tuple[int, str, str]:
        out, err = Output(terminal=terminal), Output(terminal=terminal)
        status = 0
        try:
            migrate(*arguments, stdout=out, stderr=err)
        except SystemExit as error:
            status = int(str(error.code))
        return status, out.getvalue(), err.getvalue()

    return do


Run = Callable[..., tuple[int, str, str]]


def test_everything_is_created_on_an_empty_server(
    run: Run, database: Database, bundled: tuple[Design, ...]
) -> None:
    status, out, _ = run()
    assert status == 0
    assert f"Database {database.name}: missing; will be created" in out
    assert "distsession_expiry: missing; version 2 will be staged, indexed and put in place" in out
    assert out.endswith(UP_TO_DATE)
    assert database.versions() == {design.name: design.version for design in bundled}


def test_a_second_run_has_nothing_to_do(run: Run, database: Database) -> None:
    run()
    before = database.designs()
    status, out, _ = run()
    assert (status, out.count("nothing to do")) == (0, len(before))
    assert database.designs() == before


def test_check_fails_until_there_is_nothing_to_do(
    run: Run, database: Database, deploy: Deploy
) -> None:
    deploy(release(1))
    assert run("--check")[0] == 1
    assert "error" in database.get("")
    run()
    deploy(release(2))
    status, out, _ = run("--check")
    assert (status, database.versions()) == (1, {"purpose": 1})
    assert "purpose: version 1; version 2 will be staged, indexed and put in place" in out
    run()
    assert run("--check")[0] == 0
    database.put(release(1).document(release(1).staging_name))
    status, out, _ = run("--check")
    assert (status, f"{release(1).staging_name}: a staging copy; will be removed" in out) == (
        1,
        True,
    )


def test_old_code_run_afterwards_changes_nothing(
    run: Run, database: Database, deploy: Deploy
) -> None:
    deploy(release(2))
    run()
    before = database.designs()
    deploy(release(1))
    assert run("--check")[0] == 0
    status, out, _ = run("--force")
    assert (status, database.designs()) == (0, before)
    assert "purpose: version 2 is newer than this release's 1; left alone" in out


def test_dry_run_changes_nothing(run: Run, database: Database, deploy: Deploy) -> None:
    deploy(release(1))
    assert run("--dry-run")[0] == 0
    assert "error" in database.get("")
    run()
    database.put(release(2).document(release(2).staging_name))
    before = database.designs()
    deploy(release(2))
    status, out, _ = run("--dry-run")
    assert (status, database.designs()) == (0, before)
    assert f"{release(2).staging_name}: a staging copy; will be taken over" in out


def test_no_build_replaces_at_once(run: Run, database: Database, deploy: Deploy) -> None:
    deploy(release(1))
    run()
    deploy(release(2))
    _, out, _ = run("--no-build")
    assert "put in place, its index not built" in out
    assert "staging" not in out
    assert database.versions() == {"purpose": 2}


def test_another_database(run: Run, database: Database, couchdb: CouchDBServer) -> None:
    other = f"{database.name}/other"
    try:
        run("--database", other)
        found = Database(couchdb.url, other.replace("/", "%2F"))
        assert "distsession_expiry" in found.designs()
        found.http.close()
        assert "error" in database.get("")
    finally:
        httpx.delete(f"{couchdb.url}/{database.name}%2Fother")


def test_a_name_that_couchdb_refuses(run: Run) -> None:
    with pytest.raises(CommandError, match='Did you mean "sessions"'):
        run("--database", "Sessions")


def test_what_was_edited_is_refused_with_a_diff(
    run: Run, database: Database, deploy: Deploy
) -> None:
    deploy(release(1))
    run()
    database.put({**database.designs()["purpose"], "views": {"mine": {"map": "function (d) {}"}}})
    before = database.designs()
    with pytest.raises(CommandError, match="--force") as error:
        run()
    assert '-    map: "function (d) {}"' in str(error.value)
    assert "+      function (doc) {" in str(error.value)
    status, out, err = run("--check")
    assert (status, database.designs()) == (1, before)
    assert "purpose: not what this release calls version 1; refused" in out
    assert '-    map: "function (d) {}"' in err
    assert run("--force")[0] == 0
    assert database.designs()["purpose"]["views"] == release(1).content["views"]


def test_a_forgotten_version_is_refused(run: Run, database: Database, deploy: Deploy) -> None:
    changed = Design("purpose", 1, release(1).content, {"1": release(2).digest})
    deploy(changed)
    with pytest.raises(CommandError, match="forgot the version"):
        run()
    assert "error" in database.get("")


def test_a_projects_own_designs_are_migrated_too(
    run: Run, database: Database, configure: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "statistics" / "views").mkdir(parents=True)
    (tmp_path / "statistics" / "design.json").write_text(json.dumps({"version": 4}))
    (tmp_path / "statistics" / "views" / "v.js").write_text("function (doc) {}")
    configure(COUCHDB={"DESIGNS": tmp_path})
    run()
    assert database.versions() | {"statistics": 4, "distsession_expiry": 2} == database.versions()


def test_a_map_function_that_the_server_cannot_compile_leaves_the_old_one_in_place(
    run: Run, database: Database, deploy: Deploy
) -> None:
    deploy(release(1))
    run()
    broken = release(2, source="function (doc) { emit(")
    deploy(broken)
    if database.http.put("_design/probe", json=broken.document("probe")).status_code == 400:
        with pytest.raises(CommandError, match="compilation_error"):
            run()
        assert database.versions() == {"purpose": 1}
    else:
        # This server finds out when somebody asks for the index, and then leaves out documents.
        run()
        assert database.versions() == {"purpose": 2, "probe": 2}


def test_engines_without_couchdb_have_no_design_documents(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    with pytest.raises(CommandError, match="has no design documents"):
        migrate()


@pytest.fixture
def member(couchdb: CouchDBServer, database: Database) -> Any:
    """
    The server's URL for a user who is no admin.
    """
    name = f"u{uuid.uuid4().hex}"
    users = Database(couchdb.url, "_users")
    # It is there on some servers only.
    users.http.put("")
    user = {"_id": f"org.couchdb.user:{name}", "name": name, "password": "pw"}
    rev = users.put({**user, "roles": [], "type": "user"})
    parts = urlsplit(couchdb.url)
    yield f"{parts.scheme}://{name}:pw@{parts.hostname}:{parts.port}"
    users.http.delete(f"org.couchdb.user%3A{name}", params={"rev": rev})
    users.http.close()


def test_who_may_not_is_told_which_right_is_missing(
    run: Run,
    database: Database,
    deploy: Deploy,
    member: str,
    couchdb: CouchDBServer,
    configure: Callable[..., None],
) -> None:
    deploy(release(1))
    run()
    name = urlsplit(member).username
    members = {"names": [name], "roles": ["_admin"]}
    security = {"admins": {"names": [], "roles": ["_admin"]}, "members": members}
    assert database.http.put("_security", json=security).status_code == 200
    deploy(release(2))
    configure(COUCHDB={"URL": member})
    with pytest.raises(CommandError) as error:
        run()
    for part in ("may not store design documents", 'ADMIN_URL"] name a server admin', "_security"):
        assert part in str(error.value)
    assert "pw" not in str(error.value)
    assert run("--check")[0] == 1
    # An admin of the database may do it, though no other's tasks are shown to such a user.
    security["admins"] = {"names": [name], "roles": ["_admin"]}
    assert database.http.put("_security", json=security).status_code == 200
    run()
    assert database.versions() == {"purpose": 2}


def test_the_rights_of_admin_url_are_used(
    run: Run,
    database: Database,
    deploy: Deploy,
    member: str,
    couchdb: CouchDBServer,
    configure: Callable[..., None],
) -> None:
    deploy(release(1))
    configure(COUCHDB={"URL": member, "ADMIN_URL": couchdb.url})
    run()
    assert database.versions() == {"purpose": 1}
    # As on first use, the user of the request path is let in.
    security = database.get("_security")
    assert security["members"]["names"] == [urlsplit(member).username]


def test_a_wrong_password_is_no_missing_right(
    run: Run, database: Database, configure: Callable[..., None], couchdb: CouchDBServer
) -> None:
    run()
    parts = urlsplit(couchdb.url)
    # CouchDB locks users out after a few wrong passwords: not the admin of the other tests.
    user = f"u{uuid.uuid4().hex}"
    configure(COUCHDB={"URL": f"http://{user}:no@{parts.hostname}:{parts.port}"})
    with pytest.raises(CommandError, match="does not let us in"):
        run()


def test_quiet_means_quiet(run: Run) -> None:
    assert run("--verbosity", "0") == (0, "", "")


def test_lines_tell_each_tenth_once() -> None:
    lines: list[str] = []
    watcher = LineWatcher(lines.append)
    watcher.step("Building.")
    for done in (5, 10, 15, 55, 55, 100):
        watcher.progress(done * 100, 10_000)
    watcher.step("Again.")
    watcher.progress(1_000, 10_000)
    tenths = [line for line in lines if "documents" in line]
    assert [line.split()[0] for line in tenths] == ["1,000", "5,500", "10,000", "1,000"]


def test_a_terminal_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with watching(lines.append, terminal=True) as watcher:
        watcher.step("Building.")
        watcher.progress(500, 1000)
        watcher.progress(1000, 1000)
        watcher.step("Copying.")
    assert lines == ["Building.", "Copying."]
    assert "1000/1000" in capsys.readouterr().err


def test_both_engines_with_couchdb_have_design_documents(
    run: Run, database: Database, settings: Any, deploy: Deploy, bundled: tuple[Design, ...]
) -> None:
    settings.SESSION_ENGINE = "django_distsession.backends.hybrid"
    newer = [raised(design) for design in bundled]
    deploy(*newer)
    run()
    assert database.versions() == {design.name: design.version for design in newer}


@pytest.mark.parametrize(
    ("folder", "text"),
    [("none", "the path of an existing directory"), ("bad", "x/design.json cannot be read")],
)
def test_settings_name_the_projects_own_designs(
    settings: Any, configure: Callable[..., None], tmp_path: Path, folder: str, text: str
) -> None:
    (tmp_path / "bad" / "x").mkdir(parents=True)
    settings.DISTSESSION = {"COUCHDB": {"URL": "http://127.0.0.1:1"}}
    settings.SESSION_ENGINE = "django_distsession.backends.couchdb"
    assert conf.problems() == []
    configure(COUCHDB={"DESIGNS": str(tmp_path / folder)})
    (problem,) = conf.problems()
    assert problem.setting == 'DISTSESSION["COUCHDB"]["DESIGNS"]'
    assert re.search(text, problem.message)
