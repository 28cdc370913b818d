"""
pouchdb-server: CouchDB's HTTP API over LevelDB, on Node.js, where there is no Apache CouchDB.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from testproject.servers.base import ServerUnavailable
from testproject.servers.couchdb_api import ADMIN, LocalCouchDB
from testproject.servers.process import LOOPBACK

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / ".servers" / "node_modules" / "pouchdb-server" / "bin" / "pouchdb-server"


class PouchDBServer(LocalCouchDB):
    name = "pouchdb-server"

    def command(self, folder: Path) -> Sequence[str]:
        node = shutil.which("node")
        if node is None or not PROGRAM.exists():
            raise ServerUnavailable(
                "There is no CouchDB here. Run `make servers`, which installs a stand-in and "
                "says what it lacks; or put Apache CouchDB's `couchdb` on PATH; or let "
                "DISTSESSION_TEST_COUCHDB_URL name a running one, with an admin's credentials."
            )
        data = folder / "data"
        data.mkdir(exist_ok=True)
        settings = folder / "config.json"
        settings.write_text(
            json.dumps(
                {
                    "admins": {ADMIN: self.password},
                    "couchdb": {"uuid": self.uuid, "database_dir": str(data)},
                    "httpd": {"bind_address": LOOPBACK, "port": self.port},
                    "log": {"file": str(folder / "requests.log"), "level": "error"},
                    "pouchdb_server": {"no-stdout-logs": True},
                }
            )
        )
        return [node, str(PROGRAM), "--config", str(settings)]
