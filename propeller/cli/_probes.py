"""/healthz and /readyz of `propeller controller`."""

from __future__ import annotations

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.controller import WorkflowController
from propeller.kube import Client
from propeller.reconcile import Election


class Probes:
    """The probes of one process. Parts that do not exist yet are None.

    The process is live unless its reconciles hang, or its credentials have been refused for `refused_for` seconds. It
    is ready if its caches are filled, or if it is a standby: another process holds the lease, and this one can read and
    write it. So a rolling update of several replicas completes, although only one is active.
    """

    def __init__(self, client: Client, refused_for: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = client
        self._refused_for = refused_for
        self._clock = clock
        self.waits_for = ""
        """What the process waits for before it can start, such as an unreachable API server; "" for nothing."""
        self.election: Election | None = None
        self.leads = False
        self.controller: WorkflowController | None = None

    def live(self) -> str | None:
        """Why the process should be restarted, None while all is well."""
        return self._refused() or (self.controller.liveness() if self.controller is not None else None)

    def ready(self) -> str | None:
        """Why it cannot do its part, None if it can."""
        if (refused := self._refused()) is not None:
            return refused
        if self.waits_for:
            return f"waiting for {self.waits_for}"
        if self.election is not None and self.election.trouble:
            return self.election.trouble
        if self.election is not None and not self.leads:
            return None if self.election.holder else f"lease {self.election.lease} has not been looked at yet"
        return None if self.controller is not None else "the caches are not filled yet"

    def _refused(self) -> str | None:
        since = self._client.requests.refused_since
        if since is None or (seconds := self._clock.monotonic() - since) < self._refused_for:
            return None
        return f"the API server has refused our credentials for {seconds:.0f} s, or none can be obtained"
