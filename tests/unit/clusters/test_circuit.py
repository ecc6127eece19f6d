"""A cluster's circuit opens after bad signs alone, and closes after good ones alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.clusters import Circuit, ClusterOptions, Reading, advance

OPTIONS = ClusterOptions(unhealthy_after=15.0, healthy_after=30.0)
WELL, AWAY = Reading(seconds=0.01), Reading(error="there is no answer")


def _after(*readings: tuple[float, Reading], options: ClusterOptions = OPTIONS) -> Circuit:
    circuit = Circuit()
    for now, reading in readings:
        circuit = advance(circuit, reading, now, options)
    return circuit


def test_it_opens_after_bad_signs_for_as_long_as_the_setting_says_and_not_before() -> None:
    assert _after((0, AWAY), (5, AWAY), (14.9, AWAY)).healthy
    opened = _after((0, AWAY), (5, AWAY), (15, AWAY))
    assert (opened.healthy, opened.reason, opened.since) == (False, "there is no answer", 15)


def test_one_good_sign_among_bad_ones_keeps_it_closed() -> None:
    assert _after((0, AWAY), (10, WELL), (11, AWAY), (25, AWAY)).healthy
    assert not _after((0, AWAY), (10, WELL), (11, AWAY), (26, AWAY)).healthy


def test_it_closes_after_good_signs_alone() -> None:
    opened = ((0.0, AWAY), (15.0, AWAY))
    assert not _after(*opened, (20, WELL), (49, WELL)).healthy
    assert not _after(*opened, (20, WELL), (30, AWAY), (31, WELL), (60, WELL)).healthy
    closed = _after(*opened, (20, WELL), (50, WELL))
    assert (closed.healthy, closed.reason, closed.since) == (True, "", 50)


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (Reading(seconds=3.5), "its API server answers after 3.5 s"),
        (Reading(requests=20, failures=12), "12 of 20 requests failed"),
        (Reading(pending=15, stuck=11), "11 pods have waited for a node for over 600 s"),
        (Reading(error="x\x1b\n" * 500), None),
    ],
)
def test_the_reason_says_what_was_seen(reading: Reading, reason: str | None) -> None:
    found = _after((0, reading), (15, reading)).reason
    assert found == reason if reason is not None else (found.isprintable() and len(found) < 4000)


@pytest.mark.parametrize(
    "reading", [Reading(requests=9, failures=9), Reading(requests=100, failures=49), Reading(pending=30, stuck=9)]
)
def test_a_few_failures_are_no_sign(reading: Reading) -> None:
    assert _after((0, reading), (100, reading)).healthy


@given(st.lists(st.tuples(st.floats(0.1, 20.0), st.booleans()), max_size=60))
def test_a_change_is_always_preceded_by_as_long_a_row_of_signs(steps: list[tuple[float, bool]]) -> None:
    circuit, now, row_began, before = Circuit(), 0.0, 0.0, True
    for pause, good in steps:
        now += pause
        if good is not before or now == pause:
            row_began, before = now, good
        was = circuit.healthy
        circuit = advance(circuit, WELL if good else AWAY, now, OPTIONS)
        if circuit.healthy is not was:
            needed = OPTIONS.healthy_after if circuit.healthy else OPTIONS.unhealthy_after
            assert circuit.healthy is good
            assert now - row_began >= needed - 1e-6
