"""How several clusters are used. Units are in the docstrings."""

from __future__ import annotations

import msgspec


class ClusterOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the clusters of a routing table are watched over. With one cluster nothing of this happens."""

    control: str = ""
    """The name that resources in other clusters bear for the cluster of the FlyteWorkflows, so that several of those
    may share an execution cluster. By default the uid of its namespace `kube-system`, which the controller has to be
    allowed to get. Do not change it while anything runs: what bears the old name is no longer found.
    """

    probe: float = 5.0
    """Seconds between two requests by which a cluster shows that it is well: the cheapest one, so that its API server
    does not notice, and often enough that `unhealthy_after` is a matter of several of them.
    """

    probe_deadline: float = 5.0
    """Seconds until such a request has failed. A healthy API server answers within milliseconds."""

    slow: float = 3.0
    """Seconds after which an answer is a bad sign, as a failure is: launches would take as long."""

    error_share: float = 0.5
    """The share of a cluster's requests between two probes whose failure (no answer, 5xx, 401) is a bad sign, if there
    were at least 10. A rolling upgrade of an API server fails fewer.
    """

    start_deadline: float = 600.0
    """Seconds after which a pod that no node has taken is stuck; if half of a cluster's pods that wait for a node are,
    and at least 10, that is a bad sign. Autoscalers take minutes. 0: never.
    """

    unhealthy_after: float = 15.0
    """Seconds of nothing but bad signs until a cluster gets no new work: longer than the restart of an API server,
    short enough that people do not have to act.
    """

    healthy_after: float = 30.0
    """Seconds of nothing but good signs until it gets new work again. Twice as long as the opposite, so that a cluster
    that comes and goes is left alone.
    """

    grace: float = 600.0
    """Seconds that attempts in an unhealthy cluster are waited for; then they are tried again elsewhere, as after a
    failure of the system's. Their pods may well go on meanwhile: short outages should cost no work that is done twice.
    """

    reconnect_backoff: float = 1.0
    """Seconds before the first new try of a cluster that cannot be connected to; doubles."""

    reconnect_backoff_cap: float = 60.0
    """Seconds."""

    hold_pods: bool = True
    """Whether pods in other clusters get a finalizer, which keeps those that somebody deletes until a status has their
    end: one request more for a pod that is deleted. Without it the end of a pod that is deleted while the controller is
    down is lost, and the attempt may run again.
    """

    orphans_after: float = 60.0
    """Seconds after a resource's creation before the janitor asks whether its workflow is gone. Its own create may be
    older than the workflow in the cache, and nothing is lost by waiting.
    """

    orphans_at_once: int = 4
    """Orphans of one cluster that are deleted at once: the rest of its API server's time is for launches."""

    def __post_init__(self) -> None:
        for field in ("probe", "probe_deadline", "slow", "reconnect_backoff", "reconnect_backoff_cap"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be over 0 seconds, and is {getattr(self, field)}")
        for field in ("unhealthy_after", "healthy_after", "grace", "orphans_after", "start_deadline"):
            if not getattr(self, field) >= 0:
                raise ValueError(f"{field} must be 0 seconds or more, and is {getattr(self, field)}")
        if not 0 < self.error_share <= 1:
            raise ValueError(f"error_share must be over 0 and at most 1, and is {self.error_share}")
        if self.orphans_at_once < 1:
            raise ValueError(f"orphans_at_once must be at least 1, and is {self.orphans_at_once}")
