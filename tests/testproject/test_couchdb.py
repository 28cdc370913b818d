from __future__ import annotations

import http.client
import json
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from testproject.servers import CouchDBServer, ServerUnavailable, couchdb_server
from testproject.servers import couchdb as couchdb_choice
from testproject.servers import process as server_process
from testproject.servers.apache_couchdb import ApacheCouchDB
from testproject.servers.couchdb_api import LocalCouchDB
from testproject.servers.external_couchdb import ExternalCouchDB
from testproject.servers.pouchdb import PouchDBServer

from .processes import PATIENCE, is_paused


@pytest.fixture(scope="module")
def couchdb() -> Iterator[LocalCouchDB]:
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv(couchdb_choice.URL_VARIABLE, raising=False)
        server = couchdb_server()
    assert isinstance(server, LocalCouchDB)
    with server:
        yield server


def request(server: CouchDBServer, method: str, path: str, body: object = None) -> tuple[int, str]:
    parts = urlsplit(server.url)
    credentials = b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class TestLocalCouchDB:
    def test_url_is_an_admins_and_public_url_is_nobodys(self, couchdb):
        assert request(couchdb, "PUT", "/made-by-admin")[0] == 201
        assert couchdb.password not in couchdb.public_url
        assert couchdb.url == couchdb.public_url.replace("//", f"//admin:{couchdb.password}@")

    def test_can_fail(self, couchdb):
        assert couchdb.can_fail

    @pytest.mark.parametrize("how", ["restart", "kill"])
    def test_documents_survive(self, couchdb, how):
        port, pid = couchdb.port, couchdb.pid
        assert request(couchdb, "PUT", f"/survives-{how}")[0] == 201
        assert request(couchdb, "PUT", f"/survives-{how}/doc", {"kept": True})[0] == 201

        if how == "restart":
            couchdb.restart()
        else:
            couchdb.kill()
            couchdb.start()

        assert (couchdb.port, couchdb.pid != pid) == (port, True)
        status, document = request(couchdb, "GET", f"/survives-{how}/doc")
        assert (status, json.loads(document)["kept"]) == (200, True)

    def test_paused_server_answers_once_resumed(self, couchdb):
        couchdb.pause()
        assert is_paused(couchdb.pid)

        couchdb.resume()

        assert request(couchdb, "GET", "/")[0] == 200

    def test_user_database_is_there(self, couchdb):
        assert request(couchdb, "GET", "/_users")[0] == 200


class TestExternalCouchDB:
    def test_is_used_where_the_environment_names_one(self, couchdb, monkeypatch):
        monkeypatch.setenv(couchdb_choice.URL_VARIABLE, couchdb.url)

        with couchdb_server() as external:
            assert external.url == couchdb.url
            assert external.public_url == couchdb.public_url
            assert not external.can_fail

        assert couchdb.is_running

    @pytest.mark.parametrize("breaking", ["stop", "pause", "resume", "kill", "restart"])
    def test_cannot_be_broken(self, breaking):
        server = ExternalCouchDB("http://admin:secret@couchdb.example:5984")

        with pytest.raises(RuntimeError, match="not ours") as refusal:
            getattr(server, breaking)()

        assert "secret" not in str(refusal.value)

    def test_silence_is_reported_without_credentials(self):
        server = ExternalCouchDB(f"http://admin:secret@127.0.0.1:{server_process.free_port()}")

        with pytest.raises(ServerUnavailable, match="DISTSESSION_TEST_COUCHDB_URL") as failure:
            server.start()

        assert "secret" not in str(failure.value)


class TestChoiceOfCouchDB:
    @pytest.fixture(autouse=True)
    def _nothing_at_hand(self, monkeypatch, tmp_path):
        monkeypatch.delenv(couchdb_choice.URL_VARIABLE, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))

    def test_apache_couchdb_on_path(self, tmp_path):
        program = tmp_path / "couchdb"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)

        server = couchdb_server()

        assert isinstance(server, ApacheCouchDB)
        assert server.program == program

    def test_stand_in_otherwise(self):
        assert isinstance(couchdb_server(), PouchDBServer)

    def test_nothing_installed_says_what_to_do(self):
        with pytest.raises(ServerUnavailable, match="make servers") as failure:
            couchdb_server().start()

        assert "DISTSESSION_TEST_COUCHDB_URL" in str(failure.value)


class TestApacheCouchDB:
    """
    What is asked of Apache CouchDB, on machines without it too.
    """

    def test_settings_keep_it_alone_and_on_loopback(self, tmp_path):
        server = ApacheCouchDB(str(tmp_path / "bin" / "couchdb"))

        command = server.command(tmp_path)

        assert command[-2:] == ["-couch_ini", str(tmp_path / "couchdb.ini")]
        assert "-start_epmd" in command
        settings = (tmp_path / "couchdb.ini").read_text()
        for line in (
            "single_node = true",
            "bind_address = 127.0.0.1",
            f"port = {server.port}",
            f"uuid = {server.uuid}",
            f"admin = {server.password}",
            f"database_dir = {tmp_path / 'data'}",
        ):
            assert line in settings.splitlines()

    def test_defaults_of_the_installation_come_first(self, tmp_path):
        defaults = tmp_path / "etc" / "default.ini"
        defaults.parent.mkdir()
        defaults.touch()

        command = ApacheCouchDB(str(tmp_path / "bin" / "couchdb")).command(tmp_path)

        assert command[-2:] == [str(defaults), str(tmp_path / "couchdb.ini")]
