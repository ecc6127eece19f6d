"""Writes the statuses of resources that people declare: at most once an interval each, and only if they have changed.

Guarantees
    A write is a merge patch of the status subresource with the fields that differ, onto the uid that it is of.
    A write that fails is tried again after a pause that grows; it delays no other's.
Errors
    None: a failure is logged once per cause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from propeller.errors import Conflict, NotFound, PropellerError
from propeller.kube import Client, ObjectMeta, Resource
from propeller.pauses import PausesByKey
from propeller.telemetry import Causes

_log = logging.getLogger(__name__)

MAX_PAUSE = 60.0
"""Seconds after which a status that could not be written is tried again at the latest."""


class WithStatus(Protocol):
    """An object whose status is plain JSON."""

    @property
    def metadata(self) -> ObjectMeta: ...

    @property
    def status(self) -> Any: ...


T = TypeVar("T", bound=WithStatus)

Statuses = Callable[[], Iterable[tuple[T, Mapping[str, Any]]] | None]


class StatusWriter(Generic[T]):
    """Of one process and kind. `statuses` returns each object with the status that it should have; None while another
    process writes them.
    """

    def __init__(
        self, client: Client, resource: Resource[T], manager: str, statuses: Statuses[T], interval: float
    ) -> None:
        """`manager` is the field manager; `interval` in seconds."""
        self._client = client
        self._resource = resource
        self._manager = manager
        self._statuses = statuses
        self._interval = interval
        self._some = asyncio.Event()
        self._causes = Causes(_log)
        self._pauses = PausesByKey(interval, MAX_PAUSE)
        self._written: dict[str, Mapping[str, Any]] = {}
        """By uid, what was written last."""

    def wake(self) -> None:
        """There are objects, or others than before."""
        self._some.set()

    async def run(self) -> None:
        """Until cancelled; while there is no object it sleeps."""
        while True:
            await self._some.wait()
            await self._write_all()
            await asyncio.sleep(self._interval)

    async def _write_all(self) -> None:
        now, uids = asyncio.get_running_loop().time(), set()
        statuses = self._statuses()
        if statuses is None:
            self._written.clear()  # the other one writes something else
            return
        for obj, status in statuses:
            uid = obj.metadata.uid
            uids.add(uid)
            before = self._written.get(uid) or (obj.status if isinstance(obj.status, dict) else {})
            changed = _difference(before, status)
            if changed and self._pauses.left(uid, now) <= 0:
                await self._write(obj, status, changed)
        self._pauses.keep(uids)
        self._written = {uid: found for uid, found in self._written.items() if uid in uids}
        if not uids:
            self._some.clear()

    async def _write(self, obj: T, status: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
        uid, name = obj.metadata.uid, obj.metadata.name
        try:
            await self._client.patch(
                self._resource,
                name,
                body={"metadata": {"uid": uid}, "status": changed},
                subresource="status",
                field_manager=self._manager,
            )
        except (Conflict, NotFound):
            self._pauses.failed(uid, asyncio.get_running_loop().time())  # it is gone, as the informer will say
        except PropellerError as error:
            self._pauses.failed(uid, asyncio.get_running_loop().time())
            self._causes.report(error, "the status of %s %s is not written", self._resource.kind, name)
        else:
            self._written[uid] = status


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch from one to the other. Fields that `after` has not are left as they are at the top, and removed
    below it.
    """
    changed: dict[str, Any] = {}
    for field, value in after.items():
        old = before.get(field)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := _difference(old, {**dict.fromkeys(old), **value}):
                changed[field] = inner
        elif old != value:
            changed[field] = value
    return changed
