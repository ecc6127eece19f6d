"""Who of those beside each other has held more than its part of late: what is left over when parts are rounded to whole
tokens is carried over to the next time.

Of 40 slots, tenants of weights 1, 2 and 4 have a right to 5.7, 11.4 and 22.9. If the smallest share is always next,
they hold 6, 11 and 23 whenever all slots come free together: 5 % off, for ever. Therefore a tenant is `ahead` once it
has held more than the others, by its weight, for longer than it has held less; then it is compared by the share that it
would have with one claim more. So its share is rounded down for as long as it was rounded up, and the mean is right.

Guarantees
    Each call costs O(1). What is compared is time, so that tasks may take as long as they like.
    A tenant without waiting claims earns no credit, soon loses what it had, and no debt is forgiven it. A difference of
    more than the largest claim of any of them does not count, as no rounding makes it, nor does anything that a tenant
    had before others waited beside it: what it was lent it does not owe.
"""

from __future__ import annotations

ROUNDING = 1e-9
"""Seconds: a claim's difference for less than this comes from sums of parts."""


_LITTLE = 0.1
"""Of a claim. Tokens are not left idle for a difference that is smaller."""

_AWAY = 1.0
"""Seconds without waiting claims after which a tenant has lost its credit. If it is back sooner, its next tasks were on
their way.
"""


class Group:
    """Those of one parent that have waiting claims. `level` is the integral of their mean share, by weight; `largest`
    the share of the largest claim that any of them has had served, `granted` the sum of all of them.
    """

    __slots__ = ("at", "granted", "largest", "level", "members", "rate", "since", "weight")

    def __init__(self) -> None:
        self.members = 0
        self.weight = 0.0  # of all members
        self.rate = 0.0  # the sum of weight * share
        self.level = 0.0
        self.largest = self.granted = 0.0
        self.at = 0.0
        self.since = 0.0  # when the second one came

    @property
    def pace(self) -> float:
        """Seconds for which a token is held, on average."""
        return self.level * self.weight / self.granted if self.granted else 0.0

    def advance(self, now: float) -> None:
        """Let time pass. A clock that goes back lets none pass."""
        if now > self.at:
            if self.members > 1:
                self.level += (now - self.at) * self.rate / self.weight
            self.at = now


class Member:
    """One of them. `share` is as of the last call, `step` what a claim adds to it; `lead` is the integral of what it
    was above the mean. `is_served`: since it has waiting claims.
    """

    __slots__ = ("at", "group", "is_in", "is_served", "lead", "level", "share", "step", "weight")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.is_in = self.is_served = False
        self.share = self.step = self.weight = 0.0
        self.lead = 0.0
        self.at = self.level = 0.0

    @property
    def is_ahead(self) -> bool:
        """Whether it has held more than its part for longer than less."""
        return self.lead > ROUNDING * self.step

    @property
    def handicap(self) -> float:
        """What is added to its share when shares are compared."""
        return self.step if self.is_ahead else 0.0

    @property
    def is_well_ahead(self) -> bool:
        """Whether it is ahead by more than a little: a part of what one claim more is while that is held."""
        return self.lead > max(ROUNDING, _LITTLE * self.group.pace) * self.step

    def serve(self, claim: float) -> None:
        """It got the tokens of a claim, which adds that much to a share, without the weight."""
        self.is_served = True
        if self.group.members > 1:
            self.group.granted += claim

    def weigh(self, share: float, weight: float, claim: float, now: float) -> None:
        """It has waiting claims, and this share from now on; `claim` is what its last one added to a share, without the
        weight.
        """
        group = self.group
        if not self.is_in:
            self._enter(now)
        elif group.members > 1:
            self.settle(now)
        group.weight += weight - self.weight
        group.rate += weight * share - self.weight * self.share
        self.share, self.weight, self.step = share, weight, claim / weight
        if claim > group.largest:
            group.largest = claim

    def _enter(self, now: float) -> None:
        group = self.group
        group.advance(now)
        self.is_in = True
        group.members += 1
        if group.members == 2:
            group.since = group.at
        if group.at - self.at > _AWAY:
            self.is_served = False
            self.lead = max(0.0, self.lead)
        self.share = self.weight = 0.0
        self.at, self.level = group.at, group.level

    def settle(self, now: float) -> None:
        """Add to `lead` what it was above or below the mean since the last call, if there are others."""
        group = self.group
        if now > group.at:
            group.advance(now)
        elif self.at == group.at:
            return
        since = group.since if self.at < group.since else self.at  # noqa: FURB136 - a call costs more than the rest
        passed = group.at - since
        lead = self.share * passed - (group.level - self.level)
        most = group.largest / self.weight * passed if self.weight else 0.0
        if lead < 0 or self.is_served:
            if lead > most:
                lead = most
            elif lead < -most:
                lead = -most
            self.lead += lead
        self.at, self.level = group.at, group.level

    def leave(self, now: float) -> None:
        """It has no waiting claims any more."""
        if not self.is_in:
            return
        group = self.group
        if group.members > 1:
            self.settle(now)
        else:
            group.advance(now)
            self.at = group.at
        self.is_in = False
        group.members -= 1
        if group.members:
            group.weight -= self.weight
            group.rate -= self.weight * self.share
        else:
            group.weight = group.rate = group.level = group.largest = group.granted = (
                0.0  # sums keep their precision over years
            )
