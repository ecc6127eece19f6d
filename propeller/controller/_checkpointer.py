"""Write an execution's status, only onto the version of the object that it was computed from.

Guarantees
    One write of an execution at a time. After a 409 the object is read: if only other fields changed, the write is
    retried on the new version. If another client wrote the status, the object is in another shard now, or the server
    was restored from a backup, `ExternalModification` says that the execution must be reloaded.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from propeller.clock import Clock, rfc3339
from propeller.config import CheckpointOptions
from propeller.controller._finalizers import JOBS_FINALIZER, kept
from propeller.controller._resource import HEADS, WORKFLOWS, FlyteWorkflow
from propeller.errors import Conflict, NotFound, PropellerError, TooLarge
from propeller.informers import went_back
from propeller.kube import Client, ObjectMeta, PatchKind
from propeller.reconcile.shards import LabelShards
from propeller.status import MESSAGE_CHARACTERS, SHORT_MESSAGE_CHARACTERS, encode_status, error_of
from propeller.storage import Storage
from propeller.workflow import Execution, Failure, WorkflowPhase

_log = logging.getLogger(__name__)

TERMINATED = {"termination-status": "terminated"}
"""FlytePropeller's label of ended workflows; set in the same write if the status is no subresource."""

CONFLICTS_LOOKED_INTO = 5


WRITTEN = WORKFLOWS.metadata_only()
"""Of the answer to a write: the workflow itself may be megabytes."""


class Written(msgspec.Struct, frozen=True):
    """The status that was written, and the object's metadata after that."""

    metadata: ObjectMeta
    status: dict[str, Any]


class ExternalModification(PropellerError):
    """Another client wrote the status, or gave the object to another shard: the execution in memory is outdated.
    `version` is the other write's.
    """

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version


class Deleted(PropellerError):
    """The object was deleted; another may have its name."""


class Checkpointer:
    """Writes statuses. `subresource` says whether the resource type has a status subresource; `prepare` asks the
    server. `shards` is how workflows are divided, None if they are not.
    """

    def __init__(
        self,
        client: Client,
        storage: Storage,
        settings: CheckpointOptions,
        clock: Clock,
        *,
        subresource: bool = False,
        shards: LabelShards | None = None,
    ) -> None:
        self._client = client
        self._storage = storage
        self._settings = settings
        self._clock = clock
        self._shards = shards
        self._subresource = "status" if subresource else ""

    async def prepare(self) -> None:
        """Ask the server whether the resource type has a status subresource. Raises NotFound if there is no type."""
        self._subresource = "status" if await self._client.has_subresource(WORKFLOWS, "status") else ""

    async def write(
        self,
        execution: Execution,
        version: str,
        fingerprint_before: str,
        finalizers: tuple[str, ...] = (),
        generation: int = 0,
    ) -> Written:
        """Write the status onto `version`.

        `fingerprint_before` is that of the status which the controller read or wrote last. `finalizers` are the
        object's if the execution has ended and nothing of it runs: the same request then removes Flyte's own, if it
        can. `generation` is that of `version`, 0 if unknown. If the server rejects the size, the status is offloaded or
        shortened. Raises ExternalModification, Deleted, Unavailable, TooLarge and what storage raises.
        """
        status = await encode_status(execution, self._clock.now(), self._settings.budget, self._storage)
        shortened = False
        for _ in range(CONFLICTS_LOOKED_INTO):
            try:
                written = await self._patch(execution, status, version, finalizers)
                dropped = self._is_dropped(written, version, generation)
                if not dropped or not await self.look_for_subresource():
                    return Written(written, status)
                version, generation = written.resource_version, written.generation
            except NotFound as error:
                if not await self.look_for_subresource():
                    raise Deleted(f"{execution.key} was deleted") from error
            except TooLarge:
                if shortened:
                    raise
                now, shortened = self._clock.now(), True
                status = await encode_status(execution, now, 0, self._storage, SHORT_MESSAGE_CHARACTERS)
            except Conflict:
                current = await self._metadata_now(execution, fingerprint_before)
                if went_back(version, current.resource_version):
                    raise ExternalModification(
                        f"the server has an older {execution.key}", current.resource_version
                    ) from None
                version, generation = current.resource_version, current.generation
                finalizers = current.finalizers if finalizers else ()
        raise ExternalModification(f"{execution.key} is being written by somebody else without a pause", version)

    def _is_dropped(self, written: ObjectMeta, version: str, generation: int) -> bool:
        """Whether the server may have ignored the status of a write. Without a subresource a status change increments
        the generation; a write that changes only labels does not.
        """
        return written.resource_version == version or (not self._subresource and 0 < generation == written.generation)

    async def reject(
        self,
        workflow: FlyteWorkflow,
        failure: Failure,
        version: str,
        phase: WorkflowPhase = WorkflowPhase.FAILED,
    ) -> str:
        """Write the end of a workflow that cannot run, with as much of the reason as the server accepts.

        Returns the new version. Raises Deleted and what the client raises.
        """
        for characters in (MESSAGE_CHARACTERS, SHORT_MESSAGE_CHARACTERS):
            try:
                return await self._reject(workflow, failure, version, phase, characters)
            except TooLarge:
                continue
        return await self._reject(workflow, failure, version, phase, 0)

    async def _reject(
        self, workflow: FlyteWorkflow, failure: Failure, version: str, phase: WorkflowPhase, characters: int
    ) -> str:
        try:
            written = await self._patch_rejected(workflow, failure, version, phase, characters)
            if written != version or not await self.look_for_subresource():
                return written
        except NotFound as error:
            if not await self.look_for_subresource():
                raise Deleted(f"{workflow.key} was deleted") from error
        return await self._patch_rejected(workflow, failure, version, phase, characters)

    async def _patch_rejected(
        self, workflow: FlyteWorkflow, failure: Failure, version: str, phase: WorkflowPhase, characters: int
    ) -> str:
        now = rfc3339(self._clock.now())
        status = {"phase": int(phase), "state": phase.name.title(), "stoppedAt": now, "lastUpdatedAt": now}
        written = await self._client.patch(
            WRITTEN,
            workflow.metadata.name,
            workflow.metadata.namespace,
            body={
                "metadata": {"resourceVersion": version, "uid": workflow.metadata.uid},
                "status": status | error_of(failure, characters),
            },
            kind=PatchKind.MERGE,
            subresource=self._subresource,
        )
        return written.metadata.resource_version

    async def merge(self, name: str, namespace: str, uid: str, status: dict[str, Any]) -> None:
        """Merge fields that no checkpoint writes into the status of a workflow, whatever its version. Raises NotFound,
        Conflict if another workflow has its name, TooLarge, and what the client raises.
        """
        await self.look_for_subresource()  # it is asked for seldom, and a write to the wrong place is dropped silently
        body = {"metadata": {"uid": uid}, "status": status}
        subresource = self._subresource
        await self._client.patch(WRITTEN, name, namespace, body=body, kind=PatchKind.MERGE, subresource=subresource)

    async def look_for_subresource(self) -> bool:
        """Ask the server again whether the resource type has a status subresource; returns whether that changed.

        The type may have been recreated or edited: a write to a missing subresource is answered with 404, and a status
        written to the main resource of a type with subresource is dropped silently.
        """
        try:
            found = "status" if await self._client.has_subresource(WORKFLOWS, "status") else ""
        except NotFound:
            return False  # the type itself is gone
        if found == self._subresource:
            return False
        _log.warning("flyteworkflows now %s a status subresource", "have" if found else "do not have")
        self._subresource = found
        return True

    async def _patch(
        self, execution: Execution, status: dict[str, Any], version: str, finalizers: tuple[str, ...]
    ) -> ObjectMeta:
        """Send the patch and return the metadata of the answer."""
        metadata: dict[str, Any] = {"resourceVersion": version, "uid": execution.info.uid}
        if not self._subresource and execution.phase.ended:
            metadata["labels"] = TERMINATED
            if finalizers and JOBS_FINALIZER not in finalizers:  # `LeftJobs` removes that
                metadata["finalizers"] = kept(finalizers)
        written = await self._client.patch(
            WRITTEN,
            execution.info.name,
            execution.info.namespace,
            body={"metadata": metadata, "status": status},
            kind=PatchKind.MERGE,
            subresource=self._subresource,
        )
        return written.metadata

    async def _metadata_now(self, execution: Execution, fingerprint_before: str) -> ObjectMeta:
        try:
            current = await self._client.get(HEADS, execution.info.name, execution.info.namespace)
        except NotFound as error:
            raise Deleted(f"{execution.key} was deleted") from error
        if current.metadata.uid != execution.info.uid:
            raise Deleted(f"{execution.key} is another object of the same name now")
        if current.fingerprint != fingerprint_before:
            raise ExternalModification(
                f"the status of {execution.key} was written by somebody else", current.metadata.resource_version
            )
        if self._shards is not None and self._shards.of(current.metadata.labels) != self._shards.of(
            execution.info.labels
        ):
            raise ExternalModification(f"{execution.key} was given to another shard", current.metadata.resource_version)
        return current.metadata
