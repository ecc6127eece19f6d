"""An API server of one kind, config maps of namespace `ns`, as a transport: pages, watches, and every fault."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import orjson

from propeller.clock import LoopClock
from propeller.errors import Unavailable
from propeller.informers import Informer, InformerOptions
from propeller.kube import CONFIG_MAPS, Client, ClientOptions, Raw, Request, Response, Stream

SETTINGS = InformerOptions(watch_timeout=300.0, progress_deadline=90.0, backoff=1.0, backoff_cap=30.0)
STREAMING = msgspec.structs.replace(SETTINGS, stream_lists=True)


class _Watch:
    """One open watch: a queue of chunks; None ends it, an exception cuts it."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.frozen = False
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def put(self, chunk: bytes | Exception | None) -> None:
        if not self.frozen:
            self._chunks.put_nowait(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


class FakeApi:
    """Objects are written by the test at once; what is asked and how often is on record."""

    def __init__(self, *, streams: bool = False) -> None:
        self.streams = streams
        """Whether lists are to be had as a stream, and are asked for so."""
        self.unfinished = 0
        """Of the next streamed lists, how many never come to their end."""
        self.version = 100
        self.objects: dict[str, Raw] = {}
        self.faults: list[Response | Exception] = []
        """What the next requests get in the place of an answer: of a watch the status must be an error's."""
        self.lists = 0
        """Requests for a page, or a list as a stream, that were answered."""
        self.probes = 0
        """Requests for one object, which only ask for the server's version."""
        self.watches: list[int] = []
        """The versions that watches began from."""
        self.at: list[float] = []
        """When each request came, loop time."""
        self._history: list[tuple[int, bytes]] = []
        self._oldest = 0
        self._snapshots: dict[str, list[Raw]] = {}
        self._open: set[_Watch] = set()
        self._uids = itertools.count(1)

    # -- what a test does

    def write(self, name: str, **fields: Any) -> Raw:
        """Create or change an object."""
        old = self.objects.get(name)
        self.version += 1
        uid = old["metadata"]["uid"] if old is not None else f"uid-{next(self._uids)}"
        metadata = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(self.version)}
        self.objects[name] = {"metadata": metadata, **fields}
        self._tell("ADDED" if old is None else "MODIFIED", self.objects[name])
        return self.objects[name]

    def delete(self, name: str) -> None:
        self.version += 1
        gone = self.objects.pop(name)
        metadata = gone["metadata"] | {"resourceVersion": str(self.version)}
        self._tell("DELETED", gone | {"metadata": metadata})

    def bookmark(self) -> None:
        self._tell("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def send_line(self, line: bytes) -> None:
        """Anything, on every open watch."""
        for watch in self._open:
            watch.put(line)

    def cut(self) -> None:
        """End every watch as a broken connection does."""
        for watch in self._open:
            watch.put(Unavailable("the stream was cut"))

    def end(self) -> None:
        """End every watch as the server does when its time is over."""
        for watch in self._open:
            watch.put(None)

    def freeze(self) -> None:
        """Nothing comes on the watches that are open, and they stay open."""
        for watch in self._open:
            watch.frozen = True

    def forget(self) -> None:
        """Compact: watches from before now, and tokens of lists, are too old."""
        self._oldest = self.version
        self._history.clear()
        self._snapshots.clear()

    def restore(self, version: int) -> None:
        """Versions go back, as after a restored backup; watch history is forgotten."""
        self.version = version
        self.forget()

    @property
    def open_watches(self) -> int:
        return len(self._open)

    def versions(self) -> dict[str, int]:
        """The objects of a fresh list."""
        return {f"ns/{name}": int(obj["metadata"]["resourceVersion"]) for name, obj in self.objects.items()}

    # -- Transport

    async def send(self, request: Request, *, deadline: float) -> Response:
        await asyncio.sleep(0.001)
        self.at.append(asyncio.get_running_loop().time())
        if self.faults:
            return _raised(self.faults.pop(0))
        if request.query.get("limit") == "1":
            self.probes += 1
        else:
            self.lists += 1
        if token := request.query.get("continue"):
            if token not in self._snapshots:
                return _failure(410)
            items, version = self._snapshots.pop(token), token.partition("/")[0]
        else:
            items, version = list(self.objects.values()), str(self.version)
        limit = int(request.query.get("limit") or len(items))
        page, rest = items[:limit], items[limit:]
        token = f"{version}/{len(rest)}" if rest else ""
        if rest:
            self._snapshots[token] = rest
        return Response(
            status=200,
            body=orjson.dumps({"metadata": {"resourceVersion": version, "continue": token}, "items": page}),
        )

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._watch(request)

    @asynccontextmanager
    async def _watch(self, request: Request) -> AsyncIterator[Stream]:
        await asyncio.sleep(0.001)
        self.at.append(asyncio.get_running_loop().time())
        watch = _Watch()
        initial = "sendInitialEvents" in request.query
        start = self.version if initial else int(request.query["resourceVersion"])
        if self.faults:
            refusal = _raised(self.faults.pop(0))
        elif initial and not self.streams:
            refusal = _failure(422)
        elif start < self._oldest:
            refusal = _failure(410)
        else:
            refusal = None
        if refusal is not None:
            watch.status = refusal.status
            watch.put(refusal.body)
            watch.put(None)
            yield watch
            return
        if initial:
            self._list_into(watch)
        else:
            self.watches.append(start)
        for version, line in self._history:
            if version > start:
                watch.put(line)
        self._open.add(watch)
        try:
            yield watch
        finally:
            self._open.discard(watch)

    def _list_into(self, watch: _Watch) -> None:
        self.lists += 1
        for obj in self.objects.values():
            watch.put(line_of("ADDED", obj))
        if self.unfinished:
            self.unfinished -= 1
        else:
            self.watches.append(self.version)
            watch.put(end_of_list(self.version))

    async def close(self) -> None:
        """Nothing is open but watches, which end with their readers."""

    def _tell(self, type_: str, obj: Raw) -> None:
        line = line_of(type_, obj)
        if type_ != "BOOKMARK":
            self._history.append((self.version, line))
        self.send_line(line)


def line_of(type_: str, obj: Raw) -> bytes:
    return orjson.dumps({"type": type_, "object": obj}) + b"\n"


def end_of_list(version: int) -> bytes:
    annotations = {"k8s.io/initial-events-end": "true"}
    return line_of("BOOKMARK", {"metadata": {"resourceVersion": str(version), "annotations": annotations}})


def informer_of(api: FakeApi, **options: Any) -> Informer[Raw]:
    client = Client(api, ClientOptions(page_size=options.pop("page_size", 3)), clock=LoopClock())
    settings = options.pop("settings", STREAMING if api.streams else SETTINGS)
    return Informer(client, CONFIG_MAPS, namespace="ns", settings=settings, **options)


def _raised(fault: Response | Exception) -> Response:
    if isinstance(fault, Exception):
        raise fault
    return fault


def _failure(code: int) -> Response:
    return Response(status=code, body=orjson.dumps({"code": code, "message": "too old", "reason": "Expired"}))


GONE = _failure(410)
"""An answer that says that a version is too old."""
