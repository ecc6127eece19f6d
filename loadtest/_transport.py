"""CPU of our HTTP client and of aiohttp over TLS: of a create, and of a watch event in a burst.

The server is a process of its own that answers at once, so that only the clients differ. Each side works as in
production: ours decodes with msgspec into the fields that we read, aiohttp's answers go through orjson.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import multiprocessing
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
import uvloop

from loadtest._line import Line
from propeller.kube import PODS, Connection, connect

CREATES = 6_000
CONCURRENCY = 32
EVENTS = 40_000
REPETITIONS = 5

_POD = {
    "metadata": {"name": "x-n0-0", "namespace": "a", "labels": {f"label-{n}": "value" * 4 for n in range(8)}},
    "spec": {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "x",
                "image": "registry.example/image:v1",
                "args": ["pyflyte-execute", "--inputs", "s3://bucket/metadata/inputs.pb", *["--argument"] * 20],
                "env": [{"name": f"FLYTE_VARIABLE_{n}", "value": "value" * 4} for n in range(20)],
            }
        ],
    },
}
_STORED = {
    "kind": "Pod",
    "apiVersion": "v1",
    **_POD,
    "metadata": {
        **cast(dict[str, Any], _POD["metadata"]),
        "uid": "5ad5b7b2-3f6f-4f5b-8d4c-3f3b3a1d2c11",
        "resourceVersion": "123456",
        "creationTimestamp": "2026-11-02T10:00:00Z",
        "annotations": {"padding": "x" * 500},
    },
    "status": {"phase": "Running", "startTime": "2026-11-02T10:00:00Z", "podIP": "10.0.0.1"},
}
_BODY = orjson.dumps(_STORED)
_EVENT = orjson.dumps({"type": "MODIFIED", "object": _STORED}) + b"\n"
_HEAD = (
    b"Audit-Id: 9c0d\r\nCache-Control: no-cache, private\r\nContent-Type: application/json\r\n"
    b"X-Kubernetes-Pf-Flowschema-Uid: 1\r\nX-Kubernetes-Pf-Prioritylevel-Uid: 2\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 GMT\r\n"
)
_ANSWER = b"HTTP/1.1 201 Created\r\n%sContent-Length: %d\r\n\r\n%s" % (_HEAD, len(_BODY), _BODY)
_STREAM = b"HTTP/1.1 200 OK\r\n%sTransfer-Encoding: chunked\r\n\r\n" % _HEAD
_CHUNK = b"%x\r\n%s\r\n" % (len(_EVENT), _EVENT)

Measured = Callable[[str, bytes], Awaitable[float]]


def measure() -> Iterator[Line]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = _certificate(Path(directory))
        ours, theirs = context.Pipe()
        server = context.Process(target=_serve, args=(theirs, certificate, key), daemon=True)
        server.start()
        try:
            base = f"https://127.0.0.1:{ours.recv()}"
            run = functools.partial(_least, base, certificate)
            for what, unit, plain, own, budget in (
                ("create", CREATES, _creates_by_aiohttp, _creates_by_us, 0.55),
                ("watch event in a burst", EVENTS, _events_by_aiohttp, _events_by_us, 0.75),
            ):
                theirs_took, ours_took = run(plain, own)
                yield Line(name=f"aiohttp and orjson, CPU of a {what}", value=theirs_took / unit * 1e6, unit="us")
                yield Line(name=f"ours, CPU of a {what}", value=ours_took / unit * 1e6, unit="us")
                yield Line(
                    name=f"ours relative to it, a {what}", value=ours_took / theirs_took, unit="x", budget=budget
                )
        finally:
            server.terminate()
            server.join()


def _least(base: str, certificate: str, *measured: Measured) -> Iterator[float]:
    """Seconds of CPU of the best of a few repetitions, in turns: other load of the machine only ever adds, to all."""

    async def once(measure: Measured) -> float:
        return await measure(base, Path(certificate).read_bytes())

    took: list[list[float]] = [[] for _ in measured]
    for _ in range(REPETITIONS):
        for times, measure in zip(took, measured, strict=True):
            gc.collect()
            times.append(uvloop.run(once(measure)))
    return map(min, took)


async def _busy(work: Callable[[], Awaitable[object]], times: int) -> float:
    """Seconds of CPU for `times` calls, CONCURRENCY under way."""
    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))  # connections are made
    left = iter(range(times))

    async def worker() -> None:
        for _ in left:
            await work()

    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())
    return time.process_time() - began


async def _creates_by_aiohttp(base: str, ca: bytes) -> float:
    headers = {"accept": "application/json", "content-type": "application/json", "authorization": "Bearer token"}
    url = f"{base}/api/v1/namespaces/a/pods"
    async with _session(ca) as session:

        async def create() -> None:
            async with session.post(url, data=orjson.dumps(_POD), headers=headers) as answer:
                orjson.loads(await answer.read())

        return await _busy(create, CREATES)


async def _creates_by_us(base: str, ca: bytes) -> float:
    async with connect(Connection(server=base, ca=ca, token="token")) as client:
        return await _busy(lambda: client.create(PODS, _POD, "a"), CREATES)


async def _events_by_aiohttp(base: str, ca: bytes) -> float:
    async with _session(ca) as session:
        began = time.process_time()
        async with session.get(f"{base}/api/v1/namespaces/a/pods", params={"watch": "true"}) as answer:
            seen = 0
            async for line in answer.content:
                orjson.loads(line)
                seen += 1
        assert seen == EVENTS
        return time.process_time() - began


async def _events_by_us(base: str, ca: bytes) -> float:
    async with connect(Connection(server=base, ca=ca, token="token")) as client:
        began, seen = time.process_time(), 0
        async for _ in client.watch(PODS, "a", resource_version="1"):
            seen += 1
        assert seen == EVENTS
        return time.process_time() - began


@asynccontextmanager
async def _session(ca: bytes) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=CONCURRENCY, ssl=ssl.create_default_context(cadata=ca.decode()))
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**20) as session:
        yield session


class _Answering(asyncio.Protocol):
    """Answers each create at once, and each watch with its burst."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._room = asyncio.Event()
        self._room.set()
        self._writing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, _: Exception | None) -> None:
        if self._writing is not None:
            self._writing.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = bytes(self._received).partition(b"\r\n\r\n")
        if not separator:
            return
        if head.startswith(b"GET"):
            self._received.clear()
            self._writing = asyncio.get_running_loop().create_task(self._burst())
        elif len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            self._received.clear()
            self._transport.write(_ANSWER)

    async def _burst(self) -> None:
        self._transport.write(_STREAM)
        for _ in range(EVENTS // 10):
            await self._room.wait()
            self._transport.write(_CHUNK * 10)
        self._transport.write(b"0\r\n\r\n")


def _serve(pipe: Any, certificate: str, key: str) -> None:
    async def serve() -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate, key)
        server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0, ssl=tls)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


def _certificate(directory: Path) -> tuple[str, str]:
    """A self-signed one for loopback, made with the openssl command."""
    certificate, key = str(directory / "tls.crt"), str(directory / "tls.key")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=loadtest"
    arguments = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *arguments], check=True, capture_output=True)
    return certificate, key
