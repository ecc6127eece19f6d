"""Tenants that share a namespace take turns at the room in its quotas, and a large launch is not starved."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.resourcemgr import Path
from propeller.resourcemgr.quotas import Launch, NamespaceQuotas, Pace, quota_of
from tests.examples import examples

CORES = 8


class Namespace:
    """A quota of cores, and what runs."""

    def __init__(self, weights: dict[Path, float] | None = None, cores: int = CORES, max_bypass: int = 64) -> None:
        self.granted: list[str] = []
        self.running: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.tenants: dict[str, Path] = {}
        self.now = 0.0
        self._cores = cores
        self._version = 0
        weights = weights or {}
        self.book = NamespaceQuotas(self._grant, Pace(max_bypass=max_bypass), lambda path: weights.get(path, 1.0))
        self.report()

    def _grant(self, name: str) -> bool:
        self.granted.append(name)
        self.running[name] = self.sizes[name]
        return True

    def report(self) -> None:
        """The quota's status is as new as can be: what runs is in it."""
        self._version += 1
        for name in self.running:
            self.book.answered(name, self.now)
            self.book.shown(name, self._version)
        used = str(sum(self.running.values()))
        hard = {"requests.cpu": str(self._cores)}
        metadata = {"name": "q", "uid": "u", "resourceVersion": str(self._version)}
        quota = {"metadata": metadata, "spec": {"hard": hard}, "status": {"hard": hard, "used": {"requests.cpu": used}}}
        self.book.observe(quota_of(quota), self.now)
        self.now += 1.0
        self.book.serve(self.now)

    def ask(self, name: str, tenant: str, cores: int = 1) -> None:
        self.sizes[name], self.tenants[name] = cores, (tenant, "production")
        container = {"name": "c", "resources": {"requests": {"cpu": str(cores)}}}
        launch = Launch(name, cores, "count/pods", lambda: {"containers": [container]}, self.tenants[name])
        if self.book.ask(launch, self.now, self.now) is None:
            self.running[name] = cores

    def end(self, *names: str) -> None:
        self.report()
        for name in names:
            del self.running[name]
        self.report()


def test_a_tenant_that_comes_late_does_not_wait_behind_the_flood_of_another() -> None:
    of = Namespace()
    for number in range(200):
        of.ask(f"many {number}", "many")
    for number in range(3):
        of.ask(f"one {number}", "one")
    for _ in range(8):
        of.end(next(iter(of.running)))
    assert [name for name in of.granted[:6] if name.startswith("one")] == ["one 0", "one 1", "one 2"]


def test_room_follows_weights_and_is_first_come_first_served_within_a_tenant() -> None:
    of = Namespace({("heavy",): 3.0})
    for number in range(300):
        of.ask(f"heavy {number}", "heavy")
        of.ask(f"light {number}", "light")
    for _ in range(200):
        of.end(next(iter(of.running)))
    counts = Counter(name.split()[0] for name in of.granted)
    assert counts["heavy"] / counts["light"] == pytest.approx(3.0, rel=0.05)
    for tenant in ("heavy", "light"):
        numbers = [int(name.split()[1]) for name in of.granted if name.startswith(tenant)]
        assert numbers == sorted(numbers)


def test_room_is_counted_and_not_launches() -> None:
    """Pods of four cores against pods of one, if as much comes free as the larger need: both tenants have as many."""
    of = Namespace(cores=16)
    for number in range(800):
        of.ask(f"large {number}", "large", 4)
        of.ask(f"small {number}", "small", 1)
    for _ in range(100):
        of.end(*of.running)
    cores: Counter[str] = Counter()
    for name in of.granted:
        cores[name.split()[0]] += of.sizes[name]
    assert cores["large"] / cores["small"] == pytest.approx(1.0, rel=0.05)


@examples(60)
@given(
    st.randoms(use_true_random=False),
    st.integers(1, 8),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True),
)
def test_a_large_launch_is_bypassed_a_bounded_number_of_times_whoever_comes(
    rng: random.Random, max_bypass: int, tenants: list[str]
) -> None:
    of = Namespace(max_bypass=max_bypass)
    for number in range(20):
        of.ask(f"before {number}", rng.choice(tenants))
    of.ask("large", "big", CORES)
    came, granted = 0, len(of.granted)
    while "large" not in of.running:
        came += 1
        assert came <= 20 + max_bypass + 2 * CORES, "it starves"
        of.ask(f"later {came}", rng.choice(tenants), rng.randint(1, 2))
        if of.running:
            of.end(rng.choice(list(of.running)))
    assert len(of.granted) - granted <= max_bypass + CORES


@examples(40)
@given(st.randoms(use_true_random=False))
def test_whatever_comes_and_ends_the_quota_is_never_exceeded_and_all_have_room_in_the_end(rng: random.Random) -> None:
    of = Namespace()
    for number in range(60):
        of.ask(f"n {number}", rng.choice("abcd"), rng.randint(1, CORES))
        if of.running and rng.random() < 0.5:
            of.end(rng.choice(list(of.running)))
        assert sum(of.running.values()) <= CORES
    for _ in range(200):
        if not of.running:
            break
        of.end(rng.choice(list(of.running)))
        assert sum(of.running.values()) <= CORES
    assert of.book.waiting == 0
