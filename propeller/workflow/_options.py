"""When attempts of tasks are given up and retried. Units are in the docstrings."""

from __future__ import annotations

import msgspec


class AttemptOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an attempt of a task is given up, and when it is retried."""

    system_retries: int = 3
    """Further attempts of a task after failures by the system's fault (a lost machine, an evicted pod), besides its own
    `retries`: FlytePropeller's max-node-retries-system-failures. A task that fails four times in a row will fail again.
    """

    interruptible_failures: int = -1
    """Failures by the system's fault after which a task is interruptible no more, so that its next attempt runs on
    machines that are not taken away; below 1, that many fewer than all attempts: -1 leaves the last one, 0 none.
    FlytePropeller's interruptible-failure-threshold.
    """

    system_backoff: float = 1.0
    """Seconds before the first attempt after such a failure; doubles. The cause of the failure may still be there."""

    system_backoff_cap: float = 30.0
    """Seconds. Three retries do not reach it; with more, no attempt waits longer."""

    start_grace: dict[str, float] = msgspec.field(
        default_factory=lambda: {"CreateContainerError": 180.0, "ImagePullBackOff": 180.0}
    )
    """Seconds before a pod that cannot start fails its attempt, by the reason that its container shows; 0 for other
    reasons. FlytePropeller's grace periods, counted as there from when the pod was assigned to its node: a registry may
    be away for a minute, and a volume may be late.
    """

    pending_limit: float = 0.0
    """Seconds that a pod may be pending, because no node has room for it or it does not start on its node, until its
    attempt fails by the system's fault; 0 to wait for ever, as autoscalers may take hours to find scarce machines. The
    time of a pod that a queue holds does not count. FlytePropeller's pod-pending-timeout.
    """

    unseen_after: float = 60.0
    """Seconds. If no event shows within this time that a launched pod has started, it is looked for: it may have run
    during a gap in the watch. If it is in the cache, this costs no request.
    """

    run_eager: bool = False
    """Run eager tasks (flytekit's `@eager`). They need FlyteAdmin's API to start what they call, and wait for ever
    where nothing reports to it: so they fail at once, unless some service answers for FlyteAdmin. `propeller run` sets
    it, as flytekit runs all that they call in their own process there.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.system_retries <= 100:
            raise ValueError(f"system_retries must be between 0 and 100, and is {self.system_retries}")
        if not 0 <= self.system_backoff <= self.system_backoff_cap < float("inf"):
            raise ValueError(
                f"system_backoff must be 0 or more and at most system_backoff_cap; they are {self.system_backoff} and "
                f"{self.system_backoff_cap}"
            )
        if not self.pending_limit >= 0:
            raise ValueError(f"pending_limit must be 0 or more, and is {self.pending_limit}")
        if not self.unseen_after >= 1 or not all(seconds >= 0 for seconds in self.start_grace.values()):
            raise ValueError(
                f"unseen_after must be at least 1, and each of start_grace 0 or more; they are {self.unseen_after} and "
                f"{self.start_grace}"
            )
