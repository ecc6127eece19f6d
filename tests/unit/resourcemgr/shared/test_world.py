"""Under any faults no pool has more out than its capacity, nothing waits for ever, and all tokens come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from propeller.resourcemgr.shared._member import Member
from propeller.resourcemgr.shared._messages import Statement, items_of
from propeller.resourcemgr.shared._store import Store
from propeller.resourcemgr.shared._tables import Member as Row
from tests.unit.resourcemgr.seeds import one_finds_it
from tests.unit.resourcemgr.shared.world import World

Planted = Callable[[pytest.MonkeyPatch], None]


def _run(seed: int) -> World:
    world = World(seed)
    world.run(600)
    world.settle()
    return world


@pytest.mark.parametrize("seed", range(60))
def test_no_capacity_is_exceeded_and_all_tokens_come_back_whatever_is_lost(seed: int) -> None:
    assert _run(seed).granted > 5


def _skips_what_runs_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Member, "restore", lambda *_: None)


def _gives_back_twice(patch: pytest.MonkeyPatch) -> None:
    charge = Store._charge

    def twice(self: Store, member: str, path: str, items: str, by: int) -> None:
        charge(self, member, path, items, by)
        for pool, amount in items_of(items) if by < 0 else ():
            self.pools[pool].held += by * amount

    patch.setattr(Store, "_charge", twice)


def _forgets_what_a_process_holds(patch: pytest.MonkeyPatch) -> None:
    """After a lost answer it states what it waits for only."""
    statement = Member.statement

    def forgetful(self: Member, *, is_due: bool = False) -> Statement:
        made = statement(self, is_due=is_due)
        return msgspec.structs.replace(made, held=()) if made.is_full else made

    patch.setattr(Member, "statement", forgetful)


def _never_waits_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    tick = Store._tick

    def hasty(self: Store, at: float, server: str, ttl: int) -> None:
        tick(self, at, server, ttl)
        self.meta.frozen_until = 0.0

    patch.setattr(Store, "_tick", hasty)


def _takes_late_statements(patch: pytest.MonkeyPatch) -> None:
    exchange = Store.exchange

    def credulous(self: Store, statement: Statement, at: float, server: str) -> Any:
        if (me := self.members.get(statement.member)) is not None:
            me.number = min(me.number, statement.number - 1)
        return exchange(self, statement, at, server)

    patch.setattr(Store, "exchange", credulous)


def _follows_jumps_of_the_clock(patch: pytest.MonkeyPatch) -> None:
    tick = Store._tick

    def jumpy(self: Store, at: float, server: str, ttl: int) -> None:
        self.meta.t += max(0.0, at - self.meta.at - ttl / 2) if self.meta.server == server else 0.0
        tick(self, at, server, ttl)

    patch.setattr(Store, "_tick", jumpy)


def _keeps_what_the_dead_had(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Row, "expires", property(lambda _: float("inf"), lambda *_: None), raising=False)


@pytest.mark.parametrize(
    "plant",
    [
        _skips_what_runs_after_a_restart,
        _gives_back_twice,
        _forgets_what_a_process_holds,
        _never_waits_after_a_restart,
        _takes_late_statements,
        _follows_jumps_of_the_clock,
        _keeps_what_the_dead_had,
    ],
)
def test_a_planted_defect_is_found_by_a_seed(plant: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    one_finds_it(_run, range(150))
