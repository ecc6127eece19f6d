"""Kinds of claims: one for all claims of a tenant that take the same, resolved once by the limits in force."""

from __future__ import annotations

from propeller.errors import Invalid
from propeller.resourcemgr._claims import Claim
from propeller.resourcemgr._limits import SEPARATOR, Limits, Path, lineage
from propeller.resourcemgr._pools import title_of
from propeller.resourcemgr.shared._keeps import most_of
from propeller.resourcemgr.shared._messages import Rules, items_text, lineage_of, path_text, pool_text, rules_of

_KEPT = 4096
"""Kinds that no claim has and that are remembered at least."""


class Kind:
    """`needs` is what its claims ask for, `items` (text) what they take. `held` counts those that have it, `stated` how
    many of these the store counts as far as this process knows; `waiting` those that wait. `is_excessive`: it was found
    running, and may take more than there ever is.
    """

    __slots__ = ("held", "is_excessive", "items", "needs", "path", "stated", "tenant", "waiting")

    def __init__(
        self, tenant: Path, needs: tuple[tuple[str, int], ...], items: str, *, is_excessive: bool = False
    ) -> None:
        self.tenant = tenant
        self.path = path_text(tenant)
        self.needs = needs
        self.items = items
        self.held = 0
        self.stated = 0
        self.waiting = 0
        self.is_excessive = is_excessive

    @property
    def is_idle(self) -> bool:
        """Whether neither this process nor the store knows a claim of it."""
        return not (self.held or self.stated or self.waiting)


class Kinds:
    """By some limits, which were checked."""

    def __init__(self, limits: Limits, source: str = "") -> None:
        self.limits = limits
        self.rules: Rules = rules_of(limits, source)
        self._pools = {pool.name: pool for pool in limits.pools}
        self._own = {tenant.name: tenant.limits for tenant in limits.tenants}
        self._found: dict[tuple[Path, tuple[tuple[str, int], ...]], Kind] = {}
        self._by_text: dict[tuple[str, str], Kind] = {}
        self._most = _KEPT

    def of(self, claim: Claim, *, is_held: bool = False) -> Kind:
        """The claim's kind. Raises Invalid for a claim that makes no sense; and unless it `is_held`, for one that names
        what is no pool, or asks for more than there ever is.
        """
        found = self._found.get((claim.tenant, claim.needs))
        if found is None:
            claim.check()
            titles = self._titles(claim, is_held=is_held)
            if not is_held:
                self._check(claim.id, claim.tenant, titles)
            needs = _merged(claim.needs)
            found = self._found.get((claim.tenant, needs))
            if found is None:
                found = Kind(claim.tenant, needs, items_text(titles.items()), is_excessive=is_held)
                self._found[claim.tenant, needs] = self._by_text[found.path, found.items] = found
            if len(self._found) > self._most:
                self._found = {key: kind for key, kind in self._found.items() if not kind.is_idle}
                self._by_text = {(kind.path, kind.items): kind for kind in self._found.values()}
                self._most = _KEPT + 2 * len(self._found)
            self._found[claim.tenant, claim.needs] = found
        elif found.is_excessive and not is_held:
            self._check(claim.id, claim.tenant, self._titles(claim))
        return found

    def keep(self, kind: Kind) -> None:
        """Have a kind of other limits, of which claims are held, take what it does by these."""
        kind.items = items_text(self._titles(Claim("", kind.tenant, kind.needs), is_held=True).items())
        kind.is_excessive = True
        self._found[kind.tenant, kind.needs] = self._by_text[kind.path, kind.items] = kind

    def in_use(self) -> set[Kind]:
        """Kinds that this process or the store knows claims of."""
        return {kind for kind in self._found.values() if not kind.is_idle}

    def of_items(self, path: str, items: str) -> Kind | None:
        """A kind that this process has stated."""
        return self._by_text.get((path, items))

    def _check(self, name: str, tenant: Path, titles: dict[str, int]) -> None:
        """Raise Invalid if a claim takes more than there ever is. A paused pool (capacity 0) has no say."""
        for title, amount in titles.items():
            capacity, rate, burst, _ = self.rules.pools[pool_text(title)]
            left, kept = most_of(self.rules.kept, pool_text(title), lineage_of(path_text(tenant)), capacity)
            most = min(left, burst if rate >= 0 else left)
            if amount > most:
                beside = f" beside the {kept:g} that tenants keep for themselves" if kept else ""
                raise Invalid(
                    f"claim {name!r} needs {amount} tokens of pool {title!r}, which never has more than {most:g}"
                    f"{beside}"
                )

    def known(self, needs: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        """What claims of other limits ask for, without pools that these do not have."""
        return tuple((pool, amount) for pool, amount in needs if pool in self._pools)

    def _titles(self, claim: Claim, *, is_held: bool = False) -> dict[str, int]:
        shared: dict[str, int] = {}
        for name, amount in claim.needs:
            if is_held and name not in self._pools:  # gone: the store counts it without a limit, until it comes back
                shared[name] = shared.get(name, 0) + amount
                continue
            for pool in lineage(name, self._pools):
                shared[pool.name] = shared.get(pool.name, 0) + amount
        found = dict(shared)
        for length in range(1, len(claim.tenant) + 1):
            tenant = SEPARATOR.join(claim.tenant[:length])
            for name in self._own.get(tenant, {}):
                if name in shared:
                    found[title_of(name, tenant)] = shared[name]
        return found


def _merged(needs: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """Needs in one form: two of them take the same only if they are equal in this form, as each pool has one parent."""
    amounts: dict[str, int] = {}
    for pool, amount in needs:
        amounts[pool] = amounts.get(pool, 0) + amount
    return tuple(sorted(amounts.items()))
