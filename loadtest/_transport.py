"""CPU of one request by our HTTP client and by aiohttp, to a server in another process that answers at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator

import uvloop

from loadtest._line import Line
from propeller.kube import Request, Transport
from propeller.kube._aiohttp import AiohttpTransport
from propeller.kube._http import HttpTransport

REQUESTS = 8_000
AT_ONCE = 32
_BODY = b'{"kind":"Pod","metadata":{"name":"x"},"padding":"' + b"x" * 3000 + b'"}'
_ANSWER = (
    b"HTTP/1.1 201 Created\r\nAudit-Id: 9c0d\r\nCache-Control: no-cache, private\r\nContent-Type: application/json\r\n"
    b"X-Kubernetes-Pf-Flowschema-Uid: 1\r\nDate: Mon, 02 Nov 2026 10:00:00 GMT\r\nContent-Length: %d\r\n\r\n"
    % len(_BODY)
    + _BODY
)


def measure() -> Iterator[Line]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        base = f"http://127.0.0.1:{ours.recv()}"
        aiohttp = uvloop.run(_seconds(AiohttpTransport(base)))
        own = uvloop.run(_seconds(HttpTransport(base)))
    finally:
        server.terminate()
        server.join()
    yield Line(name="aiohttp, CPU of a create", value=aiohttp / REQUESTS * 1e6, unit="us")
    yield Line(name="ours, CPU of a create", value=own / REQUESTS * 1e6, unit="us")
    yield Line(name="ours relative to aiohttp, without TLS", value=own / aiohttp, unit="x", budget=0.6)


async def _seconds(transport: Transport) -> float:
    request = Request(
        method="POST",
        path="/api/v1/namespaces/a/pods",
        query={"fieldManager": "propeller"},
        headers={"accept": "application/json", "content-type": "application/json"},
        body=b"x" * 2000,
    )
    await transport.send(request, deadline=10)
    left = iter(range(REQUESTS))

    async def work() -> None:
        for _ in left:
            await transport.send(request, deadline=10)

    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    took = time.process_time() - began
    await transport.close()
    return took


class _Answering(asyncio.Protocol):
    """Answers each request of the measurement's size."""

    def __init__(self) -> None:
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head >= 0 and len(self._received) >= head + 4 + 2000:
            self._received.clear()
            self._transport.write(_ANSWER)  # type: ignore[attr-defined]  # a stream's transport


def _serve(pipe: object) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
        await server.serve_forever()

    uvloop.run(serve())
