"""A transport with scripted responses, which keeps the requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson

from propeller.errors import Unavailable
from propeller.kube import Request, Response, Stream

Step = Response | Exception | float
"""An answer, an error to raise, or seconds to wait before the next step."""


class ScriptedStream:
    """A body in chunks; a number among them is a pause, an exception ends it."""

    def __init__(self, *steps: bytes | float | Exception, status: int = 200) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._steps = steps

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                yield step
            else:
                await asyncio.sleep(step)


class ScriptedTransport:
    """Plays steps in turn; the last answer is repeated."""

    def __init__(self, *steps: Step, streams: tuple[ScriptedStream, ...] = ()) -> None:
        self.requests: list[Request] = []
        self.deadlines: list[float] = []
        self.open_streams = 0
        self._steps = list(steps)
        self._streams = list(streams)

    async def send(self, request: Request, *, deadline: float) -> Response:
        self.requests.append(request)
        self.deadlines.append(deadline)
        try:
            async with asyncio.timeout(deadline):
                while True:
                    step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
                    if isinstance(step, Exception):
                        raise step
                    if isinstance(step, Response):
                        return step
                    await asyncio.sleep(step)
        except TimeoutError as error:
            raise Unavailable(f"no answer within {deadline:g} s") from error

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: Request) -> AsyncIterator[Stream]:
        self.requests.append(request)
        self.open_streams += 1
        try:
            yield self._streams.pop(0)
        finally:
            self.open_streams -= 1

    async def close(self) -> None:
        """Nothing is open."""


def answer(content: Any, status: int = 200, **headers: str) -> Response:
    """A JSON answer; `retry_after="5"` becomes a header."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return Response(
        status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=body
    )


def failure(code: int, reason: str = "", message: str = "no", **headers: str) -> Response:
    """A Status of a failure."""
    status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return answer(status, code, **headers)
