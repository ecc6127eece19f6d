"""A response that is read as it comes, such as a watch's.

Guarantees
    Backpressure: at most `BUFFER` bytes and one segment are held for a reader that is slower than the server.
    Reads of a busy stream are coalesced: after each, the socket is paused for `COALESCE_SECONDS`. Others are immediate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from propeller.errors import Unavailable
from propeller.kube._http_responses import Headers

BUFFER = 64 * 1024
"""Bytes of a streamed body that wait for their reader before the server is made to wait. They are still in the core's
cache when they are decoded: four times as many cost a tenth more for an event."""

COALESCE_SECONDS = 0.005
"""Seconds that a busy stream is paused after a read. A read costs a wake-up, a TLS record and a turn of the loop:
network cards moderate their interrupts for the same reason.
"""

FULL_READ = 16
"""Chunks that make a read worth its cost: a stream with so many in each read gains nothing from a pause."""

BUSY_PER_SECOND = 200.0
"""Chunks a second, over a tenth of a second, from which on a stream is busy."""


class Pausable(Protocol):
    """A connection that can be left unread for a while."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class ReadCoalescer:
    """Decides when to read a stream again: at once, or, while it is busy, after `COALESCE_SECONDS`.

    A leaky bucket of chunks, so that a quiet stream never waits and a burst is over after a tenth of a second.
    """

    __slots__ = ("_level", "_read_at")

    def __init__(self, now: float) -> None:
        self._level = 0.0
        self._read_at = now

    def delay_after(self, now: float, chunks: int) -> float:
        """The seconds to pause after a read at `now` that found so many chunks."""
        left = self._level - (now - self._read_at) * BUSY_PER_SECOND
        self._read_at = now
        self._level = min(max(left, 0.0) + chunks, BUSY_PER_SECOND * 0.2)
        return COALESCE_SECONDS if self._level > BUSY_PER_SECOND * 0.1 and chunks < FULL_READ else 0.0


class StreamingResponse:
    """A response that is read as it comes: await `begun`, then iterate. Implements `_transport.Stream`."""

    def __init__(self, connection: Pausable, loop: asyncio.AbstractEventLoop) -> None:
        self.begun: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.headers: Mapping[str, str] = Headers([])
        self._connection = connection
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False
        self._error: Unavailable | None = None
        self._wakeup: asyncio.Future[None] | None = None
        self._coalescer = ReadCoalescer(loop.time())
        self._next_read: asyncio.TimerHandle | None = None

    def head(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        if not self.begun.done():
            self.begun.set_result(None)

    def data(self, chunk: bytes) -> bool:
        self._parts.append(chunk)
        self._size += len(chunk)
        if self._size > BUFFER:
            self._connection.pause()
        self._notify()
        return True

    def end(self) -> None:
        self._ended = True
        self._cancel_next_read()  # another exchange may use the connection from here on
        self._notify()

    def failed(self, error: Unavailable) -> None:
        self._error = error
        self._cancel_next_read()
        if not self.begun.done():
            self.begun.set_exception(error)
        self._notify()

    def _coalesce(self, seconds: float) -> None:
        if self._next_read is not None:
            return
        if seconds:
            self._connection.pause()
            self._next_read = self._loop.call_later(seconds, self._resume_reading)
        else:
            self._connection.resume()

    def _resume_reading(self) -> None:
        self._next_read = None
        if self._size <= BUFFER:
            self._connection.resume()

    def _cancel_next_read(self) -> None:
        if self._next_read is not None:
            self._next_read.cancel()
            self._next_read = None

    def _notify(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if self._parts:
                chunk = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._coalesce(self._coalescer.delay_after(self._loop.time(), len(self._parts)))
                self._parts.clear()
                self._size = 0
                yield chunk
            elif self._error is not None:
                raise self._error
            elif self._ended:
                return
            else:
                self._wakeup = self._loop.create_future()
                await self._wakeup
