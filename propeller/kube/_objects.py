"""Kubernetes objects as the structs we read: only the fields that are used here.

See docs/performance.md for the cost. Unknown fields are skipped, absent ones take their default, so a struct never
fails on fields that a newer server adds. Texts that many objects share (owners, label values, conditions) are interned:
two fifths of a running pod. The garbage collector does not track these structs (`gc=False`): they hold no cycles, and
are many.
"""

from __future__ import annotations

from sys import intern
from typing import Any

import msgspec
from msgspec.structs import force_setattr

MAX_SHARED_LENGTH = 63
"""Characters of the longest text that is interned: that of a label's value. Longer ones are rarely shared."""


def _share(texts: dict[str, str]) -> None:
    """Short texts are those that other objects have. Their names are so already: the decoder remembers keys."""
    for name, text in texts.items():
        if len(text) <= MAX_SHARED_LENGTH:
            texts[name] = intern(text)


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """The owner of an object, which is garbage-collected with it."""

    api_version: str = msgspec.field(default="", name="apiVersion")
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False

    def __post_init__(self) -> None:
        force_setattr(self, "api_version", intern(self.api_version))
        force_setattr(self, "kind", intern(self.kind))
        force_setattr(self, "name", intern(self.name))
        force_setattr(self, "uid", intern(self.uid))


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Metadata of any object. Times are RFC 3339 text as the server sent them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "namespace", intern(self.namespace))
        if self.creation_timestamp is not None:
            force_setattr(self, "creation_timestamp", intern(self.creation_timestamp))
        if self.labels:
            _share(self.labels)
        if self.annotations:
            _share(self.annotations)


class KubeObject(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """The base of typed objects; alone it is the metadata-only form of any kind."""

    metadata: ObjectMeta = ObjectMeta()


class ContainerTerminated(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerWaiting(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    reason: str = ""
    message: str = ""


class ContainerRunning(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    started_at: str | None = None


class ContainerState(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Exactly one of the three is set once the kubelet has reported."""

    waiting: ContainerWaiting | None = None
    running: ContainerRunning | None = None
    terminated: ContainerTerminated | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodCondition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "type", intern(self.type))
        force_setattr(self, "status", intern(self.status))
        if self.reason:
            force_setattr(self, "reason", intern(self.reason))
        if self.last_transition_time is not None:
            force_setattr(self, "last_transition_time", intern(self.last_transition_time))


class PodStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """`phase` is Pending, Running, Succeeded, Failed or Unknown; "" before the first report."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: str | None = None
    conditions: tuple[PodCondition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "phase", intern(self.phase))
        if self.reason:
            force_setattr(self, "reason", intern(self.reason))


class SchedulingGate(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    name: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "name", intern(self.name))


class PodSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A pod with a scheduling gate is not scheduled: whoever has set the gate removes it."""

    node_name: str = ""
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    scheduling_gates: tuple[SchedulingGate, ...] = ()

    def __post_init__(self) -> None:
        if self.node_name:
            force_setattr(self, "node_name", intern(self.node_name))
        force_setattr(self, "restart_policy", intern(self.restart_policy))


class Pod(KubeObject, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A pod as the controller sees it. The kubelet, which needs the whole spec, watches pods as dicts."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Every field that there is, for leases are replaced. Times are MicroTime text; durations are whole seconds."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None
    strategy: str | None = None
    preferred_holder: str | None = None


class Lease(KubeObject, frozen=True, rename="camel", omit_defaults=True, gc=False):
    spec: LeaseSpec = LeaseSpec()


Raw = dict[str, Any]
"""An object as plain JSON, for kinds and readers that need every field."""
