"""What the controller holds of one execution between rounds."""

from __future__ import annotations

import enum
import math
from typing import Any

import msgspec

from propeller.controller._resource import mark_of
from propeller.handlers.tasks import claim_of, is_of
from propeller.informers import as_number, went_back
from propeller.kube import ObjectMeta, Pod
from propeller.status import offloaded_to, size_of
from propeller.workflow import Effect, Execution, Fact, StopPod


class Stage(enum.Enum):
    """Where the execution is between being noticed and being forgotten."""

    LOADING = "loading"
    """Its plan and status are being read. Next: LOADED, or gone where it cannot be run."""

    LOADED = "loaded"
    """It is in memory, and its first round is due. Next: RUNNING."""

    RUNNING = "running"
    """Rounds are held. Next: ENDED."""

    ENDED = "ended"
    """Nothing is left to decide. Next: forgotten, once its last status is written."""


class Fence(msgspec.Struct, frozen=True):
    """The version that the cache's object of this uid has to reach before it is worth reading."""

    uid: str
    version: str

    def holds(self, metadata: ObjectMeta) -> bool:
        """Whether an object is older. Versions that are not numbers cannot be compared: then it is taken as it is."""
        return metadata.uid == self.uid and 0 < as_number(metadata.resource_version) < as_number(self.version)


class Live:
    """One execution: its state, the facts that wait for its next round, and what we know of its object."""

    __slots__ = (
        "deferred",
        "dirty_since",
        "execution",
        "finalizers",
        "heard",
        "in_flight",
        "inbox",
        "key",
        "launching",
        "looks",
        "mark",
        "new",
        "nodes_of_pods",
        "offloaded_to",
        "same_name",
        "stage",
        "status_bytes",
        "told_waiting",
        "uid",
        "version",
        "write_failures",
        "write_not_before",
        "writing",
    )

    def __init__(self, key: str, uid: str) -> None:
        self.key = key
        self.uid = uid
        self.version = ""
        """Of the object as we last read or wrote it, as are its finalizers and the next three of its status."""
        self.finalizers: tuple[str, ...] = ()
        self.mark = ""
        self.stage = Stage.LOADING
        self.execution: Execution | None = None
        self.new = True
        """Whether no status held it when it was loaded."""
        self.inbox: list[tuple[int, Fact]] = []
        self.heard = 0.0
        """Epoch seconds of the last round that had news or decided something."""
        self.in_flight = 0
        """Effects on its nodes that wait or are under way."""
        self.launching: dict[tuple[int, int], StopPod | None] = {}
        """Nodes and attempts whose launch is under way, and the stop that waits for that: it would find no pod."""
        self.looks: set[tuple[int, int]] = set()
        """Those of them whose pod was seen to go meanwhile: it is looked for once the launch is answered."""
        self.nodes_of_pods: dict[str, int] = {}
        self.same_name: dict[str, set[int]] = {}
        """Nodes that have pods of one name at some attempt, by that name: hardly ever any."""
        self.dirty_since: float | None = None
        """Epoch seconds of the first change that no status holds yet."""
        self.status_bytes = 0
        """Of the snapshot."""
        self.offloaded_to = ""
        """Where in the object store the last one is that is there, "" if none is."""
        self.deferred: list[Effect] = []
        """To be done once a status knows why: stops, for what a pod that is being deleted shows is that and nothing
        else, and what is to run after a failure, or once more because its time was up.
        """
        self.writing = False
        self.write_failures = 0
        """Since the last status that was written."""
        self.told_waiting = -math.inf
        """Time of the monotonic clock when people were told that it waits."""
        self.write_not_before = 0.0
        """Epoch seconds: when a write that failed may be tried again."""

    def follow(self, pod: str, node: int) -> None:
        """From now on news of the pod of that name are the node's."""
        if self.nodes_of_pods.setdefault(pod, node) != node:
            self.same_name.setdefault(pod, set()).update((self.nodes_of_pods[pod], node))

    def node_of(self, pod: Pod) -> int | None:
        """Whose pod it is; None if nobody here follows it."""
        name = pod.metadata.name
        if self.same_name and name in self.same_name and self.execution is not None:
            claim = claim_of(pod, self.execution.info.name)
            for node in sorted(self.same_name[name]):
                if claim is not None and is_of(self.execution, node, claim.attempt, pod):
                    return node
        return self.nodes_of_pods.get(name)

    def note(self, metadata: ObjectMeta, status: dict[str, Any]) -> None:
        """The object was read or written, with this metadata and status."""
        self.version = metadata.resource_version
        self.finalizers = metadata.finalizers
        self.mark = mark_of(status)
        self.status_bytes = size_of(status)
        self.offloaded_to = offloaded_to(status) or self.offloaded_to

    def catch_up(self, metadata: ObjectMeta, status: dict[str, Any]) -> None:
        """News of that version have been taken: what follows from them is written onto it, unless somebody else has
        written the status. A server that was restored from a copy of before them refuses it then.
        """
        if went_back(metadata.resource_version, self.version) and mark_of(status) == self.mark:
            self.version, self.finalizers = metadata.resource_version, metadata.finalizers

    def wrote(self, metadata: ObjectMeta) -> bool:
        """Whether that version of the object is what we have written last, and tells nothing new to who runs on."""
        mine = metadata.resource_version == self.version and metadata.uid == self.uid
        return mine and self.stage is Stage.RUNNING and metadata.deletion_timestamp is None

    @property
    def is_urgent(self) -> bool:
        """Whether something waits for the next status."""
        return self.stage is Stage.ENDED or any(
            not isinstance(effect, StopPod) or effect.urgent for effect in self.deferred
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether all of it is in the status and in pods, and nothing is under way: it could be rebuilt from those."""
        return (
            self.stage is Stage.RUNNING
            and not (self.inbox or self.in_flight or self.writing or self.deferred)
            and self.dirty_since is None
            and self.execution is not None
            and not (self.execution.stopping or self.execution.todo)
        )

    def take_facts(self) -> list[tuple[int, Fact]]:
        facts, self.inbox = self.inbox, []
        return facts
