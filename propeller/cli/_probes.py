"""/healthz, /readyz, /queue and /clusters of `propeller controller`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import orjson

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.controller import WorkflowController
from propeller.errors import Unavailable
from propeller.handlers import Asked
from propeller.kube import Client
from propeller.reconcile import Election
from propeller.reconcile.shards import Membership


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
        self.membership: Membership | None = None
        """If the process divides shards with others."""
        self.controller: WorkflowController | None = None
        self._next_page = -math.inf
        """Monotonic seconds from which on another page of the queue may be made."""

    def live(self) -> str | None:
        """Why the process should be restarted, None while all is well."""
        return self._refused() or (self.controller.liveness() if self.controller is not None else None)

    def ready(self) -> str | None:
        """Why it cannot do its part, None if it can."""
        if (refused := self._refused()) is not None:
            return refused
        if self.waits_for:
            return f"waiting for {self.waits_for}"
        if self.membership is not None and self.leads:
            return self.membership.readiness()
        if self.election is not None and self.election.trouble:
            return self.election.trouble
        if self.election is not None and not self.leads:
            return None if self.election.holder else f"lease {self.election.lease} has not been looked at yet"
        return None if self.controller is not None else "the caches are not filled yet"

    def queue(self, query: Mapping[str, str]) -> bytes:
        """Who holds and waits for which tokens, as JSON. Raises Invalid, Unavailable."""
        controller = self._running()
        began = self._clock.monotonic()
        if began < self._next_page:
            raise Unavailable("asked too often: pages take a tenth of the controller's time and no more")
        page = orjson.dumps(controller.queue(Asked.of(query)))
        now = self._clock.monotonic()
        self._next_page = now + 9 * (now - began)
        return page

    def clusters(self, query: Mapping[str, str]) -> bytes:
        """How the clusters of the routing table are, as JSON. Raises Unavailable."""
        return orjson.dumps(self._running().several.page())

    def _running(self) -> WorkflowController:
        if self.controller is None:
            leader = (
                "" if self.election is None or self.leads else f": {self.election.holder or 'nobody'} has the lease"
            )
            raise Unavailable(f"this process does not run workflows now{leader}")
        return self.controller

    def _refused(self) -> str | None:
        since = self._client.requests.refused_since
        if since is None or (seconds := self._clock.monotonic() - since) < self._refused_for:
            return None
        return f"the API server has refused our credentials for {seconds:.0f} s, or none can be obtained"
