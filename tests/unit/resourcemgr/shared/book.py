"""Processes that share a store, and what they were granted; without faults, in seconds of a clock that a test sets."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from propeller.resourcemgr import Claim, Limits
from propeller.resourcemgr.shared._member import Member
from propeller.resourcemgr.shared._store import Store
from tests.unit.resourcemgr.shared.exchange import primer

_TTL = 3_600_000


class SharedBook:
    """Claims come to one process after the other. What they ask for and release is stated, by one exchange of each,
    when `held` is looked at.
    """

    def __init__(self, of: Limits, processes: int) -> None:
        self.now = 100.0
        self.store = Store()
        self.store.exchange(primer(), self.now * 1000, "run")
        self.now += 10.0
        names = [f"p{number}" for number in range(processes)]
        self.members = {name: Member(name, _TTL, of, lambda _: None, lambda *_: None) for name in names}
        self._woken: set[str] = set()
        self._claims: dict[str, tuple[Claim, Member]] = {}
        self._held: dict[str, Claim] = {}
        self._count = count()
        for member in self.members.values():
            self._exchange(member)

    def acquire(self, tenant: str, *needs: tuple[str, int]) -> str:
        number = next(self._count)
        claim = Claim(f"{tenant} {number}", tuple(tenant.split("/")), needs)
        member = self.members[f"p{number % len(self.members)}"]
        self._claims[claim.id] = claim, member
        if member.request(claim, self.now * 1000):
            self._held[claim.id] = claim
        return claim.id

    def release(self, name: str) -> None:
        _, member = self._claims.pop(name)
        self._held.pop(name, None)
        member.release(name)

    @property
    def held(self) -> Mapping[str, Claim]:
        """What has its tokens, once all processes have stated what is new, and have heard of what was granted."""
        while news := [member for member in self.members.values() if member.is_ahead or member.name in self._woken]:
            for member in news:
                self._exchange(member)
        return self._held

    def _exchange(self, member: Member) -> None:
        answer = self.store.exchange(member.statement(), self.now * 1000, "run")
        self._woken = (self._woken | self.store.woken) - {member.name}
        for name in member.accept(answer):
            self._held[name] = self._claims[name][0]
