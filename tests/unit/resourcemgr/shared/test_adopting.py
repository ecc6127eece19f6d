"""A process that shares tokens gets other limits while thousands of its claims wait."""

from __future__ import annotations

from unittest import mock

import msgspec

from propeller.errors import Invalid
from propeller.resourcemgr import Claim, Limits, Pool, Tenant
from propeller.resourcemgr.shared._kinds import Kinds
from propeller.resourcemgr.shared._member import Member
from propeller.resourcemgr.shared._messages import rules_of
from propeller.resourcemgr.shared._store import Store


def of(generation: int, *, spark: bool = True, own: int | None = None, hive: int = 2) -> Limits:
    pools = (Pool(name="hive", capacity=hive), *((Pool(name="spark", capacity=2),) if spark else ()))
    tenants = () if own is None else (Tenant(name="a", limits={"hive": own}),)
    return Limits(pools=pools, tenants=tenants, generation=generation)


class Process:
    """One that has a store for itself, and has exchanged with it until nothing more is granted."""

    def __init__(self) -> None:
        self.granted: list[str] = []
        self.refused: dict[str, str] = {}
        self.member = Member("p", 9000, of(1), self.granted.append, self._refused)
        self.store, self.at = Store(), 0.0
        for _ in range(5):
            self.at += 3000
            self.exchange()

    def _refused(self, name: str, error: Invalid) -> None:
        self.refused[name] = str(error)

    def exchange(self) -> list[str]:
        found: list[str] = []
        for _ in range(3):
            self.at += 1
            found += self.member.accept(self.store.exchange(self.member.statement(), self.at, "server"))
        return found

    def request(self, name: str, *needs: tuple[str, int], tenant: str = "a") -> None:
        self.member.request(Claim(name, (tenant,), needs), self.at)


def test_other_limits_cost_what_kinds_of_claims_there_are_and_not_how_many_wait() -> None:
    process = Process()
    for number in range(3000):
        process.request(f"a{number}", ("hive", 1))
        process.request(f"b{number}", ("spark", 1), tenant="b")
    assert sorted(process.exchange()) == ["a0", "a1", "b0", "b1"]
    with mock.patch.object(Kinds, "_titles", autospec=True, side_effect=Kinds._titles) as resolved:
        process.member.configure(of(2, own=1))
    assert resolved.call_count < 10
    process.member.release("a0")
    assert process.exchange() == [], "its own limit is 1 by now"
    process.member.release("a1")
    assert process.exchange() == ["a2"]


def test_claims_keep_their_order_and_what_is_held_stays_held_under_other_limits() -> None:
    process = Process()
    for number in range(4):
        process.request(f"a{number}", ("hive", 1))
    assert process.exchange() == ["a0", "a1"]
    process.member.configure(of(2, own=3, hive=3))
    assert process.exchange() == ["a2"]
    assert process.store.leases == {"p\na\nhive=1,hive%20of%20a=1": 3}
    for name in ("a0", "a1", "a2", "a3"):
        process.member.release(name)
    process.exchange()
    assert not process.store.leases


def test_claims_that_can_never_be_met_any_more_are_refused_each_by_its_name() -> None:
    process = Process()
    for number in range(3):
        process.request(f"a{number}", ("hive", 2))
    process.exchange()
    process.member.configure(of(2, own=1))
    assert process.refused == {
        name: f"claim {name!r} needs 2 tokens of pool 'hive of a', which never has more than 1" for name in ("a1", "a2")
    }
    assert process.member.is_held("a0")
    assert process.member.waiting == 0


def test_a_claim_of_a_pool_that_is_gone_needs_the_others_or_has_its_tokens() -> None:
    process = Process()
    for name in ("a", "b"):
        process.request(f"{name}1", ("hive", 1), ("spark", 2), tenant=name)
        process.exchange()
    process.request("c", ("spark", 1), tenant="c")
    process.member.configure(of(2, spark=False))
    assert process.granted == ["c"]
    assert process.exchange() == ["b1"], "it waited for spark"
    assert process.member.held("a1") == (("hive", 1), ("spark", 2))
    assert process.member.held("b1") == (("hive", 1),)


def test_limits_with_what_only_a_newer_release_knows_are_followed_as_far_as_they_are_known() -> None:
    process = Process()
    newer = Member("newer", 9000, of(2, own=5, hive=3), process.granted.append, process._refused)
    document = msgspec.json.decode(newer.rules.source)
    document["of a newer one"] = document["pools"][0]["of a newer one"] = document["tenants"][0]["of a newer one"] = {}
    source = msgspec.json.encode(document).decode()
    newer._own = newer._kinds.rules = rules_of(of(2, own=5, hive=3), source)
    for _ in range(3):
        newer.accept(process.store.exchange(newer.statement(), process.at, "server"))
    for number in range(4):
        process.request(f"a{number}", ("hive", 1))
    assert process.exchange() == ["a0", "a1", "a2"]
    assert process.member.rules.source == source
