"""Receivers of an HTTP/1.1 response: its headers, and the response that is read to its end.

`_http_stream` has the streaming one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Protocol

from propeller.errors import Unavailable

BODY_LIMIT = 256 * 1024 * 1024
"""Bytes of a response that is read whole. A page of 500 objects of etcd's largest size would be three times that."""


class NoResponse(Unavailable):
    """The connection was closed before a byte of the response: a server may close an idle one at any time."""


class Headers(Mapping[str, str]):
    """Headers as they came, decoded on first access: those of most responses are never read."""

    __slots__ = ("_decoded", "_raw")

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._decoded: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._decoded is None:
            self._decoded = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._raw}
        return self._decoded

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __contains__(self, name: object) -> bool:
        """Called for every response, about a header that hardly any has: without decoding the others."""
        if self._decoded is None and isinstance(name, str):
            wanted, size = name.encode("latin-1", "replace"), len(name)
            for found, _ in self._raw:  # noqa: SIM110 - a generator costs more than the rest
                if len(found) == size and found.lower() == wanted:
                    return True
            return False
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Exchange(Protocol):
    """The receiver of one response, called as its parts come."""

    def head(self, status: int, headers: Headers) -> None: ...

    def data(self, chunk: bytes) -> bool:
        """Take a piece of the body; False if the body is over its limit."""

    def end(self) -> None: ...

    def failed(self, error: Unavailable) -> None: ...


class BufferedResponse:
    """A response that is read to its end. Await `done`."""

    __slots__ = ("_parts", "_size", "done", "headers", "status")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[bytes] = loop.create_future()
        self.status = 0
        self.headers = Headers([])
        self._parts: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    def data(self, chunk: bytes) -> bool:
        self._parts.append(chunk)
        self._size += len(chunk)
        return self._size <= BODY_LIMIT

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))

    def failed(self, error: Unavailable) -> None:
        if not self.done.done():
            self.done.set_exception(error)
