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

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from propeller.errors import Invalid
from propeller.resourcemgr._limits import Path
from propeller.resourcemgr.quotas._count import Count
from propeller.resourcemgr.quotas._launch import Launch, OutOfRange, Pace, QuotaWait, TooSmall
from propeller.resourcemgr.quotas._limit_ranges import apply_limit_ranges, bounds, out_of_range
from propeller.resourcemgr.quotas._line import Line, Needs
from propeller.resourcemgr.quotas._quota import Quota, Refusal, is_of_every_pod, text, whole
from propeller.resourcemgr.quotas._usage import is_best_effort, pod_usage, with_defaults

_KEPT_NEEDS = 1024
"""By kind of launch. Kinds come from strangers."""


class _Flight:
    """A launch that has room, until the statuses of its quotas have it."""

    __slots__ = ("answered", "needs", "since", "version")

    def __init__(self, needs: Needs, since: float) -> None:
        self.needs = needs
        """What no status has yet."""
        self.since = since
        """When it got its room, if nothing was sent yet; else infinite."""
        self.answered = float("inf")
        self.version = 0


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
        self._limit_ranges: dict[str, Mapping[str, Any]] = {}
        self._needs: dict[Hashable, Needs] = {}
        self._out_of_range: dict[Hashable, str] = {}
        """By kind of launch that no limit range will ever allow: why."""
        self._taught: dict[Hashable, dict[tuple[str, str], int]] = {}
        self._flights: dict[str, _Flight] = {}
        self._seen: dict[str, _Flight] = {}
        """Those whose object is seen, and that some status lacks."""
        self._expires = float("inf")
        """No flight is believed, or taken back, before."""
        self._line = Line(pace.max_bypass, weight_of)
        self._launches: dict[str, Launch] = {}
        """Those that wait."""

    # quotas

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return bool(self._counts) or any(map(bounds, self._limit_ranges.values()))

    @property
    def is_empty(self) -> bool:
        """Whether it can be forgotten."""
        return not (self._counts or self._limit_ranges)

    @property
    def waiting(self) -> int:
        """Launches that wait."""
        return len(self._line)

    def exhausted(self, now: float) -> str:
        """Say which quota has no room for another pod, whatever its requests; "" if none is known to be exhausted.

        Quotas with scopes are left out: they may not be about the next pod.
        """
        self._expire(now)
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
        for name, flight in tuple(self._seen.items()):
            if self._flights.get(name) is not flight:
                del self._seen[name]
            elif flight.version <= quota.version:
                self._land(name, flight, quota.name)
        self._expire(now)
        self.serve(now)

    def forget(self, name: str, now: float) -> None:
        """A quota is gone."""
        if self._counts.pop(name, None) is not None:
            self._structure_changed()
            self.serve(now)

    def limit_range(self, name: str, spec: Mapping[str, Any] | None, now: float) -> None:
        """Take the spec of a limit range; None if it is gone."""
        if spec is None:
            self._limit_ranges.pop(name, None)
        else:
            self._limit_ranges[name] = spec
        self._structure_changed()
        self.serve(now)

    # launches

    def ask(self, launch: Launch, since: float, now: float) -> QuotaWait | None:
        """Give a launch its room; if there is none, it waits, and `since` is its place. Raises TooSmall."""
        flight = self._flights.get(launch.id)
        if flight is not None:
            flight.since = float("inf")
            return None
        needs = self._needs_of(launch)
        if self._out_of_range and (why := self._out_of_range.get(launch.kind)):
            raise OutOfRange(why)
        if not needs:
            self.give_up(launch.id, now)
            return None
        self._check(needs, now)
        if not self._line and self._fits(needs, now):
            self._depart(launch.id, needs, float("inf"))
            return None
        self._wait(launch, needs, since)
        self.serve(now, asking=launch.id)
        return self._explain(needs, now) if launch.id in self._line else None

    def _wait(self, launch: Launch, needs: Needs, since: float) -> None:
        self._launches[launch.id] = launch
        self._line.add(launch.id, needs, since, launch.tenant)

    def answered(self, name: str, now: float) -> None:
        """A create was accepted, or had no answer: the statuses have it soon."""
        if (flight := self._flights.get(name)) is not None and flight.answered > now:
            flight.answered = now
            self._expires = min(self._expires, now + self._pace.settle)
            for quota, _, _ in flight.needs:
                if (count := self._counts.get(quota)) is not None:
                    count.refusals = 0

    def shown(self, name: str, version: int) -> None:
        """The object is seen, with this version."""
        flight = self._flights.get(name)
        if flight is None or flight.version:
            return
        flight.version = version
        if version:
            self._seen[name] = flight
        for quota, count in self._counts.items():
            if 0 < version <= count.quota.version:
                self._land(name, flight, quota)

    def give_up(self, name: str, now: float) -> None:
        """Nothing was created, and the launch waits no more."""
        waited = self._line.remove(name)
        self._launches.pop(name, None)
        if (flight := self._flights.pop(name, None)) is not None:
            self._take_back(flight.needs)
        if flight is not None or waited:
            self.serve(now)

    def refused(self, launch: Launch, refusal: Refusal, since: float, now: float) -> QuotaWait | None:
        """The API server has refused the launch: correct the count, and have it wait. None if the quota is unknown."""
        if (flight := self._flights.pop(launch.id, None)) is not None:
            self._take_back(flight.needs)
        count = self._counts.get(refusal.quota)
        if count is None:
            return None
        pause = min(self._pace.pause * 2.0 ** min(count.refusals, 30), self._pace.pause_cap)
        count.refusals += 1
        count.refused(refusal, now + pause)
        if len(self._taught) >= _KEPT_NEEDS:
            self._taught.clear()
        known = self._taught.setdefault(launch.kind, {})
        known |= {(refusal.quota, name): amount for name, amount in refusal.requested.items()}
        self._needs.pop(launch.kind, None)
        needs = self._needs_of(launch)
        if self._fits(needs, now) or not needs:
            count.closed_until = now + pause
        self._wait(launch, needs, since)
        return self._explain(needs, now)

    # time

    def serve(self, now: float, asking: str = "") -> None:
        """Grant what has room; the one that is `asking` is not called back."""
        if self._line:
            self._expire(now)
        while self._line:
            waiter = self._line.next(lambda needs: self._fits(needs, now), self._can_fit, self._part)
            if waiter is None:
                return
            del self._launches[waiter.id]
            if waiter.id == asking:
                self._depart(waiter.id, waiter.needs, float("inf"))
                continue
            self._depart(waiter.id, waiter.needs, now)
            if not self._granted(waiter.id):
                self._take_back(self._flights.pop(waiter.id).needs)

    def _expire(self, now: float) -> None:
        """Believe the statuses about launches that were answered a while ago; take back room that nobody has used."""
        if now < self._expires:
            return
        self._expires = float("inf")
        for name, flight in tuple(self._flights.items()):
            expires = min(flight.answered + self._pace.settle, flight.since + self._pace.unused)
            if expires <= now:
                del self._flights[name]
                self._take_back(flight.needs)
            else:
                self._expires = min(self._expires, expires)

    def next_wake(self, now: float) -> float | None:
        """When `serve` has to be called, though nothing happens; None if nothing waits for time to pass."""
        if not self._line:
            return None
        times = [time for count in self._counts.values() for time in count.wakes(now)]
        times += [
            min(flight.answered + self._pace.settle, flight.since + self._pace.unused)
            for flight in self._flights.values()
        ]
        return min((time for time in times if time < float("inf")), default=None)

    # counting

    def _depart(self, name: str, needs: Needs, since: float) -> None:
        self._flights[name] = _Flight(needs, since)
        self._expires = min(self._expires, since + self._pace.unused)
        for quota, resource, amount in needs:
            self._counts[quota].send(resource, amount)

    def _land(self, name: str, flight: _Flight, quota: str) -> None:
        """The status of a quota has the launch."""
        landed = tuple(need for need in flight.needs if need[0] == quota)
        if landed:
            self._take_back(landed)
            flight.needs = tuple(need for need in flight.needs if need[0] != quota)
            if not flight.needs:
                del self._flights[name]

    def _take_back(self, needs: Needs) -> None:
        for quota, resource, amount in needs:
            if (count := self._counts.get(quota)) is not None:
                count.send(resource, -amount)

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

    # what launches need

    def _structure_changed(self) -> None:
        """Other quotas, or other resources, are limited: what launches need has to be known anew."""
        self._needs.clear()
        self._out_of_range.clear()
        for name, launch in self._launches.items():
            self._line.add(name, self._needs_of(launch), 0.0, launch.tenant)
        for name, flight in tuple(self._flights.items()):
            flight.needs = tuple(need for need in flight.needs if need[0] in self._counts)
            if not flight.needs:
                del self._flights[name]

    def _needs_of(self, launch: Launch) -> Needs:
        found = self._needs.get(launch.kind)
        if found is None:
            if len(self._needs) >= _KEPT_NEEDS:
                self._needs.clear()
                self._out_of_range.clear()
            found = self._needs[launch.kind] = tuple(self._computed(launch))
        return found

    def _computed(self, launch: Launch) -> Iterable[tuple[str, str, int]]:
        used = {launch.counted_as: 1}
        try:
            pod = None if launch.spec is None else self._admitted(launch.spec())
            if pod is not None:
                if why := out_of_range(pod["spec"], self._limit_ranges):
                    self._out_of_range[launch.kind] = why
                used |= {name: whole(name, amount) for name, amount in pod_usage(pod).items()}
        except Invalid:
            return  # the API server says what is wrong with it
        taught = self._taught.get(launch.kind, {})
        for quota, count in sorted(self._counts.items()):
            if pod is None and count.quota.spec:
                continue  # a quota with scopes counts nothing but pods
            if pod is not None and not count.quota.is_about(pod):
                continue
            for resource in count.quota.hard:
                amount = max(used.get(resource, 0), taught.get((quota, resource), 0))
                if amount:
                    yield quota, resource, amount

    def _admitted(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The pod as quotas see it: after defaults of the API server and of limit ranges."""
        ranges = [self._limit_ranges[name] for name in sorted(self._limit_ranges)]
        filled = {
            field: [apply_limit_ranges(with_defaults(container), ranges) for container in spec.get(field) or ()]
            for field in ("containers", "initContainers")
        }
        whole_spec = {**spec, **filled}
        best_effort = is_best_effort(whole_spec)
        return {"spec": whole_spec, "status": {"qosClass": "BestEffort" if best_effort else "Burstable"}}
