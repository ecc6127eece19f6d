"""Weighted rendezvous hashing: shares follow weights, and a change moves only what it must."""

from __future__ import annotations

import random
from hashlib import blake2b
from math import log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.routing import Rendezvous
from tests.examples import examples

KEYS = [f"namespace/execution-{number}" for number in range(4000)]
WEIGHTS = st.dictionaries(
    st.text("abcdefgh-0123", min_size=1, max_size=8),
    st.sampled_from([0.1, 0.5, 1.0, 2.0, 3.0, 10.0]),
    min_size=2,
    max_size=6,
)


def owners(weights: dict[str, float], keys: list[str] = KEYS) -> dict[str, str]:
    hashing = Rendezvous(list(weights), list(weights.values()))
    return {key: hashing.ranking(key)[0][1] for key in keys}


def formula(cluster: str, key: str, weight: float) -> float:
    """As the module's text has it, one step after the other."""
    word = (1 << 64) - 1

    def digest(text: str) -> int:
        return int.from_bytes(blake2b(text.encode(), digest_size=8, person=b"propeller").digest(), "little")

    x = digest(key) ^ digest(cluster)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & word
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & word
    x ^= x >> 31
    return weight / -log(((x >> 12) + 0.5) / 2**52)


@given(WEIGHTS, st.text(max_size=30))
@examples(200)
def test_scores_are_those_of_the_formula(weights: dict[str, float], key: str) -> None:
    found = Rendezvous(list(weights), list(weights.values())).ranking(key)
    for score, name in found:
        assert score == pytest.approx(formula(name, key, weights[name]), rel=1e-12)
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)


def test_the_choice_of_today_is_that_of_tomorrow() -> None:
    """The table is a promise to what runs: another hash would move everything."""
    hashing = Rendezvous(("blue", "green", "red"), (1, 2, 3))
    chosen = [hashing.ranking(f"flytesnacks-development/f{number}")[0][1] for number in range(12)]
    assert " ".join(chosen) == "green green green red red blue red red red green green blue"
    scores, names = zip(*hashing.ranking("ns/a"), strict=True)
    assert names == ("green", "blue", "red")
    assert scores == pytest.approx((3.408599517007389, 1.8215117063243893, 1.5075436773551607))


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_shares_are_those_of_the_weights(count: int) -> None:
    weights = {f"c{number}": 1.0 + number % 4 for number in range(count)}
    total, keys = sum(weights.values()), [f"k{number}" for number in range(20_000)]
    found = list(owners(weights, keys).values())
    for name, weight in weights.items():
        expected = weight / total
        deviation = sqrt(len(keys) * expected * (1 - expected))
        assert abs(found.count(name) - len(keys) * expected) <= 5 * deviation


def test_keys_that_differ_by_a_number_are_spread_evenly_among_names_that_do_too() -> None:
    weights = dict.fromkeys([f"cluster-{number}" for number in range(16)], 1.0)
    found = list(owners(weights, [f"ns/{number:06}" for number in range(16_000)]).values())
    chi_squared = sum((found.count(name) - 1000) ** 2 / 1000 for name in weights)
    assert chi_squared < 44  # 15 degrees of freedom: one in ten thousand is above


@given(WEIGHTS, st.randoms(use_true_random=False))
@examples(60)
def test_a_cluster_that_goes_moves_its_own_keys_alone(weights: dict[str, float], randomness: random.Random) -> None:
    gone = randomness.choice(sorted(weights))
    before = owners(weights, KEYS[:500])
    after = owners({name: weight for name, weight in weights.items() if name != gone}, KEYS[:500])
    assert all(after[key] == owner for key, owner in before.items() if owner != gone)


@given(WEIGHTS, st.randoms(use_true_random=False), st.sampled_from([0.5, 0.9, 1.1, 4.0]))
@examples(60)
def test_a_weight_that_changes_moves_keys_to_or_from_that_cluster_alone(
    weights: dict[str, float], randomness: random.Random, factor: float
) -> None:
    changed = randomness.choice(sorted(weights))
    before = owners(weights, KEYS[:500])
    after = owners({**weights, changed: weights[changed] * factor}, KEYS[:500])
    for key, owner in before.items():
        if after[key] != owner:
            assert (after[key] if factor > 1 else owner) == changed


def test_what_a_change_moves_is_the_difference_of_the_shares() -> None:
    before = owners({"a": 1.0, "b": 1.0, "c": 1.0})
    after = owners({"a": 1.0, "b": 1.0, "c": 2.0})
    moved = sum(after[key] != owner for key, owner in before.items())
    expected = len(KEYS) * (2 / 4 - 1 / 3)
    assert abs(moved - expected) < 5 * sqrt(expected)


@given(WEIGHTS, st.randoms(use_true_random=False))
@examples(60)
def test_the_order_in_which_clusters_are_given_means_nothing(
    weights: dict[str, float], randomness: random.Random
) -> None:
    names = list(weights)
    randomness.shuffle(names)
    assert owners(weights, KEYS[:50]) == owners({name: weights[name] for name in names}, KEYS[:50])
