"""Write Kubernetes Events on pods and the node, as the scheduler and the kubelet do, after the pods' own requests.

Guarantees
    `record` never blocks and never raises: events are queued, at most `MAX_WAITING`, and one task sends them in turn.
    The same message of the same component on the same container is one Event with a count (client-go's EventLogger).
    `ObjectLimits` bounds the requests of one component about one object.
Caveats
    Best effort: events are dropped if they exceed the limits, are still queued when the kubelet stops, or are refused
    by the API server (a terminating namespace accepts no new objects).
Source: k8s.io/client-go/tools/record; reasons and messages of k8s.io/kubernetes/pkg/kubelet and pkg/scheduler 1.37.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple, Protocol

import msgspec

from propeller.clock import Clock, rfc3339
from propeller.embedded.kubelet._api import EventsApi
from propeller.errors import NotFound, PropellerError
from propeller.kube._objects import Raw
from propeller.recording import MESSAGE_CHARACTERS, ObjectLimits, Recent, event_name
from propeller.text import bounded, one_line

KUBELET, SCHEDULER = "kubelet", "default-scheduler"

DELAY = 0.25
"""Seconds that events wait, so that a pod's own requests go first: no user types `kubectl describe` faster."""

MAX_WAITING = 1_000

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Records events."""

    def record(
        self, about: Raw, type_: str, reason: str, message: str, *, component: str = KUBELET, action: str = ""
    ) -> None:
        """Note that this happened to the object `about` (an ObjectReference)."""


class NoEvents:
    """Records nothing: for a cluster that users cannot inspect."""

    def record(
        self, about: Raw, type_: str, reason: str, message: str, *, component: str = KUBELET, action: str = ""
    ) -> None:
        return


class _Key(NamedTuple):
    """The fields that identify an event for aggregation."""

    component: str
    uid: str
    field_path: str
    type: str
    reason: str
    message: str


class _News(msgspec.Struct):
    """An event that waits to be sent. Times are epoch seconds."""

    about: Raw
    action: str
    first: float
    last: float
    count: int = 1


class _Sent(msgspec.Struct):
    """An event that the server has."""

    name: str
    count: int


class Events:
    """The recorder of one node; `run` sends the recorded events."""

    def __init__(self, api: EventsApi, *, clock: Clock, node_name: str) -> None:
        self._api = api
        self._clock = clock
        self._node_name = node_name
        self._waiting: dict[_Key, _News] = {}
        self._sent: Recent[_Key, _Sent] = Recent()
        self._limits: ObjectLimits[tuple[str, str]] = ObjectLimits()
        self._some = asyncio.Event()
        self._number = 0

    def record(
        self, about: Raw, type_: str, reason: str, message: str, *, component: str = KUBELET, action: str = ""
    ) -> None:
        """As `Recorder.record`; `action` is for components that use the newer Events API."""
        text = one_line(bounded(one_line(message), MESSAGE_CHARACTERS))
        key = _Key(component, about["uid"], about.get("fieldPath", ""), type_, reason, text)
        now = self._clock.now()
        if (waiting := self._waiting.get(key)) is not None:
            waiting.count += 1
            waiting.last = now
        elif len(self._waiting) < MAX_WAITING:
            self._waiting[key] = _News(about, action, now, now)
            self._some.set()

    async def run(self) -> None:
        """Send recorded events, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(DELAY)
            self._some.clear()
            for key in list(self._waiting):
                news = self._waiting.pop(key)
                if self._limits.spend((key.component, key.uid), self._clock.monotonic()):
                    await self._send(key, news)
                    await asyncio.sleep(0)  # pods go first: a server in this process answers without a pause

    async def _send(self, key: _Key, news: _News) -> None:
        namespace = news.about.get("namespace") or "default"
        try:
            sent = self._sent.get(key)
            if sent is None or not await self._raise_count(key, news, sent, namespace):
                sent = _Sent(self._name(news.about["name"]), news.count)
                await self._api.create_event(namespace, self._body(key, news, sent.name, namespace))
                self._sent.put(key, sent)
        except PropellerError as error:
            self._sent.forget(key)
            _log.debug("event %s on %s/%s is not sent: %s", key.reason, namespace, news.about["name"], error)

    async def _raise_count(self, key: _Key, news: _News, sent: _Sent, namespace: str) -> bool:
        """Whether the event is still there: it has its count raised then. Events are deleted after an hour."""
        count = sent.count + news.count
        change: Raw = {"count": count, "lastTimestamp": rfc3339(news.last)}
        if key.component == SCHEDULER:
            change = {"series": {"count": count, "lastObservedTime": rfc3339(news.last, microseconds=True)}}
        try:
            await self._api.patch_event(namespace, sent.name, change)
        except NotFound:
            return False
        sent.count = count
        return True

    def _name(self, about: str) -> str:
        self._number += 1
        return event_name(about, self._number, self._clock.now())

    def _body(self, key: _Key, news: _News, name: str, namespace: str) -> Raw:
        event: Raw = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": news.about,
            "reason": key.reason,
            "message": key.message,
            "type": key.type,
            "reportingComponent": key.component,
        }
        if key.component == SCHEDULER:  # events.k8s.io/v1, as core/v1 shows it
            at = rfc3339(news.first, microseconds=True)
            instance = f"{SCHEDULER}-{self._node_name}"
            event |= {"eventTime": at, "action": news.action, "reportingInstance": instance, "source": {}}
            if news.count > 1:
                last = rfc3339(news.last, microseconds=True)
                event["series"] = {"count": news.count, "lastObservedTime": last}
            return event
        return event | {
            "source": {"component": key.component, "host": self._node_name},
            "reportingInstance": self._node_name,
            "firstTimestamp": rfc3339(news.first),
            "lastTimestamp": rfc3339(news.last),
            "count": news.count,
        }


def pod_reference(pod: Raw, container: str = "", *, init: bool = False) -> Raw:
    """The pod, or one of its containers, as an event's involvedObject."""
    metadata = pod["metadata"]
    about = {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": "v1",
    }
    if version := metadata.get("resourceVersion"):
        about["resourceVersion"] = version
    if container:
        about["fieldPath"] = f"spec.{'initContainers' if init else 'containers'}{{{container}}}"
    return about


def node_reference(name: str) -> Raw:
    """A node as kubelets refer to it: its name is its uid, too."""
    return {"kind": "Node", "name": name, "uid": name}
