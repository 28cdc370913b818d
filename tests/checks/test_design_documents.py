from __future__ import annotations

from typing import Any

from tests.stores.couchdb.fake import FakeServer, Request, reply

from .conftest import reported_by_servers


def test_design_documents_that_nobody_may_see(servers: Any) -> None:
    def answer(connection: Any, request: Request) -> bool:
        # The database itself is well.
        if request.target.count("/") == 1:
            return reply(200, {"db_name": "x"})(connection, request)
        refused = {"error": "forbidden", "reason": "You are no admin."}
        return reply(403, refused)(connection, request)

    with FakeServer() as fake:
        fake.default = answer
        servers(COUCHDB={"URL": fake.url, "ADMIN_URL": fake.url})
        [(code, text)] = reported_by_servers()
    assert code == "distsession.W023"
    assert "forbidden: You are no admin" in text
