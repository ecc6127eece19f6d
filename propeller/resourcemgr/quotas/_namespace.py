"""The quotas of one namespace, and the launches that take of them or wait for room.

Guarantees
    Pure: no I/O, and no clock of its own.
    A launch has room in all quotas that it takes of, or waits: without a request, and woken by what makes room.
    Tenants that share the namespace take turns (`Line`).
    `granted` is called with the id of each launch that has waited and has room now; it returns whether that is still
    wanted. Room that was granted comes back after `unused` seconds if nothing was sent.
    A refusal in spite of the count corrects it: with what the server says is used, and with what it says the pod takes,
    which an admission webhook may have made more.
Errors
    TooSmall for a launch that is larger than a whole quota, once that has been so for `patience` seconds: a quota that
    is lowered by mistake is mended within minutes, and a task that is too large never becomes smaller. OutOfRange for
    one that a limit range never allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from propeller.resourcemgr._limits import Path
from propeller.resourcemgr.quotas._count import Count
from propeller.resourcemgr.quotas._flights import Flights
from propeller.resourcemgr.quotas._launch import Launch, OutOfRange, Pace, QuotaWait, TooSmall
from propeller.resourcemgr.quotas._line import Line, Needs
from propeller.resourcemgr.quotas._needs import LaunchNeeds
from propeller.resourcemgr.quotas._quota import Quota, Refusal, is_of_every_pod, text


class NamespaceQuotas:
    """See the module's text. More than 15 methods: one for each thing that happens to a quota, or to a launch."""

    def __init__(
        self,
        granted: Callable[[str], bool],
        pace: Pace = Pace(),  # noqa: B008 - frozen
        weight_of: Callable[[Path], float] = lambda tenant: 1.0,
    ) -> None:
        self._granted = granted
        self._pace = pace
        self._counts: dict[str, Count] = {}
        self._needs = LaunchNeeds(self._counts)
        self._flights = Flights(self._counts, pace)
        self._line = Line(pace.max_bypass, weight_of)
        self._launches: dict[str, Launch] = {}
        """Those that wait."""

    # quotas

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return bool(self._counts) or self._needs.has_bounds

    @property
    def is_empty(self) -> bool:
        """Whether it can be forgotten."""
        return not (self._counts or self._needs.has_limit_ranges)

    @property
    def waiting(self) -> int:
        """Launches that wait."""
        return len(self._line)

    def exhausted(self, now: float) -> str:
        """Say which quota has no room for another pod, whatever its requests; "" if none is known to be exhausted.

        Quotas with scopes are left out: they may not be about the next pod.
        """
        self._flights.expire(now)
        for name, count in self._counts.items():
            if count.quota.spec:
                continue
            for resource, hard in count.quota.hard.items():
                if is_of_every_pod(resource) and (used := count.used(resource, now)) >= hard:
                    return f"quota {name}: {text(resource, used)} of {text(resource, hard)} {resource} used"
        return ""

    def used(self, quota: str, now: float) -> dict[str, int]:
        """What is used of a quota, with launches under way: of CPU thousandths of a core, else units."""
        count = self._counts[quota]
        return {resource: count.used(resource, now) for resource in count.quota.hard}

    def observe(self, quota: Quota, now: float) -> None:
        """Take a quota's newest state."""
        count = self._counts.get(quota.name)
        if count is None or count.quota.uid != quota.uid:
            self._counts[quota.name] = Count(quota, now)
            self._structure_changed()
        else:
            before = count.quota
            count.observe(quota, now)
            if before.hard.keys() != quota.hard.keys() or before.spec != quota.spec:
                self._structure_changed()
        self._flights.land(quota)
        self._flights.expire(now)
        self.serve(now)

    def forget(self, name: str, now: float) -> None:
        """A quota is gone."""
        if self._counts.pop(name, None) is not None:
            self._structure_changed()
            self.serve(now)

    def limit_range(self, name: str, spec: Mapping[str, Any] | None, now: float) -> None:
        """Take the spec of a limit range; None if it is gone."""
        self._needs.limit_range(name, spec)
        self._structure_changed()
        self.serve(now)

    # launches

    def ask(self, launch: Launch, since: float, now: float) -> QuotaWait | None:
        """Give a launch its room; if there is none, it waits, and `since` is its place. Raises TooSmall."""
        if self._flights.send(launch.id):
            return None
        needs = self._needs.of(launch)
        if why := self._needs.why_never(launch):
            raise OutOfRange(why)
        if not needs:
            self.give_up(launch.id, now)
            return None
        self._check(needs, now)
        if not self._line and self._fits(needs, now):
            self._flights.begin(launch.id, needs, float("inf"))
            return None
        self._wait(launch, needs, since)
        self.serve(now, asking=launch.id)
        return self._explain(needs, now) if launch.id in self._line else None

    def _wait(self, launch: Launch, needs: Needs, since: float) -> None:
        self._launches[launch.id] = launch
        self._line.add(launch.id, needs, since, launch.tenant)

    def answered(self, name: str, now: float) -> None:
        """A create was accepted, or had no answer: the statuses have it soon."""
        self._flights.answered(name, now)

    def shown(self, name: str, version: int) -> None:
        """The object is seen, with this version."""
        self._flights.shown(name, version)

    def give_up(self, name: str, now: float) -> None:
        """Nothing was created, and the launch waits no more."""
        waited = self._line.remove(name)
        self._launches.pop(name, None)
        if self._flights.end(name) or waited:
            self.serve(now)

    def refused(self, launch: Launch, refusal: Refusal, since: float, now: float) -> QuotaWait | None:
        """The API server has refused the launch: correct the count, and have it wait. None if the quota is unknown."""
        self._flights.end(launch.id)
        count = self._counts.get(refusal.quota)
        if count is None:
            return None
        pause = min(self._pace.pause * 2.0 ** min(count.refusals, 30), self._pace.pause_cap)
        count.refusals += 1
        count.refused(refusal, now + pause)
        self._needs.learn(launch, refusal)
        needs = self._needs.of(launch)
        if self._fits(needs, now) or not needs:
            count.closed_until = now + pause
        self._wait(launch, needs, since)
        return self._explain(needs, now)

    # time

    def serve(self, now: float, asking: str = "") -> None:
        """Grant what has room; the one that is `asking` is not called back."""
        if self._line:
            self._flights.expire(now)
        while self._line:
            waiter = self._line.next(lambda needs: self._fits(needs, now), self._can_fit, self._part)
            if waiter is None:
                return
            del self._launches[waiter.id]
            if waiter.id == asking:
                self._flights.begin(waiter.id, waiter.needs, float("inf"))
                continue
            self._flights.begin(waiter.id, waiter.needs, now)
            if not self._granted(waiter.id):
                self._flights.end(waiter.id)

    def next_wake(self, now: float) -> float | None:
        """When `serve` has to be called, though nothing happens; None if nothing waits for time to pass."""
        if not self._line:
            return None
        times = [time for count in self._counts.values() for time in count.wakes(now)]
        times += self._flights.ends()
        return min((time for time in times if time < float("inf")), default=None)

    # room

    def _fits(self, needs: Needs, now: float) -> bool:
        return all(self._counts[quota].room(resource, now) >= amount for quota, resource, amount in needs)

    def _can_fit(self, needs: Needs) -> bool:
        return all(self._counts[quota].quota.hard[resource] >= amount for quota, resource, amount in needs)

    def _part(self, needs: Needs) -> float:
        """The largest part of a quota that a launch takes."""
        hard = ((self._counts[quota].quota.hard[resource], amount) for quota, resource, amount in needs)
        return max((amount / most for most, amount in hard if most), default=1.0)

    def _check(self, needs: Needs, now: float) -> None:
        for quota, resource, amount in needs:
            since = self._counts[quota].too_small_since(resource, amount)
            if since is not None and now - since >= self._pace.patience:
                most = self._counts[quota].quota.most(resource) or 0
                raise TooSmall(
                    f"it needs {text(resource, amount)} of {resource}, and quota {quota!r} of its namespace never has "
                    f"more than {text(resource, most)}: lower what the task requests, or raise the quota"
                )

    def _explain(self, needs: Needs, now: float) -> QuotaWait:
        for quota, resource, amount in needs:
            count = self._counts[quota]
            hard, needed = text(resource, count.quota.hard[resource]), text(resource, amount)
            since = count.too_small_since(resource, amount)
            if since is not None:
                after = max(1.0, since + self._pace.patience - now)
                return QuotaWait(quota, f"{resource} has {hard} in all, and it needs {needed}", after)
            if resource not in count.quota.used:
                return QuotaWait(quota, f"it is not known yet how much {resource} is used")
            if count.room(resource, now) < amount:
                used = text(resource, count.used(resource, now))
                return QuotaWait(quota, f"{used} of {hard} {resource} used, and it needs {needed}")
        return QuotaWait(needs[0][0] if needs else "", "others have waited for longer")

    def _structure_changed(self) -> None:
        """Other quotas, or other resources, are limited: what launches need has to be known anew."""
        self._needs.forget_all()
        for name, launch in self._launches.items():
            self._line.add(name, self._needs.of(launch), 0.0, launch.tenant)
        self._flights.forget_quotas()
