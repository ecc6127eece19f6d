"""When attempts of tasks are given up, and followed by others. Units are in the docstrings."""

from __future__ import annotations

import msgspec


class AttemptOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an attempt of a task is given up, and when another one follows."""

    system_retries: int = 3
    """Further attempts of a task after failures by the system's fault (a lost machine, a pod that was evicted), which
    its own `retries` do not pay for: FlytePropeller's max-node-retries-system-failures. What fails four times in a row
    will fail again.
    """

    system_backoff: float = 1.0
    """Seconds before the first attempt after such a failure; doubles. What broke the last one may still be broken."""

    system_backoff_cap: float = 30.0
    """Seconds. With three retries it is not reached; with more, none waits for longer."""

    start_grace: dict[str, float] = msgspec.field(
        default_factory=lambda: {"CreateContainerError": 180.0, "ImagePullBackOff": 180.0}
    )
    """Seconds that a pod which cannot start has to get over it, by the reason that its container shows; for other
    reasons it has none. FlytePropeller's grace periods, counted from when the pod got its node, as there: a registry
    may be away for a minute, and a volume may come late.
    """

    unseen_after: float = 60.0
    """Seconds after which a pod is looked for that was not seen to start: one that came and went during a gap in the
    watch leaves no event. While it is in the cache, looking costs no request.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.system_retries <= 100:
            raise ValueError(f"system_retries must be between 0 and 100, and is {self.system_retries}")
        if not 0 <= self.system_backoff <= self.system_backoff_cap < float("inf"):
            raise ValueError(
                f"system_backoff must be 0 or more and at most system_backoff_cap; they are {self.system_backoff} and "
                f"{self.system_backoff_cap}"
            )
        if not self.unseen_after >= 1 or not all(seconds >= 0 for seconds in self.start_grace.values()):
            raise ValueError(
                f"unseen_after must be at least 1, and each of start_grace 0 or more; they are {self.unseen_after} and "
                f"{self.start_grace}"
            )
