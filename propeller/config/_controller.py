"""How the FlyteWorkflow controller works. Units are in the docstrings."""

from __future__ import annotations

import msgspec

from propeller.bounds import NonNegativeFloat
from propeller.reconcile._options import ElectionOptions


class CheckpointOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an execution's status is written. Between two writes its pods are the record of its progress."""

    max_lag: NonNegativeFloat = 2.0
    """Seconds. At most this long until a finished node is in the status, while few executions run. People watch status,
    so not much more; each write costs the API server 2-5 ms, so not much less: once a second it would be half of all
    that nodes of a second cost."""

    progress_rate: float = 10.0
    """Statuses a second, of all executions together, that only report progress: if more are due, each is written more
    rarely. Thousands cannot be watched anyway, and the API server has better to do. Ends do not wait.
    """

    longest_lag: NonNegativeFloat = 30.0
    """Seconds. However many executions run, a status is not older."""

    longest_wait_lag: NonNegativeFloat = 300.0
    """Seconds. The same of an execution that only waits: none of its pods was created yet, and no status was written.
    Thousands that wait for few slots would otherwise load the API server with as many statuses as pods; `propeller
    queue` tells at once who waits for what.
    """

    pace: int = 32 * 1024
    """Bytes of encoded status a second: the larger a status, the rarer it is written, so that the bytes of an execution
    grow with its time and not with its time times its size.
    """

    budget: int = 256 * 1024
    """Bytes of the encoded status. etcd refuses requests over 1.5 MiB; a sixth of it keeps watches and lists cheap."""

    def __post_init__(self) -> None:
        for field in ("pace", "progress_rate", "budget"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be over 0, and is {getattr(self, field)}: no status would be written")


class ControllerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the FlyteWorkflow controller works."""

    ttl: NonNegativeFloat = 23 * 3600.0
    """Seconds that an ended workflow stays in the cluster, with its pods; 0 for ever. FlytePropeller's 23 hours: long
    enough to look at yesterday's failures; workflows that stay fill etcd and every cache.
    """

    idle: NonNegativeFloat = 300.0
    """Seconds without events after which an execution is evicted from memory; 0: never. The next event or timer loads
    it again from its plan, its status and its pods, which are cached anyway. That costs as much as loading at a start,
    so the timeout grows by one `idle` for each thousand nodes.
    """

    stop_margin: NonNegativeFloat = 30.0
    """Seconds beyond its grace period until a pod that is being deleted, and still exists, is taken for lost with its
    machine: until then no further attempt of its task begins. The kubelet needs some seconds more than the grace to
    kill, clean up and report.
    """

    effects_at_once: int = 64
    """Launches under way at once, and as many reads, status writes and stops each: none of these waits for another's
    workers. More does not help: the API server is the wall, and queues them.
    """

    inline_effects: int = 16
    """Effects that one reconcile runs itself if they need no waiting: about 1 ms of the loop. The rest go to the
    workers of `effects_at_once`.
    """

    event_delay: float = 0.1
    """Delay in seconds for low-priority pod events (launched, running), so that one reconcile handles several.
    """

    nesting_limit: int = 16
    """Executions that may be around one that a launch plan's node starts: a launch plan that starts itself would do so
    for ever. Flyte's workflows nest a few deep.
    """

    child_closure_bytes: int = 256 * 1024
    """Bytes that the workflow of a launch plan may take in the resources of all executions that a map, or the nodes of
    one workflow, start of it. If they take more, it is stored once, below `storage.metadata_prefix`, and each resource
    refers to it: 1,000 items of a workflow of 20 KB would be 20 MB in etcd, and each event of an item would bring its
    20 KB. For a few small ones the write and the reads cost more than they save. 0: always.
    """

    def __post_init__(self) -> None:
        if self.nesting_limit < 1:
            raise ValueError(
                f"nesting_limit must be at least 1, and is {self.nesting_limit}: no launch plan could be started"
            )
        if self.child_closure_bytes < 0:
            raise ValueError(f"child_closure_bytes must be 0 or more, and is {self.child_closure_bytes}")
        if self.effects_at_once < 1:
            raise ValueError(
                f"effects_at_once must be at least 1, and is {self.effects_at_once}: no pod would be created"
            )
        if self.inline_effects < 0 or not self.event_delay >= 0:
            raise ValueError(
                f"inline_effects and event_delay must be 0 or more; they are {self.inline_effects} and "
                f"{self.event_delay}"
            )


class EffectOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retries of effects (reads and writes of blobs, launches) after transient errors."""

    retry_budget: float = 3600.0
    """Seconds of pauses after which such an error fails the effect's node, by the system's fault: longer than most
    outages of an object store. Effects on a pod that exists (to observe it, to stop it) are tried until the API server
    answers, and allows it.
    """

    backoff: float = 0.25
    """Seconds before the second try; doubles."""

    backoff_cap: float = 16.0
    """Seconds. A store that is back is noticed within as many."""

    quota_retry: float = 5.0
    """Seconds before a pod that a resource quota refused is asked for again, if the server named no time. Quotas are
    freed by pods that end, which take minutes.
    """

    storage_retry: float = 5.0
    """Seconds before a launch whose inputs could not be read or written is tried again."""

    def __post_init__(self) -> None:
        if not 0 < self.backoff <= self.backoff_cap < float("inf"):
            raise ValueError(
                f"backoff must be over 0 and at most backoff_cap; they are {self.backoff} and {self.backoff_cap}"
            )
        if not self.retry_budget >= 0 or not self.quota_retry >= 0.1 or not self.storage_retry >= 0.1:
            raise ValueError(
                f"retry_budget must be 0 or more, quota_retry and storage_retry at least 0.1; they are "
                f"{self.retry_budget}, {self.quota_retry} and {self.storage_retry}"
            )


class LaunchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retries of pod creates that the platform refuses: RBAC, a policy, an admission webhook that denies, is down or
    late (docs/refusals.md). No attempt and no retry is used up meanwhile.
    """

    pause: float = 1.0
    """Seconds before the second try, more or less by a quarter; doubles. A refusal that is mended in seconds costs
    seconds."""

    pause_cap: float = 60.0
    """Seconds. Of all the pods of one task in one namespace one try a minute is no load, and a minute after hours of
    waiting is soon enough."""

    limit: float = 24 * 3600.0
    """Seconds since the first of such refusals in a row after which the node fails, by the system's fault and without
    another attempt; 0 to wait for ever. A day outlasts a roll-out that went wrong at night, and a pod that is not
    allowed by then should be seen as failed.
    """

    quotas: bool = True
    """Whether ResourceQuotas and LimitRanges are followed, so that a pod which has no room waits without a request. It
    needs the right to list and watch both. Without it a pod's refusal is the first news of a quota.
    """

    quota_settle: float = 2.0
    """Seconds after the answer to a create until a quota's status is believed to count the pod. It does so within
    milliseconds, but watches are late when the API server is busy. Larger, and room at the edge of a quota is left
    unused for longer; smaller, and a late status leads to a refusal.
    """

    quota_patience: float = 60.0
    """Seconds that a quota has to be smaller than a single pod until the pod's task fails. A quota that was lowered by
    mistake, or is replaced by another one, is mended in less; a task that is too large does not get smaller.
    """

    def __post_init__(self) -> None:
        if not (self.quota_settle >= 0 and self.quota_patience >= 0):
            raise ValueError(
                f"quota_settle and quota_patience must be 0 or more; they are {self.quota_settle} and "
                f"{self.quota_patience}"
            )
        if not 0 < self.pause <= self.pause_cap < float("inf"):
            raise ValueError(f"pause must be over 0 and at most pause_cap; they are {self.pause} and {self.pause_cap}")
        if not self.limit >= 0:
            raise ValueError(f"limit must be 0 or more, and is {self.limit}")


class EventOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kubernetes Events on FlyteWorkflows. They are for people who type `kubectl describe`, and cost the API server a
    request each: in a burst, one is sent for ten executions that end, or `burst`, if that is more.
    """

    enabled: bool = True
    """Whether `propeller controller` sends any. It needs the right to create and patch events."""

    delay: float = 1.0
    """Seconds that an event waits to be merged with later ones of the same execution and reason."""

    burst: int = 5
    """Events at once; the last half of them are warnings only. A handful of executions at once is reported in full."""

    pause: float = 10.0
    """Seconds after which one more may be sent, up to `burst`: six a minute, which no API server feels."""

    def __post_init__(self) -> None:
        if self.burst < 1 or not self.pause > 0 or not self.delay >= 0.1:
            raise ValueError(
                f"burst must be at least 1, pause over 0 and delay at least 0.1; they are {self.burst}, {self.pause} "
                f"and {self.delay}"
            )


class LeaseOptions(ElectionOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How several `propeller controller` elect the one that acts. client-go's times: 15, 10, 2."""

    lease_namespace: str = "flyte"
    """Namespace of the Lease of `propeller controller`. The same for all controllers of a cluster, whatever namespace
    their kubeconfig's context or `-n` names: of two that see one workflow only one may act. `propeller install` grants
    the rights on leases in this namespace alone.
    """

    lease_name: str = "propeller-controller"
    """Name of that Lease. Controllers of different namespaces (`-n`) that are to act at the same time need leases of
    their own."""

    def __post_init__(self) -> None:
        for field in ("lease_namespace", "lease_name"):
            if not getattr(self, field):
                raise ValueError(f"{field} must not be empty: it says which Lease the controllers of a cluster share")
