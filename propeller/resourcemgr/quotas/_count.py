"""How much of one quota is used, between what its status says and what is known beside it.

Guarantees
    A launch is counted from when it is sent until the status has it, and once: the API server charges a quota before it
    stores the pod, so a status that is as new as the pod has it. One that is older is believed `settle` seconds after
    the answer to the create, so that no room is unused for ever.
    What a refusal has said is counted until the status says as much, or `until`: a status that lags does not lead to
    the same refusal again.
Assumptions
    Quotas and pods are in one etcd, whose versions grow. If they are not, only the time decides.
"""

from __future__ import annotations

from propeller.resourcemgr.quotas._quota import Quota, Refusal

ADMISSION_LAG = 0.05
"""Seconds after room has come until it is used: the API server's admission reads quotas from a cache of its own, which
is late as well.
"""


class Count:
    """One quota. Amounts are by resource; `now` is monotonic, in seconds."""

    def __init__(self, quota: Quota, now: float) -> None:
        self.quota = quota
        self.closed_until = 0.0
        self.refusals = 0
        """In a row."""
        self._in_flight: dict[str, int] = {}
        self._said: dict[str, int] = {}
        """Used, by the last refusal."""
        self._said_until = 0.0
        self._most_since = dict.fromkeys(quota.hard, now)

    def observe(self, quota: Quota, now: float) -> None:
        """Take a newer state of the quota."""
        before = self.quota
        for resource in quota.hard:
            if resource not in before.hard or quota.most(resource) != before.most(resource):
                self._most_since[resource] = now
        for resource, said in tuple(self._said.items()):
            used = quota.used.get(resource, 0)
            said -= max(0, before.used.get(resource, 0) - used)
            if used >= said:
                del self._said[resource]
            else:
                self._said[resource] = said
        has_more_room = any(
            quota.hard[resource] - quota.used.get(resource, 0)
            > before.hard.get(resource, 0) - before.used.get(resource, 0)
            for resource in quota.hard
        )
        if has_more_room and now >= self.closed_until:
            self.closed_until = now + ADMISSION_LAG
        self.quota = quota

    def send(self, resource: str, amount: int) -> None:
        """A launch that takes so much is sent; with a negative amount, it is in the status or was refused."""
        self._in_flight[resource] = self._in_flight.get(resource, 0) + amount

    def refused(self, refusal: Refusal, until: float) -> None:
        """The API server has refused a launch, with these numbers."""
        self._said |= refusal.used
        self._said_until = until

    def used(self, resource: str, now: float) -> int:
        """What is used, with launches under way."""
        said = self._said.get(resource, 0) if now < self._said_until else 0
        return max(self.quota.used.get(resource, 0), said) + self._in_flight.get(resource, 0)

    def room(self, resource: str, now: float) -> int:
        """What a launch may take. Nothing while it is not known what is used: the API server refuses all then."""
        if resource not in self.quota.used or now < self.closed_until:
            return 0
        return self.quota.hard.get(resource, 0) - self.used(resource, now)

    def too_small_since(self, resource: str, amount: int) -> float | None:
        """Since when the quota is too small for a single pod with this amount; None if it is not."""
        most = self.quota.most(resource)
        return None if most is None or amount <= most else self._most_since[resource]

    def wakes(self, now: float) -> list[float]:
        """When time alone may make room."""
        said = [self._said_until] if self._said else []
        return [time for time in (*said, self.closed_until) if time > now]
