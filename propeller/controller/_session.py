"""Hold one execution in memory between reconciles: one class per stage, with only the data of that stage.

`Loading` becomes `Running` when its plan and status have been read, and `Ended` when its last status is written; each
may be forgotten.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from propeller.controller._resource import NO_STATUS, fingerprint_of
from propeller.controller._signals import WaitingGates
from propeller.handlers.plugins import claim_of, is_of
from propeller.informers import as_number, went_back
from propeller.kube import KubeObject, ObjectMeta
from propeller.status import offloaded_to, size_of
from propeller.workflow import AttemptObserved, Effect, Execution, NodeEvent, StopAttempt

STAGES = ("loading", "loaded", "running", "ended")
"""What metrics call the stages; an execution that was loaded is `loaded` until its first reconcile."""


class MinResourceVersion(msgspec.Struct, frozen=True):
    """The version that the cache's object of this uid has to reach before it may be read."""

    uid: str
    version: str

    def is_newer_than(self, metadata: ObjectMeta) -> bool:
        """Whether the object is older than this version. False if versions are not numbers."""
        return metadata.uid == self.uid and 0 < as_number(metadata.resource_version) < as_number(self.version)


class _Object:
    """The workflow object as the controller read or wrote it last: common to all stages."""

    __slots__ = ("finalizers", "fingerprint", "generation", "key", "offloaded_to", "status_bytes", "uid", "version")

    def __init__(self, key: str, uid: str) -> None:
        self.key = key
        self.uid = uid
        self.version = ""
        self.generation = 0
        self.finalizers: tuple[str, ...] = ()
        self.fingerprint = ""
        """Fingerprint of the status."""
        self.status_bytes = 0
        """Of the snapshot."""
        self.offloaded_to = ""
        """Where in the object store the last snapshot is that is there, "" if none is."""

    def record(self, metadata: ObjectMeta, status: dict[str, Any]) -> None:
        """Record that the object was read or written, with this metadata and status."""
        self.version, self.generation = metadata.resource_version, metadata.generation
        self.finalizers = metadata.finalizers
        self.fingerprint = fingerprint_of(status)
        self.status_bytes = size_of(status)
        self.offloaded_to = offloaded_to(status) or self.offloaded_to

    @property
    def is_unwritten(self) -> bool:
        """Whether it had no status when it was read or written."""
        return self.fingerprint == NO_STATUS

    def follow_back(self, metadata: ObjectMeta, status: dict[str, Any]) -> None:
        """Write onto this version from now on if it is older than the last one, as after a restore, and has the same
        status. Otherwise a write conflicts, which leads to a reload.
        """
        if went_back(metadata.resource_version, self.version) and fingerprint_of(status) == self.fingerprint:
            self.version, self.generation = metadata.resource_version, metadata.generation
            self.finalizers = metadata.finalizers

    def is_own_write(self, metadata: ObjectMeta) -> bool:
        """Whether an event of the workflow only echoes our last write, so that a running execution can ignore it."""
        return False

    def _continue(self, earlier: _Object) -> None:
        """Copy the data of an earlier stage."""
        self.key, self.uid = earlier.key, earlier.uid
        self.version, self.generation = earlier.version, earlier.generation
        self.finalizers = earlier.finalizers
        self.fingerprint = earlier.fingerprint
        self.status_bytes = earlier.status_bytes
        self.offloaded_to = earlier.offloaded_to


class Loading(_Object):
    """Its plan and status are being read. Next: Running, or forgotten if it cannot run."""

    __slots__ = ()
    stage = "loading"


class Running(_Object):
    """It is in memory. Next: Ended once a status with its end is written; forgotten if it is evicted or reloaded."""

    __slots__ = (
        "begun",
        "created_again",
        "deferred",
        "dirty_since",
        "execution",
        "explaining",
        "gates",
        "has_launched",
        "held",
        "in_flight",
        "inbox",
        "is_new",
        "last_activity",
        "launching",
        "looks",
        "nodes_by_name",
        "same_name",
        "settled",
        "told_waiting",
        "unanswered",
        "write_failures",
        "write_not_before",
        "writing",
    )

    def __init__(self, loaded: Loading, execution: Execution, *, is_new: bool) -> None:
        self._continue(loaded)
        self.execution = execution
        self.is_new = is_new
        """Whether no status held it when it was loaded."""
        self.has_launched = not is_new
        """Whether a pod of it may exist."""
        self.begun = False
        """Whether it had its first reconcile."""
        self.held: set[int] = set()
        """Nodes whose pods a queue holds, as their last events say."""
        self.inbox: list[tuple[int, NodeEvent]] = []
        self.last_activity = 0.0
        """Epoch seconds of the last reconcile that had events or decided something."""
        self.in_flight = 0
        """Effects on its nodes that wait or are under way."""
        self.launching: dict[tuple[int, int], StopAttempt | None] = {}
        """Nodes and attempts whose launch is under way, and the stop that waits for it: it would find nothing."""
        self.looks: dict[tuple[int, int], AttemptObserved | None] = {}
        """Those of them whose pod was seen to fail (and how) or to go (None) meanwhile. That may be an earlier pod of
        the name, so that the server is asked once the launch is answered.
        """
        self.created_again: set[tuple[int, int]] = set()
        """Nodes and attempts whose pod was created after a create that had no answer, or was refused."""
        self.explaining: set[tuple[int, int]] = set()
        """Nodes and attempts that have failed, and whose pods are being looked at."""
        self.gates = WaitingGates()
        self.nodes_by_name: dict[str, int] = {}
        self.same_name: dict[str, set[int]] = {}
        """Nodes whose resources have one name at some attempt, by that name: hardly ever any."""
        self.settled: list[int] = []
        """Items of large maps that have succeeded, and whose pods are in the cache."""
        self.dirty_since: float | None = None
        """Epoch seconds of the first change that no status holds yet."""
        self.deferred: list[Effect] = []
        """Effects that wait for a checkpoint: stops of pods (a pod that is being deleted shows that and nothing else),
        what runs after a failure, and what runs once more because its time was up.
        """
        self.writing = False
        self.unanswered = False
        """Whether the last status may be written or not: its write has not succeeded yet."""
        self.write_failures = 0
        """Since the last status that was written."""
        self.write_not_before = 0.0
        """Epoch seconds: when a write that failed may be tried again."""
        self.told_waiting = -math.inf
        """Time of the monotonic clock when it was last logged that it waits."""

    @property
    def stage(self) -> str:
        return "ended" if self.has_ended else "running" if self.begun else "loaded"

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to decide: only the last status has to be written."""
        return self.begun and self.execution.phase.ended

    def is_own_write(self, metadata: ObjectMeta) -> bool:
        if self.gates.nodes:
            return False  # it may be the first event since somebody has answered one
        mine = metadata.resource_version == self.version and metadata.uid == self.uid
        return mine and self.begun and not self.execution.phase.ended and metadata.deletion_timestamp is None

    def follow(self, name: str, node: int) -> None:
        """Map events of the resource of that name to the node from now on."""
        if self.nodes_by_name.setdefault(name, node) != node:
            self.same_name.setdefault(name, set()).update((self.nodes_by_name[name], node))

    def node_of(self, obj: KubeObject) -> int | None:
        """Return the node of a resource, None if it belongs to none."""
        name = obj.metadata.name
        if self.same_name and name in self.same_name:
            claim = claim_of(obj, self.execution.info.name)
            for node in sorted(self.same_name[name]):
                if claim is not None and is_of(self.execution, node, claim.attempt, obj):
                    return node
        return self.nodes_by_name.get(name)

    def drain(self) -> list[tuple[int, NodeEvent]]:
        """Return the events since the last reconcile, and empty the inbox."""
        events, self.inbox = self.inbox, []
        return events

    def record_change(self, now: float) -> None:
        """Record that there is a change that no status holds."""
        if self.dirty_since is None:
            self.dirty_since = now

    def record_launch(self, now: float) -> None:
        """Record that a pod was created. The status of what only waited is no older than that: until then it said
        nothing that is not in the object's spec.
        """
        if not self.has_launched:
            self.has_launched = True
            if self.dirty_since is not None:
                self.dirty_since = now

    @property
    def only_waits(self) -> bool:
        """Whether nothing of it has begun, and no status says that it waits."""
        return not self.has_launched and not self.status_bytes

    def checkpoint_due(self, lag: float) -> float | None:
        """Return the epoch second when a status has to be written if progress may wait for `lag` seconds; None if
        nothing is to be written, or a write runs.
        """
        if self.writing or self.dirty_since is None:
            return None
        return max(self.dirty_since + (0.0 if self.is_urgent else lag), self.write_not_before)

    def begin_checkpoint(self) -> tuple[float | None, list[Effect]]:
        """Start a status write; returns since when it is due, and the effects that wait for it."""
        since, self.dirty_since = self.dirty_since, None
        deferred, self.deferred = self.deferred, []
        return since, deferred

    def abandon_checkpoint(self, since: float | None, deferred: list[Effect], not_before: float) -> None:
        """The write failed and is due as before; the retry waits until `not_before`."""
        self.dirty_since = since
        self.deferred = deferred + self.deferred
        self.write_failures += 1
        self.write_not_before = not_before

    @property
    def is_urgent(self) -> bool:
        """Whether something waits for the next status."""
        return self.has_ended or any(not isinstance(effect, StopAttempt) or effect.urgent for effect in self.deferred)

    @property
    def is_at_rest(self) -> bool:
        """Whether the status and the pods hold all of it, and nothing runs: it could be rebuilt from them."""
        return (
            self.begun
            and not self.execution.phase.ended
            and not (self.inbox or self.in_flight or self.writing or self.deferred)
            and self.dirty_since is None
            and not (self.execution.slots.stopping or self.execution.todo)
        )


class Ended(_Object):
    """Its end is written, and the cache does not have that yet. Next: forgotten once it has."""

    __slots__ = ()
    stage = "ended"

    def __init__(self, earlier: Running) -> None:
        self._continue(earlier)


Session = Loading | Running | Ended
"""What is in memory of one execution; each has its `stage`, one of `STAGES`."""
