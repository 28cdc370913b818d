"""
`http.client`'s response with a header parser of its own: the standard one parses an e-mail, which
is a fifth of the CPU time of a session's load.

Whatever a server sends, no more than so much of it is read: a length is only what somebody says.
"""

from __future__ import annotations

import http.client
import re
from typing import Any

# As the standard library has them.
LONGEST_LINE = 65536
MOST_HEADERS = 100
# Responses that announce the real one, such as 100 Continue.
MOST_INTERIM = 10
# Bytes. CouchDB takes no document of more than 8 MB, unless it is told to.
LARGEST_BODY = 64 * 1024 * 1024

# Any larger number is larger than what is read, too.
LENGTH = re.compile(r"[0-9]{1,18}")
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")


class AnswerTooLarge(Exception):
    """
    A body that is larger than whatever CouchDB is asked for.
    """

    def __init__(self) -> None:
        super().__init__(f"a body of more than {LARGEST_BODY:,} bytes")


class Response(http.client.HTTPResponse):
    """
    Its headers are read as lines of `name: value`, and its body within bounds.
    """

    def begin(self, **options: Any) -> None:
        """
        Read the status and the headers.
        """
        for _ in range(MOST_INTERIM):
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            headers = self._read_headers()
            if not 100 <= status < 200:
                break
        else:
            raise http.client.HTTPException(f"got more than {MOST_INTERIM} interim responses")
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 10 if version == "HTTP/1.0" else 11
        self.headers = self.msg = headers
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.will_close = self.version == 10 or "close" in headers.get("connection", "").lower()
        length = headers.get("content-length", "")
        bodiless = status in (204, 304) or self._method == "HEAD"  # type: ignore[attr-defined]
        if bodiless:
            self.chunked = False
            self.length: int | None = 0
        elif self.chunked:
            self.length = None
        elif LENGTH.fullmatch(length):
            self.length = int(length)
        else:
            # It ends where the connection ends.
            self.length = None
            self.will_close = True

    def read_body(self) -> bytes:
        """
        Return the whole body. `AnswerTooLarge`, `http.client.IncompleteRead`.
        """
        if self.chunked:
            body = b"".join(self._chunks())
        elif self.length is None:
            body = self.fp.read(LARGEST_BODY + 1)
            _check_size(len(body))
        else:
            body = self._exactly(_check_size(self.length))
        self.close()
        return body

    def _chunks(self) -> list[bytes]:
        chunks, total = [], 0
        while size := self._chunk_size():
            total = _check_size(total + size)
            chunks.append(self._exactly(size))
            if self._line():
                raise http.client.HTTPException("a chunk that does not end where it should")
        # What may follow the last chunk has the form of headers.
        self._read_headers()
        return chunks

    def _chunk_size(self) -> int:
        size = self._line().partition(b";")[0].strip()
        if not CHUNK_SIZE.fullmatch(size):
            raise http.client.HTTPException("no size of a chunk")
        return int(size, 16)

    def _exactly(self, size: int) -> bytes:
        data: bytes = self.fp.read(size)
        if len(data) < size:
            raise http.client.IncompleteRead(data, size - len(data))
        return data

    def _line(self) -> bytes:
        line: bytes = self.fp.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        if not line.endswith(b"\n"):
            raise http.client.IncompleteRead(line)
        return line.rstrip(b"\r\n")

    def _read_headers(self) -> http.client.HTTPMessage:
        headers = http.client.HTTPMessage()
        for _ in range(MOST_HEADERS):
            line = self._line()
            if not line:
                return headers
            name, _, value = line.decode("iso-8859-1").partition(":")
            headers.set_raw(name, value.strip())
        raise http.client.HTTPException(f"got more than {MOST_HEADERS} headers")


def _check_size(size: int) -> int:
    if size > LARGEST_BODY:
        raise AnswerTooLarge
    return size
