"""Send events: a bounded queue in lanes, each emptied by a task of its own. A run has one lane.

Guarantees
    `submit` neither waits nor raises. An event that finds the queue full is dropped, and counted.
    While the receiver is down or slow, events wait, and are tried again: one may arrive twice, never out of thin air. A
    receiver that refuses an event (4xx) does not get it again.
    Events of one run arrive in the order in which they happened. Over HTTP each is a request of its own, as in
    OpenLineage's API; `at_once` are under way, on connections that stay open.
    Inputs and outputs are read here, outside of reconciles; what cannot be read is left out of its event.
Caveats
    Events that wait when the process is killed are lost, and those of a reconcile that is repeated after a crash are
    sent again, with the same run.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zlib import crc32

from flyteidl.core import literals_pb2

from propeller.beside import beside
from propeller.clock import Clock
from propeller.errors import Invalid, PropellerError, Unavailable
from propeller.lineage._datasets import Dataset, datasets_of
from propeller.lineage._events import Report, encode_event
from propeller.lineage._options import TOKEN, LineageOptions
from propeller.pauses import Pauses
from propeller.redaction import shown_url
from propeller.storage import Storage, in_thread_if_large
from propeller.telemetry import Causes, LineageMetrics
from propeller.wire import Literals

_log = logging.getLogger(__name__)

MAX_PAUSE = 30.0
"""Seconds between two tries."""

_TRY_AGAIN = frozenset({408, 425, 429})


class Emitter:
    """See the module's text."""

    def __init__(self, options: LineageOptions, storage: Storage, clock: Clock, metrics: LineageMetrics) -> None:
        self._options = options
        self._storage = storage
        self._clock = clock
        self._metrics = metrics
        self._causes = Causes(_log)
        self._to_file = options.url.startswith("file://")
        self._lanes: list[asyncio.Queue[Report]] = [
            asyncio.Queue() for _ in range(1 if self._to_file else options.at_once)
        ]
        self._waiting = 0
        """In all lanes, with those that are being sent."""
        self._version = version("propeller")
        self._session: Any = None
        metrics.watch(lambda: [((), float(self._waiting))])

    def submit(self, report: Report) -> None:
        """Have an event sent."""
        if self._waiting >= self._options.queue:
            self._metrics.events.counts["dropped",] += 1
            return
        self._waiting += 1
        self._lanes[crc32(report.job.run.encode()) % len(self._lanes)].put_nowait(report)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send events until the block is left, and then what waits still, for at most `timeout` seconds."""
        try:
            async with beside(self._send_all(), "lineage"):
                try:
                    yield
                finally:
                    await self._drain()
        finally:
            if self._session is not None:
                await self._session.close()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout):
                for lane in self._lanes:
                    await lane.join()
        except TimeoutError:
            left = self._waiting
            _log.warning("%d events of lineage are not sent: the process ends", left)
            self._metrics.events.counts["dropped",] += left

    async def _send_all(self) -> None:
        async with asyncio.TaskGroup() as lanes:
            for number, lane in enumerate(self._lanes):
                lanes.create_task(self._empty(lane), name=f"lineage {number}")

    async def _empty(self, lane: asyncio.Queue[Report]) -> None:
        most = self._options.at_once if self._to_file else 1
        pauses = Pauses(0.5, MAX_PAUSE)
        while True:
            reports = [await lane.get()]
            while len(reports) < most and not lane.empty():
                reports.append(lane.get_nowait())
            encoded = await asyncio.gather(*map(self._encode, reports), return_exceptions=True)
            await self._deliver([event for event in encoded if isinstance(event, bytes)], pauses)
            for error in encoded:
                if isinstance(error, Exception):  # one event that cannot be written must not keep back all others
                    self._metrics.events.counts["dropped",] += 1
                    self._causes.report(error, "an event of lineage cannot be made, and is dropped")
            self._waiting -= len(reports)
            for _ in reports:
                lane.task_done()

    async def _encode(self, report: Report) -> bytes:
        inputs, outputs = await asyncio.gather(self._datasets(report.inputs), self._datasets(report.outputs))
        return encode_event(report, inputs, outputs, self._version)

    async def _datasets(self, given: str | Literals | literals_pb2.LiteralMap) -> list[Dataset]:
        """The datasets in literals, or in a blob of them; none if it cannot be read."""
        try:
            async with asyncio.timeout(self._options.timeout):
                literals = await self._literals(given)
                size = sum(one.size for one in literals.raw.values())
                return await in_thread_if_large(size, datasets_of, literals, self._storage.settings.max_messages)
        except (PropellerError, TimeoutError) as error:
            self._causes.report(error, "an event of lineage lacks its datasets")
            return []

    async def _literals(self, given: str | Literals | literals_pb2.LiteralMap) -> Literals:
        if isinstance(given, Literals):
            return given
        if isinstance(given, literals_pb2.LiteralMap):
            return Literals(given.SerializeToString())
        data = await self._storage.find(given) if given else None
        return Literals(data or b"")

    async def _deliver(self, events: list[bytes], pauses: Pauses) -> None:
        """Send until each has arrived or is refused."""
        while events:
            if self._to_file:
                events = await self._write(events)
            elif await self._post(events[0]):
                events = events[1:]
            if events:
                await asyncio.sleep(pauses.failed(self._clock.monotonic()))

    async def _write(self, events: list[bytes]) -> list[bytes]:
        """Add lines to the file; returns those that are to be tried again."""
        path = Path(unquote(urlsplit(self._options.url).path))
        try:
            await asyncio.to_thread(_append, path, b"".join(event + b"\n" for event in events))
        except OSError as error:
            self._failed(Unavailable(f"{path} cannot be written: {error.strerror}"))
            return events
        self._metrics.events.counts["sent",] += len(events)
        return []

    async def _post(self, event: bytes) -> bool:
        """Send an event; returns false if it is to be tried again."""
        import aiohttp

        place = shown_url(self._options.url)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._options.timeout)
            connector = aiohttp.TCPConnector(limit=self._options.at_once)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        try:
            headers = {"Content-Type": "application/json"} | self._authorization()
            async with self._session.post(
                self._options.url, data=event, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except PropellerError as error:
            self._failed(error)
            return False
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:  # the last: a host that is no name
            self._failed(Unavailable(f"{place} is not reached: {str(error) or type(error).__name__}"))
            return False
        if 200 <= status < 300:
            self._metrics.events.counts["sent",] += 1
            return True
        if status >= 500 or status in _TRY_AGAIN:
            self._failed(Unavailable(f"{place} answers {status}"))
            return False
        self._metrics.events.counts["refused",] += 1
        self._causes.report(Invalid(f"{place} answers {status}"), "an event of lineage is refused, and dropped")
        return True

    def _authorization(self) -> dict[str, str]:
        token, place = os.environ.get(TOKEN, ""), TOKEN
        if file := self._options.token_file:
            try:
                token, place = Path(file).read_text(), f"lineage.token_file {file!r}"
            except (OSError, UnicodeDecodeError) as error:
                raise Unavailable(f"lineage.token_file {file!r} cannot be read: {error}") from error
        token = token.strip()
        if not token.isprintable():
            raise Unavailable(f"the token in {place} has more than one line, or another control character")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _failed(self, error: PropellerError) -> None:
        self._metrics.events.counts["failed",] += 1
        self._causes.report(error, "events of lineage wait")


def _append(path: Path, lines: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(lines)
