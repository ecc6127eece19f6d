"""Sends a client's requests: counted, within the limit of their flow, and retried if they only read.

Guarantees
    Reads are retried on Unavailable and Throttled, with jittered backoff, `Retry-After` honoured, within the deadline
    of the call. Writes are not.
    An unsuccessful response is raised as the error that its status names.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from propeller.clock import Clock
from propeller.errors import PropellerError, Retryable, Unavailable, Untrusted
from propeller.kube._bodies import encoded
from propeller.kube._flows import Flows
from propeller.kube._options import ClientOptions
from propeller.kube._requests import Requests
from propeller.kube._responses import check, raise_for
from propeller.kube._transport import Request, Response, Stream, Transport

JSON = {"accept": "application/json", "content-type": "application/json", "user-agent": "propeller"}
METADATA = JSON | {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}

_VERBS = {"replace": "update", "update": "patch", "apply": "patch", "look": "get"}
"""Kubernetes' words for verbs that our messages call otherwise."""

_REACH_PAUSE = 0.5  # seconds between two attempts to reach a server at all
_READ_BACKOFF = 0.1  # seconds before the first retry of a read; doubles


class Sender:
    """Sends the requests of one client; `what` names verb and object in messages."""

    def __init__(self, transport: Transport, settings: ClientOptions, clock: Clock) -> None:
        self._transport = transport
        self._settings = settings
        self._clock = clock
        self.flows = Flows(settings)
        self.requests = Requests(clock)

    async def read(self, request: Request, what: str) -> Response:
        """Send until it succeeds, fails for good, or the deadline leaves no time for another try."""
        end = self._clock.monotonic() + self._settings.deadline
        backoff = _READ_BACKOFF
        while True:
            try:
                left = end - self._clock.monotonic()
                response = await self.send(request, max(left, _READ_BACKOFF), what)
                return check(response, what, self._settings.retry_after_cap, request.path)
            except Untrusted:
                raise
            except Retryable as error:
                named = (error.after or 0.0) * random.uniform(1.0, 1.1)
                pause = max(named, backoff * random.uniform(0.5, 1.0))
                if self._clock.monotonic() + pause >= end:
                    raise
                await asyncio.sleep(pause)
                backoff *= 2

    async def write(
        self,
        method: str,
        path: str,
        body: Any,
        what: str,
        *,
        content_type: str = "",
        query: Mapping[str, str] = {},
        partial: bool = False,
    ) -> Response:
        """Send once, as only the caller knows whether the write is idempotent."""
        headers = METADATA if partial else JSON
        if content_type:
            headers = headers | {"content-type": str(content_type)}
        request = Request(method=method, path=path, query=query, headers=headers, body=encoded(body, what))
        response = await self.send(request, self._settings.deadline, what)
        return check(response, what, self._settings.retry_after_cap, request.path)

    @asynccontextmanager
    async def watch(self, request: Request, what: str) -> AsyncIterator[Stream]:
        """Open a watch, and count it; raises the error that the server answers instead."""
        async with AsyncExitStack() as stack:
            try:
                opening = self._transport.stream(request, deadline=self._settings.deadline)
                stream = await stack.enter_async_context(opening)
            except PropellerError as error:
                self.requests.failed("watch", error)
                raise
            self.requests.answered("watch", stream.status)
            if stream.status != 200:
                raise_for(await self._whole(stream, what), what, self._settings.retry_after_cap, request.path)
            yield stream

    async def reach(self, deadline: float) -> None:
        """Wait until the server answers with any status, `deadline` seconds at most. Raises Unavailable."""
        end, request = self._clock.monotonic() + deadline, Request(method="GET", path="/version", headers=JSON)
        while True:
            left = end - self._clock.monotonic()
            try:
                await self.send(request, max(left, _READ_BACKOFF), "get /version")
            except Untrusted:
                raise
            except Unavailable:
                if self._clock.monotonic() + _REACH_PAUSE >= end:
                    raise
                await asyncio.sleep(_REACH_PAUSE)
            else:
                return

    async def send(self, request: Request, deadline: float, what: str) -> Response:
        """Send once, and count the result by the verb that `what` begins with."""
        word = what[: what.index(" ")]
        verb = _VERBS.get(word, word)
        try:
            response = await self.flows.send(self._transport, request, deadline)
        except PropellerError as error:
            self.requests.failed(verb, error)
            raise
        self.requests.answered(verb, response.status)
        return response

    async def _whole(self, stream: Stream, what: str) -> Response:
        """Read the body of an unsuccessful response to a watch: it says why there is no watch."""
        try:
            async with asyncio.timeout(self._settings.deadline):
                body = b"".join([chunk async for chunk in stream])
        except TimeoutError as error:
            raise Unavailable(f"{what}: the answer did not end within {self._settings.deadline:g} s") from error
        return Response(status=stream.status, headers=stream.headers, body=body)
