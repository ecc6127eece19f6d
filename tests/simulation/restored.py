"""In some worlds the API server's storage is lost, and restored from a copy of some time before.

The truth goes back with it. What the copy does not have was never there: a workflow is as good as deleted, and an
attempt whose pod is forgotten may be run once more, with the same end. What the world has outside the server stays as
it is: blobs, and what the kubelet knows of pods that are still there.

Not where a dynamic task is under way: what it makes is named after its attempt, and a restore may lead to another one
than was foretold.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from typing import ClassVar

from propeller.embedded.server import ApiServer
from propeller.kube import Raw
from tests.simulation.event_log import EventLog
from tests.simulation.oracle import Oracle, PodRecord, Workflow
from tests.simulation.planted import NEWER
from tests.simulation.retyped import is_ending, stored_workflows


class Restored:
    """Such a loss, in one of six worlds. `server` is everybody's."""

    late: ClassVar[bool] = False
    """Whether the copy is of when a status has named a snapshot in the object store, which a newer one has replaced
    when the copy is restored.
    """

    def __init__(self, seed: int, server: ApiServer, oracle: Oracle, event_log: EventLog) -> None:
        self._rng = random.Random(f"restored {seed}")
        self.used = self._rng.random() < 1 / 6
        self._server = server
        self._oracle = oracle
        self._event_log = event_log
        self.then: Callable[[], None] = lambda: None
        """Called once the server has the older copy."""

    async def trouble(self) -> None:
        await asyncio.sleep(self._rng.choice((1.0, 10.0, 60.0)) * self._rng.random())
        if self.late:
            await self._wait_until(lambda: any(self._named().values()))
        while self._newer_version_is_at_work():
            await asyncio.sleep(0.5)
        if any("-dn" in node for workflow in self._oracle.workflows.values() for node in workflow.prediction.tasks):
            return
        backup = self._server.back_up()
        copied = {uid: _Copy.of(workflow) for uid, workflow in self._oracle.workflows.items()}
        self._event_log.record(f"the API server is backed up at version {backup.version}")
        await asyncio.sleep(self._rng.choice((2.0, 20.0, 200.0)) * self._rng.random())
        if self.late:
            named = {uid: uri for uid, uri in self._named().items() if uri}
            await self._wait_until(lambda: any(self._named(named)[uid] != uri for uid, uri in named.items()))
        bump = self._rng.choice((0, 0, 1_000_000))
        self._server.restore(backup, bump=bump)
        self._event_log.record(f"the API server is restored from that copy, version {self._server.resource_version}")
        self._go_back(copied)
        self.then()
        await asyncio.sleep(self._rng.choice((5.0, 60.0)))
        self._event_log.record("the restored API server is up")
        self._server.start()

    async def _wait_until(self, comes: Callable[[], bool]) -> None:
        """No longer than something comes in a world."""
        for _ in range(600):
            if comes():
                return
            await asyncio.sleep(0.5)

    def _named(self, known: Iterable[str] | None = None) -> dict[str, str]:
        """The snapshots in the object store that statuses of workflows name, by uid: of these, or of those that have
        not ended.
        """
        standing = [uid for uid, one in self._oracle.workflows.items() if not (one.ended or one.deleted)]
        statuses = {uid: self._oracle.workflows[uid].status for uid in known or standing}
        return {uid: (status.get("nodesReference") or {}).get("uri", "") for uid, status in statuses.items()}

    def _newer_version_is_at_work(self) -> bool:
        """A newer version of the controller would not give back what it does not know to have taken over."""
        standing = (found for found in self._oracle.workflows.values() if not (found.deleted or found.collected))
        return any(workflow.status.get("nodes") == NEWER for workflow in standing)

    def _go_back(self, copied: dict[str, _Copy]) -> None:
        self._oracle.restores += 1
        stored, ending = stored_workflows(self._server), is_ending(self._server)
        for uid, workflow in self._oracle.workflows.items():
            if (found := stored.get(uid)) is None:
                self._event_log.record(f"{workflow.name} ({uid}) is not there")
                workflow.deleted = True
                then = _Copy({}, set(), 0, {})
            else:
                was_deleted = workflow.deleted
                workflow.deleted = ending or "deletionTimestamp" in found["metadata"]
                workflow.undeleted |= was_deleted and not workflow.deleted
                workflow.collected = False
                then = copied.get(uid) or _Copy({}, set(), 0, {})  # or it was being created when the copy was taken
            then.put_back(workflow)


@dataclass
class _Copy:
    """What the truth knew of a workflow, and of its pods by uid."""

    status: Raw
    done: set[str]
    succeeded: int
    pods: dict[str, PodRecord]

    @classmethod
    def of(cls, workflow: Workflow) -> _Copy:
        pods = {pod.uid: replace(pod) for pod in workflow.pods}
        return cls(copy(workflow.status), set(workflow.done), workflow.succeeded, pods)

    def put_back(self, workflow: Workflow) -> None:
        workflow.restored = True
        workflow.status, workflow.done, workflow.succeeded = self.status, self.done, self.succeeded
        for pod in workflow.pods:
            if (then := self.pods.get(pod.uid)) is None:
                pod.live, pod.stopped = False, True
                workflow.forgotten.append(pod)
            else:
                vars(pod).update(vars(then))
        workflow.pods = [pod for pod in workflow.pods if pod.uid in self.pods]
