"""What tenants do not lend, of processes that share a store: kept over all of them, and nothing else left idle."""

from __future__ import annotations

import random

import pytest

from propeller.errors import Invalid
from propeller.resourcemgr import Claim, Limits
from propeller.resourcemgr.shared._keeps import Keeps
from propeller.resourcemgr.shared._member import Member
from propeller.resourcemgr.shared._store import Store
from tests.unit.resourcemgr.lending import NAMES, Kept, drawn
from tests.unit.resourcemgr.seeds import one_finds_it


class World:
    """Processes without faults. `most` tokens are in a claim."""

    def __init__(self, seed: int, most: int) -> None:
        self.rng = random.Random(seed)
        self.most = most
        self.store = Store()
        self.capacity = self.rng.randint(1, 12)
        self.generation = 0
        self.of = self.draw()
        self.members = [Member(f"p{number}", 9000, self.of, lambda _: None, self._refused) for number in range(3)]
        self.at = 10_000.0
        self.claims: dict[str, tuple[Claim, Member]] = {}
        self.left = 0
        for _ in range(5):  # a store is frozen for a TTL when it begins
            self.at += 3000
            self.exchange_all()

    def draw(self) -> Limits:
        self.generation += 1
        return drawn(self.rng, self.capacity, self.generation)

    def _refused(self, name: str, _: Invalid) -> None:
        del self.claims[name]

    def held(self) -> list[Claim]:
        return [claim for claim, member in self.claims.values() if member.is_held(claim.id)]

    def exchange(self, member: Member) -> None:
        self.at += 1
        member.accept(self.store.exchange(member.statement(), self.at, "server"))

    def exchange_all(self) -> None:
        for _ in range(3):
            for member in self.members:
                self.exchange(member)

    def step(self) -> None:
        rng = self.rng
        member = rng.choice(self.members)
        match rng.choice("aaaaarrrrreeeee" if rng.random() < 0.98 else "l"):
            case "a":
                tenant = tuple(rng.choice(NAMES).split("/"))
                claim = Claim(
                    f"claim {len(self.claims)} {rng.random()}", tenant, (("hive", rng.randint(1, self.most)),)
                )
                try:
                    member.request(claim, self.at)
                    self.claims[claim.id] = claim, member
                except Invalid as error:
                    if "never has more than" not in str(error):
                        raise
            case "r" if self.claims:
                name = rng.choice(sorted(self.claims))
                self.claims.pop(name)[1].release(name)
            case "e":
                self.exchange(member)
            case "l":
                self.of = self.draw()
                for one in self.members:
                    one.configure(self.of)
                self.exchange_all()
                self.left = Kept(self.of, "hive").excess(self.held())
        excess = Kept(self.of, "hive").excess(self.held())
        assert excess <= self.left, f"{excess} more are lent, or out, than may be"
        self.left = min(self.left, excess)

    def nothing_is_idle(self) -> None:
        self.exchange_all()
        kept, held = Kept(self.of, "hive"), self.held()
        for claim, member in self.claims.values():
            assert member.is_held(claim.id) or not kept.admits(held, claim), f"{claim} waits beside {held}"

    def end(self) -> None:
        self.exchange_all()
        for _ in range(1000):
            for claim in self.held():
                self.claims.pop(claim.id)[1].release(claim.id)
            self.exchange_all()
            if not self.claims:
                break
        assert not self.claims, "some never got their tokens"
        assert not self.store.leases


def _run(seed: int, *, most: int) -> None:
    world = World(seed, most)
    for step in range(150):
        world.step()
        if most == 1 and step % 10 == 0:
            world.nothing_is_idle()
    world.end()


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lent_beyond_the_limits_and_nothing_is_idle_within_them(seed: int) -> None:
    _run(seed, most=1)


@pytest.mark.parametrize("seed", range(40))
def test_claims_of_all_sizes_are_served_in_the_end_and_nothing_is_lent_beyond_the_limits(seed: int) -> None:
    _run(1000 + seed, most=4)


def test_a_store_that_forgets_a_lender_is_found_by_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts what is kept as of the beginning of an exchange."""
    monkeypatch.setattr(Keeps, "charge", lambda *_: None)
    one_finds_it(lambda seed: _run(seed, most=1), range(200))
