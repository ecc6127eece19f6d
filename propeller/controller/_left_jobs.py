"""Jobs of remote services that are left when their execution has ended: recorded, and deleted before it is let go.

Guarantees
    A workflow that has had jobs keeps its finalizer until those that its status names are deleted, by whichever process
    holds it then, or `connectors.delete_limit` seconds are over.
    A job that no snapshot has is written into the status of its workflow, beside what checkpoints write: neither
    conflicts with the other.
"""

from __future__ import annotations

import logging
from typing import Any

from propeller.controller._checkpointer import Checkpointer
from propeller.controller._duty import Shared
from propeller.controller._finalizers import JOBS_FINALIZER
from propeller.controller._remote_jobs import JobFinalizers
from propeller.controller._resource import FlyteWorkflow
from propeller.errors import CorruptBlob, MissingBlob, NotFound, NotUnderstood, PropellerError, Unavailable
from propeller.handlers import RemoteJobs
from propeller.status import decode_status, left_job, left_jobs_of, no_left_job
from propeller.workflow import Job

_log = logging.getLogger(__name__)


class LeftJobRecords:
    """Implements `DeleteRecords` by the status of the workflow."""

    def __init__(self, checkpointer: Checkpointer, finalizers: JobFinalizers) -> None:
        self._checkpointer = checkpointer
        self._finalizers = finalizers

    async def keep(self, uid: str, job: Job) -> None:
        """Raises NotFound if the workflow is gone, and what the client raises."""
        await self._merge(uid, left_job(job))

    async def drop(self, uid: str, job: Job) -> None:
        """Raises as `keep`."""
        await self._merge(uid, no_left_job(job))

    async def _merge(self, uid: str, status: dict[str, Any]) -> None:
        if (held := self._finalizers.of(uid)) is None:
            raise NotFound(f"the workflow of uid {uid} is not known any more", status=404)
        await self._checkpointer.merge(held.name, held.namespace, uid, status)


class LeftJobs:
    """Deletes what an ended execution has left of jobs, before its workflow is let go."""

    def __init__(self, shared: Shared, jobs: RemoteJobs) -> None:
        self._jobs = jobs
        self._storage = shared.storage
        self._clock = shared.clock
        self._limit = shared.settings.connectors.delete_limit

    async def delete(self, workflow: FlyteWorkflow) -> None:
        """Delete the jobs that the status of an ended workflow names, and wait for the deletion of those that only this
        process knows. Raises what they raise, Unavailable while it waits, for `connectors.delete_limit` seconds after
        its end; later, errors are logged.
        """
        if JOBS_FINALIZER not in workflow.metadata.finalizers:
            return
        try:
            for job in (*await self._of_snapshot(workflow), *self._left(workflow)):
                await self._jobs.delete(workflow.metadata.uid, job)
            if self._jobs.are_left(workflow.metadata.uid):
                raise Unavailable("jobs whose attempts were given up while they began are not deleted yet")
        except PropellerError as error:
            if self._clock.now() < workflow.stopped_at + self._limit:
                raise
            _log.error("%s: jobs that it has left may go on: %s", workflow.key, error)

    async def _of_snapshot(self, workflow: FlyteWorkflow) -> list[Job]:
        directory = str(workflow.status.get("dataDir") or "")
        try:
            snapshot = await decode_status(workflow.status, self._storage, directory)
        except (CorruptBlob, MissingBlob, NotUnderstood) as error:
            _log.error("%s: its status does not say which jobs it has left: %s", workflow.key, error)
            return []
        return [] if snapshot is None else snapshot.jobs

    def _left(self, workflow: FlyteWorkflow) -> list[Job]:
        try:
            return left_jobs_of(workflow.status)
        except CorruptBlob as error:
            _log.error("%s: its status does not say which jobs it has left: %s", workflow.key, error)
            return []
