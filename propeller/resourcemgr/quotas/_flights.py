"""Launches that have room: they are counted as used here until the statuses of their quotas have them.

Guarantees
    Pure, as the whole room. A flight counts once: in `Count`, until a status of the quota is at least as new as its
    object, or `settle` seconds after the server's answer, by when statuses are believed. Room of which nothing was sent
    for `unused` seconds comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from propeller.resourcemgr.quotas._count import Count
from propeller.resourcemgr.quotas._launch import Pace
from propeller.resourcemgr.quotas._line import Needs
from propeller.resourcemgr.quotas._quota import Quota

_NEVER = float("inf")


class _Flight:
    __slots__ = ("answered", "needs", "since", "version")

    def __init__(self, needs: Needs, since: float) -> None:
        self.needs = needs
        """What no status has yet."""
        self.since = since
        """When it got its room, if nothing was sent yet; else infinite."""
        self.answered = _NEVER
        self.version = 0


class Flights:
    """By the launch's id. `counts` are those of the namespace's quotas, by name, as they come and go."""

    def __init__(self, counts: Mapping[str, Count], pace: Pace) -> None:
        self._counts = counts
        self._pace = pace
        self._of: dict[str, _Flight] = {}
        self._seen: dict[str, _Flight] = {}
        """Those whose object is seen, and that some status lacks."""
        self._expires = _NEVER
        """None is believed, or taken back, before."""

    def begin(self, name: str, needs: Needs, since: float) -> None:
        """Take the room of a launch; `since` is infinite if its create is sent at once."""
        self._of[name] = _Flight(needs, since)
        self._expires = min(self._expires, since + self._pace.unused)
        for quota, resource, amount in needs:
            self._counts[quota].send(resource, amount)

    def send(self, name: str) -> bool:
        """The create of a launch is about to be sent: its room is used. Returns whether it has any."""
        if (flight := self._of.get(name)) is None:
            return False
        flight.since = _NEVER
        return True

    def answered(self, name: str, now: float) -> None:
        """A create was accepted, or had no answer: the statuses have it soon."""
        if (flight := self._of.get(name)) is not None and flight.answered > now:
            flight.answered = now
            self._expires = min(self._expires, now + self._pace.settle)
            for quota, _, _ in flight.needs:
                if (count := self._counts.get(quota)) is not None:
                    count.refusals = 0

    def shown(self, name: str, version: int) -> None:
        """The object of a launch is seen, with this version."""
        flight = self._of.get(name)
        if flight is None or flight.version:
            return
        flight.version = version
        if version:
            self._seen[name] = flight
        for quota, count in self._counts.items():
            if 0 < version <= count.quota.version:
                self._land(name, flight, quota)

    def land(self, quota: Quota) -> None:
        """The status of a quota has all launches whose objects are no newer."""
        for name, flight in tuple(self._seen.items()):
            if self._of.get(name) is not flight:
                del self._seen[name]
            elif flight.version <= quota.version:
                self._land(name, flight, quota.name)

    def _land(self, name: str, flight: _Flight, quota: str) -> None:
        landed = tuple(need for need in flight.needs if need[0] == quota)
        if landed:
            self._take_back(landed)
            flight.needs = tuple(need for need in flight.needs if need[0] != quota)
            if not flight.needs:
                del self._of[name]

    def end(self, name: str) -> bool:
        """Nothing was created: give the room of a launch back. Returns whether it had any."""
        if (flight := self._of.pop(name, None)) is None:
            return False
        self._take_back(flight.needs)
        return True

    def expire(self, now: float) -> None:
        """Believe the statuses about launches that were answered a while ago; take back room that nobody has used."""
        if now < self._expires:
            return
        self._expires = _NEVER
        for name, flight in tuple(self._of.items()):
            expires = self._end_of(flight)
            if expires <= now:
                del self._of[name]
                self._take_back(flight.needs)
            else:
                self._expires = min(self._expires, expires)

    def ends(self) -> Iterator[float]:
        """When each is believed, or taken back; infinite for what has no answer yet."""
        return map(self._end_of, self._of.values())

    def forget_quotas(self) -> None:
        """Some quotas are gone, and what was taken of them."""
        for name, flight in tuple(self._of.items()):
            flight.needs = tuple(need for need in flight.needs if need[0] in self._counts)
            if not flight.needs:
                del self._of[name]

    def _end_of(self, flight: _Flight) -> float:
        return min(flight.answered + self._pace.settle, flight.since + self._pace.unused)

    def _take_back(self, needs: Needs) -> None:
        for quota, resource, amount in needs:
            if (count := self._counts.get(quota)) is not None:
                count.send(resource, -amount)
