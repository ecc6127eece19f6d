"""What counts in a stage: what members have done since it began, also those that are gone, and nothing that is none."""

from __future__ import annotations

import msgspec
import pytest

from propeller.reconcile.rollouts import (
    Counts,
    Observed,
    RolloutOptions,
    Share,
    Tally,
    begin,
    decode_counts,
    encode_counts,
    promote,
)

VERSIONS = {"a": "1", "b": "2", "c": "2"}
ROLLOUT = begin("2", "1", {}, 4, RolloutOptions(), 0.0)


def did(bad: int, total: int, *seconds: int) -> Counts:
    return Counts({"work": Share(bad, total)}, seconds)


def test_only_what_was_done_in_the_stage_counts() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {"a": did(5, 100), "b": did(1, 10)}, 50.0)
    seen = tally.observe(ROLLOUT, VERSIONS, {"a": did(6, 120), "b": did(4, 15), "c": did(2, 3)}, 80.0)
    assert seen.seconds == 30.0
    assert seen.current == {"work": Share(1, 20)}
    assert seen.candidate == {"work": Share(5, 8)}


def test_time_and_work_count_once_the_new_version_has_its_shards_and_while_it_does() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {"a": did(0, 100)}, 0.0, holds=False)
    assert tally.observe(ROLLOUT, VERSIONS, {"a": did(0, 900)}, 800.0, holds=False).seconds == 0.0
    tally.observe(ROLLOUT, VERSIONS, {"a": did(0, 950)}, 850.0)
    seen = tally.observe(ROLLOUT, VERSIONS, {"a": did(0, 960), "b": did(1, 5)}, 860.0)
    assert (seen.seconds, seen.waited) == (10.0, 860.0)
    assert (seen.candidate["work"], seen.current["work"]) == (Share(1, 5), Share(0, 10))
    assert tally.observe(ROLLOUT, VERSIONS, {}, 900.0, holds=False).seconds == 10.0
    assert tally.observe(ROLLOUT, VERSIONS, {}, 905.0).seconds == 15.0


def test_another_judge_goes_on_with_what_is_in_the_record() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {}, 0.0)
    seen = tally.observe(ROLLOUT, VERSIONS, {"a": did(1, 90), "b": did(2, 9)}, 300.0)
    noted = msgspec.structs.replace(ROLLOUT, noted=msgspec.json.decode(msgspec.json.encode(seen), type=Observed))
    other = Tally()
    other.observe(noted, VERSIONS, {"a": did(5, 200), "b": did(2, 9)}, 7000.0)
    seen = other.observe(noted, VERSIONS, {"a": did(6, 210), "b": did(4, 19)}, 7010.0)
    assert (seen.seconds, seen.waited) == (310.0, 310.0)
    assert (seen.candidate["work"], seen.current["work"]) == (Share(4, 19), Share(2, 100))


def test_what_is_not_judged_and_the_lag_of_event_loops_are_seen_as_well() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {}, 0.0)
    seen = tally.observe(ROLLOUT, VERSIONS, {"b": Counts(done={"ended nodes": 7}, lags=Share(1, 50))}, 1.0)
    assert seen.candidate == {"ended nodes": Share(0, 7), "late turns of the event loop": Share(1, 50)}


def test_the_next_stage_begins_with_nothing() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {"b": did(0, 0)}, 0.0)
    tally.observe(ROLLOUT, VERSIONS, {"b": did(9, 9)}, 10.0)
    seen = tally.observe(promote(ROLLOUT, 10.0), VERSIONS, {"b": did(9, 9)}, 11.0)
    assert seen.seconds == 0.0
    assert seen.candidate == {"work": Share(0, 0)}


def test_what_a_member_did_before_it_was_gone_stays() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {}, 0.0)
    tally.observe(ROLLOUT, VERSIONS, {"b": did(3, 4)}, 1.0)
    assert tally.observe(ROLLOUT, {"a": "1"}, {}, 2.0).candidate == {"work": Share(3, 4)}


def test_latency_is_a_share_like_the_others() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {}, 0.0)
    seen = tally.observe(ROLLOUT, VERSIONS, {"a": did(0, 1, 95, 5), "b": did(0, 1, 1, 9)}, 1.0)
    assert seen.candidate["late reconciles"] == Share(9, 10)
    assert seen.current["late reconciles"] == Share(5, 100)


def test_counts_survive_being_written() -> None:
    for counts in (did(1, 2, 3, 4), Counts(done={"ended nodes": 5}, lags=Share(1, 9))):
        assert decode_counts(encode_counts(counts)) == counts


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '{"shares": {"a": [1]}}', '{"shares": {"a": [-1, 5]}}', '{"seconds": [1e400]}'),
        '{"seconds": [' + ",".join("1" * 33) + "]}",
        '{"shares": {"a": [1, 99999999999999999999]}}',
        '{"done": {"a": -1}}',
        '{"lags": [2, 1]}',
        "[" * 100_000,
    ],
)
def test_what_a_stranger_wrote_onto_a_lease_counts_as_nothing(text: str) -> None:
    assert decode_counts(text) is None


def test_counts_that_go_back_never_count_below_nothing() -> None:
    tally = Tally()
    tally.observe(ROLLOUT, VERSIONS, {"b": did(5, 9, 4)}, 0.0)
    seen = tally.observe(ROLLOUT, VERSIONS, {"b": did(7, 3, 1), "a": did(0, 0, 0)}, 1.0)
    assert seen.candidate["work"] == Share(0, 0)
