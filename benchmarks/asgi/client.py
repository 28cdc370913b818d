"""
A browser's side of HTTP: connections that are kept open, one request at a time on each.
"""

from __future__ import annotations

import asyncio
import time


class Visitor:
    """
    One browser, with its connection and its cookie.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._cookie = b""

    @classmethod
    async def arrive(cls, port: int) -> Visitor:
        visitor = cls(*await asyncio.open_connection("127.0.0.1", port))
        await visitor.get(b"/begin")
        if not visitor._cookie:
            raise RuntimeError("The site gave no session cookie.")
        return visitor

    async def get(self, page: bytes) -> bytes:
        cookie = b"Cookie: sessionid=%b\r\n" % self._cookie if self._cookie else b""
        self._writer.write(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\n" % (page, cookie))
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        if not status.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"The site answered {status!r}.")
        length = 0
        for line in lines:
            name, _, value = line.partition(b": ")
            match name.lower():
                case b"content-length":
                    length = int(value)
                case b"set-cookie" if value.startswith(b"sessionid="):
                    self._cookie = value.removeprefix(b"sessionid=").partition(b";")[0]
        return await self._reader.readexactly(length)

    def leave(self) -> None:
        self._writer.close()


async def requests_per_second(port: int, page: bytes, visitors: int, seconds: float) -> float:
    """
    Return how many requests a second so many visitors are answered, who all ask for one page again
    and again.
    """
    crowd = await asyncio.gather(*(Visitor.arrive(port) for _ in range(visitors)))
    began = time.perf_counter()
    end = began + seconds

    async def visit(visitor: Visitor) -> int:
        count = 0
        while time.perf_counter() < end:
            await visitor.get(page)
            count += 1
        visitor.leave()
        return count

    counts = await asyncio.gather(*map(visit, crowd))
    return sum(counts) / (time.perf_counter() - began)
