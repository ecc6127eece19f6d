"""Kubernetes Events on FlyteWorkflows, for `kubectl describe`: few, late and droppable, as of client-go's recorder.

Guarantees
    Recording never blocks and never raises: events wait, at most `MAX_WAITING`, and one task sends them in turn.
    What happens to one execution for one reason is one Event: what comes while it waits is merged, what comes later
    raises its count. Of an execution that ends within `NORMAL_SECONDS` only the end is told.
    Requests are limited: `events.burst` at once and one each `events.pause` seconds, or one for every ten executions
    that have ended, whichever is more. Warnings go first; the last half of the burst is theirs. Of one execution there
    are at most as many as `ObjectLimits` allows.
    Messages are in one line, bounded, without credentials, and visible.
Caveats
    What the limits leave no room for is dropped, and counted. The status and the log have it. So is what waits when
    the process ends.
Errors
    None: a request that fails is counted, and logged once per cause; without the right to create events, nothing is
    sent for `DENIED_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from propeller.clock import SYSTEM_CLOCK, Clock, rfc3339
from propeller.config import EventOptions
from propeller.controller._resource import WORKFLOWS
from propeller.errors import Denied, NotFound
from propeller.kube import EVENTS, Client
from propeller.recording import MESSAGE_CHARACTERS, NORMAL, WARNING, ObjectLimits, Recent, event_name
from propeller.redaction import redact
from propeller.telemetry import Causes
from propeller.text import bounded, one_line

NORMAL_SECONDS = 10.0
"""Seconds that a Normal event waits for the execution's end, which makes it superfluous. Most executions of one pod
take less, and have one event.
"""

MAX_WAITING = 1_000

EXECUTIONS_PER_EVENT = 10
MAX_EARNED = 50.0
"""Requests. A day of successes must not pay for a storm."""

DENIED_SECONDS = 300.0

_CONTROLLER = "propeller"

_log = logging.getLogger(__name__)


class Subject(NamedTuple):
    """The object that an event is about: an execution, or what else is named. `namespace` is "" if it has none."""

    namespace: str
    name: str
    uid: str
    api_version: str = WORKFLOWS.api_version
    kind: str = WORKFLOWS.kind

    @property
    def event_namespace(self) -> str:
        """Of its events: those of an object without a namespace are in `default`, as client-go's."""
        return self.namespace or "default"


class _News(msgspec.Struct):
    """An event that waits. `due` is the time of the monotonic clock when it may be sent."""

    subject: Subject
    type: str
    reason: str
    message: str
    due: float
    count: int = 1


class _Series(msgspec.Struct):
    """An event that the server has."""

    name: str
    count: int


class Budget:
    """How many requests may be made: see the module's text. `earned` may be in debt, which time pays off."""

    def __init__(self, burst: int, pause: float, now: float) -> None:
        self._burst = burst
        self._pause = pause
        self._at = now
        self._tokens = float(burst)
        self._earned = 0.0

    def earn(self) -> None:
        """An execution has ended."""
        self._earned = min(self._earned + 1 / EXECUTIONS_PER_EVENT, MAX_EARNED)

    def spend(self, type_: str, now: float) -> bool:
        """Take one, if there is one for an event of that type."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._pause)
        self._at = now
        self._earned = max(self._earned, self._tokens - self._burst)
        if type_ == NORMAL:
            allowed = self._tokens >= max(1.0, self._burst / 2)
        else:
            allowed = self._tokens >= 1 or self._earned >= 1
        if allowed:
            self._tokens = max(0.0, self._tokens - 1)
            self._earned = max(self._earned - 1, self._tokens - self._burst)
        return allowed


class Recorder:
    """Sends events; use as `async with`. `counts` has those that were sent, dropped or failed."""

    def __init__(self, client: Client, settings: EventOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._waiting: dict[tuple[str, str], _News] = {}
        self._series: Recent[tuple[str, str], _Series] = Recent()
        self._objects: ObjectLimits[str] = ObjectLimits()
        self._budget: Budget | None = None
        self._some = asyncio.Event()
        self._causes = Causes(_log)
        self._silent_until = 0.0
        self._number = 0
        self._task: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter(sent=0, dropped=0, failed=0)

    def record(self, subject: Subject, type_: str, reason: str, message: str) -> None:
        """Note an event; a Normal one waits for what follows."""
        key = (subject.uid, reason)
        if (waiting := self._waiting.get(key)) is not None:
            waiting.message = message
            waiting.count += 1
            return
        if len(self._waiting) >= MAX_WAITING and (type_ == NORMAL or not self._make_room()):
            self.counts["dropped"] += 1
            return
        delay = NORMAL_SECONDS if type_ == NORMAL else self._settings.delay
        self._waiting[key] = _News(subject, type_, reason, message, self._clock.monotonic() + delay)
        self._some.set()

    def record_end(self, subject: Subject, type_: str, reason: str, message: str) -> None:
        """Note the end of an execution, which says what others that wait would say."""
        self._of_all().earn()
        self._waiting.pop((subject.uid, "Accepted"), None)
        if (node := self._waiting.get((subject.uid, "NodeFailed"))) is not None and node.count == 1:
            del self._waiting[subject.uid, "NodeFailed"]
        self.record(subject, type_, reason, message)
        if (news := self._waiting.get((subject.uid, reason))) is not None:
            news.due = min(news.due, self._clock.monotonic() + self._settings.delay)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="events")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(self._settings.delay)
            await self._send_due()
            if not self._waiting:
                self._some.clear()

    async def _send_due(self) -> None:
        now = self._clock.monotonic()
        due = [key for key, news in self._waiting.items() if news.due <= now]
        for key in sorted(due, key=lambda key: self._waiting[key].type != WARNING):
            if (news := self._waiting.pop(key, None)) is None:
                continue  # the end came meanwhile
            if self._may_send(news):
                await self._send(news)
            else:
                self.counts["dropped"] += 1

    def _may_send(self, news: _News) -> bool:
        now = self._clock.monotonic()
        if now < self._silent_until:
            return False
        return self._of_all().spend(news.type, now) and self._objects.spend(news.subject.uid, now)

    def _of_all(self) -> Budget:
        if self._budget is None:  # made late, as virtual clocks run with their loop only
            self._budget = Budget(self._settings.burst, self._settings.pause, self._clock.monotonic())
        return self._budget

    def _make_room(self) -> bool:
        """Drop a Normal event for a Warning."""
        for key, news in self._waiting.items():
            if news.type == NORMAL:
                del self._waiting[key]
                self.counts["dropped"] += 1
                return True
        return False

    async def _send(self, news: _News) -> None:
        key = (news.subject.uid, news.reason)
        try:
            if (series := self._series.get(key)) is None or not await self._raise_count(news, series):
                series = self._series.put(key, _Series(self._name(news.subject), news.count))
                await self._client.create(EVENTS, self._body(news, series), news.subject.event_namespace)
        except Exception as error:  # noqa: BLE001 - a defect, too: all others are still to be told
            self._series.forget(key)
            self.counts["failed"] += 1
            if isinstance(error, Denied):
                self._silent_until = self._clock.monotonic() + DENIED_SECONDS
            self._causes.report(error, "an event on %s/%s is not sent", news.subject.namespace, news.subject.name)
        else:
            self.counts["sent"] += 1

    async def _raise_count(self, news: _News, series: _Series) -> bool:
        """Whether the earlier event is still there: it has its count and its message raised then."""
        body = {
            "count": series.count + news.count,
            "lastTimestamp": rfc3339(self._clock.now()),
            "message": _message(news),
        }
        try:
            await self._client.patch(EVENTS, series.name, news.subject.event_namespace, body=body)
        except NotFound:
            return False  # events are deleted after an hour
        series.count += news.count
        return True

    def _name(self, subject: Subject) -> str:
        self._number += 1
        return event_name(subject.name, self._number, self._clock.now())

    def _body(self, news: _News, series: _Series) -> dict[str, Any]:
        subject = news.subject
        now = rfc3339(self._clock.now())
        return {
            "metadata": {"name": series.name, "namespace": subject.event_namespace},
            "involvedObject": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                **({"namespace": subject.namespace} if subject.namespace else {}),
                "name": subject.name,
                "uid": subject.uid,
            },
            "type": news.type,
            "reason": news.reason,
            "message": _message(news),
            "count": news.count,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": _CONTROLLER},
            "reportingComponent": _CONTROLLER,
        }


def _message(news: _News) -> str:
    more = f" (the last of {news.count})" if news.count > 1 else ""
    return bounded(one_line(redact(news.message)), MESSAGE_CHARACTERS) + more
