"""Claims of one tenant that wait in this process: by priority, and within a priority in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from propeller.resourcemgr.shared._kinds import Kind
from propeller.resourcemgr.shared._messages import MAX_RUNS, Run


class Streak:
    """Claims of one priority that wait one after the other and are of one kind: when each came, in the store's time."""

    __slots__ = ("claims", "kind", "priority")

    def __init__(self, kind: Kind, priority: int) -> None:
        self.kind = kind
        self.priority = priority
        self.claims: dict[str, float] = {}

    def renew(self, kind: Kind) -> None:
        """Be of another kind, all of them."""
        self.kind.waiting -= len(self.claims)
        kind.waiting += len(self.claims)
        self.kind = kind


class Lane:
    """See the module's text. `remove` and `amend` cost O(streaks), `amend` O(the claim's streak) more."""

    __slots__ = ("_streaks", "size")

    def __init__(self) -> None:
        self._streaks: dict[int, list[Streak]] = {}
        """By priority, the highest first."""
        self.size = 0

    def __iter__(self) -> Iterator[Streak]:
        return (streak for streaks in self._streaks.values() for streak in streaks)

    def add(self, name: str, kind: Kind, priority: int, since: float) -> Streak:
        """Let a claim wait."""
        streaks = self._streaks.get(priority)
        if streaks is None:
            streaks = []
            self._streaks = dict(sorted([*self._streaks.items(), (priority, streaks)], reverse=True))
        if not streaks or streaks[-1].kind is not kind:
            streaks.append(Streak(kind, priority))
        streaks[-1].claims[name] = since
        kind.waiting += 1
        self.size += 1
        return streaks[-1]

    def remove(self, name: str, streak: Streak) -> None:
        """Let a claim of the streak wait no more."""
        del streak.claims[name]
        streak.kind.waiting -= 1
        self.size -= 1
        if not streak.claims:
            streaks = self._streaks[streak.priority]
            streaks.remove(streak)
            if not streaks:
                del self._streaks[streak.priority]

    def amend(self, name: str, streak: Streak, kind: Kind) -> dict[str, Streak]:
        """Have a claim be of another kind, at its place; returns the claims whose streak is another one now."""
        before, own, after = streak, Streak(kind, streak.priority), Streak(streak.kind, streak.priority)
        names = list(streak.claims)
        own.claims = {name: streak.claims.pop(name)}
        for later in names[names.index(name) + 1 :]:
            after.claims[later] = streak.claims.pop(later)
        streak.kind.waiting -= 1
        kind.waiting += 1
        streaks = self._streaks[streak.priority]
        at = streaks.index(streak)
        streaks[at : at + 1] = [one for one in (before, own, after) if one.claims]
        return {moved: one for one in (own, after) for moved in one.claims}

    def take(self, items: str, count: int) -> list[str]:
        """Remove the first claims that take `items`; returns their names: fewer, if fewer wait."""
        taken: list[str] = []
        for streak in [streak for streak in self if streak.kind.items == items]:
            for name in list(islice(streak.claims, count - len(taken))):
                self.remove(name, streak)
                taken.append(name)
            if len(taken) == count:
                break
        return taken

    def ahead_of(self, name: str, streak: Streak) -> int:
        """Claims that go before this one."""
        count = 0
        for one in self:
            if one is streak:
                break
            count += len(one.claims)
        return count + next(index for index, other in enumerate(streak.claims) if other == name)

    def stated(self) -> tuple[Run, ...]:
        """What the store has to know of them."""
        return tuple(
            (streak.kind.items, len(streak.claims), streak.priority, next(iter(streak.claims.values())))
            for streak in islice(iter(self), MAX_RUNS)
        )

    @property
    def rest(self) -> int:
        """Claims that `stated` leaves out."""
        return self.size - sum(len(streak.claims) for streak in islice(iter(self), MAX_RUNS)) if self.is_long else 0

    @property
    def is_long(self) -> bool:
        """Whether it has claims that `stated` leaves out."""
        return sum(map(len, self._streaks.values())) > MAX_RUNS
