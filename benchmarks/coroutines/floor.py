"""
The floor: one pipelined connection to each server and event loop, replies in the order of requests,
a signature and JSON. No time-outs, no errors, no second copy that differs.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import json
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

KEY = b"k" * 32
SIGNATURE = 32


class Pipeline(asyncio.Protocol):
    """
    A connection that all coroutines share.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._outgoing: list[bytes] = []
        self._rest = b""

    @classmethod
    async def connect(cls, address: str) -> Pipeline:
        host, _, port = address.rpartition(":")
        _, pipeline = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        return pipeline

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, command: bytes) -> asyncio.Future[bytes]:
        reply: asyncio.Future[bytes] = self._loop.create_future()
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(command)
        self._waiting.append(reply)
        return reply

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        start = 0
        while start < len(data):
            end = data.find(b"\r\n", start)
            if end < 0:
                break
            line, value = data[start:end], b""
            end += 2
            if line.startswith(b"VA"):
                size = int(line.split(b" ", 2)[1])
                if len(data) < end + size + 2:
                    break
                value = data[end : end + size]
                end += size + 2
            self._waiting.popleft().set_result(value)
            start = end
        self._rest = data[start:]

    def _flush(self) -> None:
        self.transport.write(b"".join(self._outgoing))
        self._outgoing.clear()


class Floor:
    """
    Sessions under some keys, each on all servers.
    """

    def __init__(self, pipelines: Sequence[Pipeline], keys: Sequence[str]) -> None:
        self._pipelines = pipelines
        self._keys = itertools.cycle([key.encode() for key in keys])

    async def begin(self, values: dict[str, Any], count: int) -> None:
        for _ in range(count):
            await self._put(next(self._keys), values)

    async def change(self) -> None:
        key = next(self._keys)
        replies = [pipeline.ask(b"mg %b v c t\r\n" % key) for pipeline in self._pipelines]
        found, *_ = [await reply for reply in replies]
        data = found[SIGNATURE:]
        if not hmac.compare_digest(found[:SIGNATURE], hmac.digest(KEY, data, "sha256")):
            raise RuntimeError("The floor read something else than it wrote.")
        values = json.loads(data)
        values["k7"] += 1
        await self._put(key, values)

    async def _put(self, key: bytes, values: dict[str, Any]) -> None:
        data = json.dumps(values, separators=(",", ":")).encode()
        value = hmac.digest(KEY, data, "sha256") + data
        command = b"ms %b %d T3600 c\r\n%b\r\n" % (key, len(value), value)
        for reply in [pipeline.ask(command) for pipeline in self._pipelines]:
            await reply

    def close(self) -> None:
        for pipeline in self._pipelines:
            pipeline.transport.abort()
