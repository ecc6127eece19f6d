"""A `propeller.kube.Transport` that calls the server without a socket.

Guarantees
    A request takes effect one turn of the loop after it was sent, so that requests of many tasks interleave. If `send`
    is cancelled before that turn, nothing has happened.
    Time spent in an interceptor counts as the request's time within the server: against its deadline and the limit of
    requests in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from propeller.embedded.server._responses import Answer, Streaming, throttled
from propeller.errors import Unavailable
from propeller.kube import Request, Response, Stream

Forward = Callable[[Request], Awaitable[Response]]


class Interceptor(Protocol):
    """Sits between a client and the server, to add latency, lose responses or cut streams."""

    async def exchange(self, request: Request, forward: Forward) -> Response:
        """One request, a watch's beginning included: `forward` performs it.

        May wait, answer by itself, raise `Unavailable` before (the request is lost) or after (the answer is).
        """

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass on the chunks of a watch or a log; may delay them, or raise `Unavailable` to break the stream."""


class Endpoint(Protocol):
    """The server, as its transports see it."""

    max_in_flight: int
    in_flight: int
    retry_after: int

    def answer(self, request: Request, user: str) -> Answer | Awaitable[Answer]:
        """Raises Unavailable while the server is down."""


class _Open:
    """An answer whose chunks are read from the server."""

    def __init__(self, status: int, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


class MemoryTransport:
    """Requests of one user to one server."""

    def __init__(self, endpoint: Endpoint, user: str, interceptor: Interceptor | None = None) -> None:
        self._endpoint = endpoint
        self._user = user
        self._interceptor = interceptor

    async def send(self, request: Request, *, deadline: float) -> Response:
        if self._interceptor is None:
            answer = await self._answer(request, deadline)
        else:
            answer = await self._intercepted(request, deadline)
        if isinstance(answer, Response):
            return answer
        chunks = answer.chunks()
        try:
            async with asyncio.timeout(deadline):
                body = b"".join([chunk async for chunk in chunks])
        except TimeoutError as error:
            raise _late(request, deadline) from error
        finally:
            await _close(chunks)
        return Response(status=answer.status, headers=answer.headers, body=body)

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._stream(request, deadline)

    @asynccontextmanager
    async def _stream(self, request: Request, deadline: float) -> AsyncIterator[Stream]:
        if self._interceptor is None:
            answer = await self._answer(request, deadline)
        else:
            answer = await self._intercepted(request, deadline)
        if isinstance(answer, Response):
            yield _Open(answer.status, answer.headers, _once(answer.body))
            return
        source = answer.chunks()
        chunks = source if self._interceptor is None else self._interceptor.stream(request, source)
        try:
            yield _Open(answer.status, answer.headers, chunks)
        finally:
            await _close(chunks)
            if chunks is not source:
                await _close(source)

    async def close(self) -> None:
        """Nothing is held: each exchange ends with its own context."""

    async def _answer(self, request: Request, deadline: float) -> Answer:
        endpoint = self._endpoint
        if endpoint.max_in_flight and endpoint.in_flight >= endpoint.max_in_flight:
            return throttled(endpoint.retry_after)
        endpoint.in_flight += 1
        try:
            await asyncio.sleep(0)
            answer = endpoint.answer(request, self._user)
            if isinstance(answer, Response | Streaming):
                return answer
            async with asyncio.timeout(deadline):
                return await answer
        except TimeoutError as error:
            raise _late(request, deadline) from error
        finally:
            endpoint.in_flight -= 1

    async def _intercepted(self, request: Request, deadline: float) -> Answer:
        """Return the response, or the interceptor's replacement."""
        assert self._interceptor is not None
        endpoint = self._endpoint
        if endpoint.max_in_flight and endpoint.in_flight >= endpoint.max_in_flight:
            return throttled(endpoint.retry_after)
        opened: list[tuple[Response, Streaming]] = []

        async def forward(passed: Request) -> Response:
            await asyncio.sleep(0)
            answer = endpoint.answer(passed, self._user)
            if not isinstance(answer, Response | Streaming):
                answer = await answer
            if isinstance(answer, Response):
                return answer
            head = Response(status=answer.status, headers=answer.headers)
            opened.append((head, answer))
            return head

        endpoint.in_flight += 1
        try:
            async with asyncio.timeout(deadline):
                response = await self._interceptor.exchange(request, forward)
        except TimeoutError as error:
            raise _late(request, deadline) from error
        finally:
            endpoint.in_flight -= 1
        return next((streaming for head, streaming in opened if head is response), response)


def _late(request: Request, deadline: float) -> Unavailable:
    return Unavailable(f"the embedded API server did not answer {request.method} {request.path} within {deadline:g} s")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _close(chunks: AsyncIterator[bytes]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()
