"""
Apache CouchDB, as found on PATH, with a configuration and a data folder of its own.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from configparser import RawConfigParser
from pathlib import Path

from testproject.servers.couchdb_api import ADMIN, ANSWER_TIMEOUT, LocalCouchDB
from testproject.servers.process import LOOPBACK

# Erlang would leave its name server running behind us; a single node needs none.
WITHOUT_NAME_SERVER = ["-start_epmd", "false", "-erl_epmd_port", "0"]


class ApacheCouchDB(LocalCouchDB):
    name = "CouchDB"

    def __init__(self, program: str, port: int | None = None) -> None:
        super().__init__(port)
        self.program = Path(program).resolve()

    def command(self, folder: Path) -> Sequence[str]:
        settings = folder / "couchdb.ini"
        self._write_settings(settings, data=folder / "data")
        # The installation's own settings first, where we know them: without them CouchDB
        # falls back to the same values, but knows no settings that a packager chose.
        defaults = self.program.parent.parent / "etc" / "default.ini"
        ini_files = [str(path) for path in (defaults, settings) if path.exists()]
        return [str(self.program), *WITHOUT_NAME_SERVER, "-couch_ini", *ini_files]

    def answers(self) -> bool:
        # A single node makes its user database in the background, after it began to answer.
        return super().answers() and self._has_user_database()

    def _has_user_database(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=ANSWER_TIMEOUT)
        try:
            connection.request("HEAD", "/_users", headers={"Connection": "close"})
            return connection.getresponse().status != http.HTTPStatus.NOT_FOUND
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _write_settings(self, settings: Path, data: Path) -> None:
        parser = RawConfigParser()
        parser["couchdb"] = {
            "single_node": "true",
            "uuid": self.uuid,
            "database_dir": str(data),
            "view_index_dir": str(data),
        }
        parser["chttpd"] = {"bind_address": LOOPBACK, "port": str(self.port)}
        parser["cluster"] = {"n": "1"}
        # Relative to the installation otherwise, which is not ours to write to.
        parser["smoosh"] = {"state_dir": str(data)}
        parser["admins"] = {ADMIN: self.password}
        parser["log"] = {"level": "warning"}
        with settings.open("w") as file:
            parser.write(file)
