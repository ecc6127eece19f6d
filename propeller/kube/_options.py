"""How requests go to an API server. Units are in the docstrings."""

from __future__ import annotations

import msgspec

from propeller.bounds import NonNegativeFloat, PositiveFloat, PositiveInt


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests go to one API server."""

    deadline: PositiveFloat = 30.0
    """Seconds for one request. The API server's own limit is 60; half of it leaves time for one retry."""

    writes_at_once: int = 32
    """Creates under way. Pods come in bursts; beyond this the API server only queues them. This flow and the next four
    never wait for each other: each has connections of its own, an eighth in all of the 600 requests that the API server
    takes from everybody by default. A 429 halves a flow's share, which grows back with each success.
    """

    deletes_at_once: int = 8
    """Deletes under way: what an abort stops, and workflows whose time is over. A delete costs the API server as much
    as a create, and eight at once keep it as busy as it should be with those.
    """

    status_at_once: int = 16
    """Patches and replacements: status writes and other changes of an object. Half of the pods' share: an
    execution writes its status once for a pod or more.
    """

    reads_at_once: int = 12
    """Single objects and pages of lists. Caches answer most reads; the rest are large responses, slower if there are
    more.
    """

    leases_at_once: int = 2
    """Anything about leases. A process holds few, and renews each every two seconds."""

    slow_creates: float = 0.5
    """Seconds. While creates take longer than this in the median, and `slow_creates_ratio` times as long as the fastest
    of the last minutes, fewer are sent at once, as after a 429: the API server keeps up no more, and what it does not
    spend on pods is left for status writes and for everybody else. Half of kube-apiserver's own objective (1 s for 99
    of 100 changes); a busy one answers within a tenth of a second.
    """

    slow_creates_ratio: float = 5.0
    """See `slow_creates`. A server on another continent answers none in less than 0.3 s and is not slow."""

    refused_for: PositiveFloat = 300.0
    """Seconds during which the API server answers every request with 401, or no credentials can be obtained, after
    which /healthz of `propeller controller` fails: the kubelet then restarts it, and it reads its credentials again.
    Tokens that are being rotated are refused for seconds.
    """

    reach_deadline: PositiveFloat = 3.0
    """Seconds that a command waits for the first response of a cluster: its user should soon read what is wrong."""

    plugin_deadline: PositiveFloat = 4.0
    """Seconds that a command waits for a credential plugin, and the first response after it: with its own start the
    command ends within about five. Plugins take one or two. One that may prompt at the terminal has `deadline`.
    """

    slow_after: NonNegativeFloat = 3.0
    """Seconds after which a command says that it is waiting for a plugin, which may be waiting for a login."""

    reach_backoff: float = 1.0
    """Seconds, less up to half, before `propeller controller` asks again at its start for a cluster that does not
    answer; doubles. A controller that ended instead would be restarted by its Deployment with pauses of up to five
    minutes.
    """

    reach_backoff_cap: float = 15.0
    """Seconds. An API server that is back is noticed within as many, and one request in that time costs it nothing."""

    finalizer_tries: int = 5
    """Writes in a row that may find an object changed before adding or removing a finalizer fails with Conflict.
    client-go's RetryOnConflict gives up after as many.
    """

    retry_after_cap: float = 60.0
    """Seconds. The longest pause that a server's Retry-After is believed to ask for. kube-apiserver asks for one; a
    proxy that names an hour would keep a status from being written for as long.
    """

    page_size: PositiveInt = 500
    """Objects per page of a list. client-go's choice: a page of 500 pods is about 2 MB, 10 ms of decoding."""

    def __post_init__(self) -> None:
        for field in ("writes_at_once", "deletes_at_once", "status_at_once", "reads_at_once", "leases_at_once"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1: at {getattr(self, field)}, no such request is ever sent")
        if not (self.slow_creates > 0 and self.slow_creates_ratio >= 1):
            raise ValueError(
                f"slow_creates must be over 0 and slow_creates_ratio at least 1; they are {self.slow_creates} and "
                f"{self.slow_creates_ratio}: every create would be slow"
            )
        if self.finalizer_tries < 1:
            raise ValueError(f"finalizer_tries must be at least 1, and is {self.finalizer_tries}")
        if not 0 < self.reach_backoff <= self.reach_backoff_cap < float("inf"):
            raise ValueError(
                f"reach_backoff must be over 0 and at most reach_backoff_cap; they are {self.reach_backoff} and "
                f"{self.reach_backoff_cap}"
            )
        if not self.retry_after_cap >= 1:
            raise ValueError(f"retry_after_cap must be at least 1 second, and is {self.retry_after_cap}")
