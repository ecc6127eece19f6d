"""Placements in a status: what was taken comes back, and nothing that is none is taken for one."""

from __future__ import annotations

import struct

import msgspec
import pytest

from propeller.errors import CorruptBlob
from propeller.handlers import TRANSITIONS
from propeller.status import decode, encode, head, rebuild, take
from propeller.status._placed import MAX_CLUSTERS, MAX_NAME, Placed
from propeller.workflow import Execution, Placements, begin
from tests.unit.workflow.drive import execution, graph, plan, task

TWO = plan(graph(task("a"), task("b")))


def _begun(placements: Placements | None) -> Execution:
    of = execution(TWO)
    begin(of, TRANSITIONS, 1000.0)
    of.placements = placements
    return of


async def _again(of: Execution) -> Placements | None:
    async def no_graph(*_: object) -> None:
        raise AssertionError

    snapshot = decode(encode(take(of)))
    return (await rebuild(of.info, of.plan, snapshot, no_graph)).placements  # type: ignore[arg-type]


async def test_a_status_of_one_cluster_has_no_placements() -> None:
    of = _begun(None)
    assert await _again(of) is None
    assert head(of, 0.0).keys().isdisjoint({"cluster", "placement"})


async def test_placements_come_back_from_a_status_as_they_were() -> None:
    placements = Placements("east", "rule all: east", {(1, 2): "west", (0, 255): "north"}, first_attempt=3)
    again = await _again(_begun(placements))
    assert again is not None
    assert (again.home, again.reason, again.first_attempt) == ("east", "rule all: east", 3)
    assert again.elsewhere == {(1, 2): "west", (0, 255): "north"}
    assert not again.unwritten


async def test_attempts_of_nodes_that_have_ended_are_left_to_their_labels() -> None:
    of = _begun(Placements("east", "", {(0, 0): "west", (1, 0): "west"}))
    del of.states[0]
    assert take(of).placed == Placed("east", "", "west", struct.pack("<IBH", 1, 0, 0))


async def test_the_head_names_every_cluster_that_may_have_something_of_it() -> None:
    shown = head(_begun(Placements("east", "for a reason", {(1, 0): "west\x1b"})), 0.0)
    assert shown["cluster"] == "east"
    assert shown["placement"] == {
        "reason": "for a reason",
        "clusters": ["east", "west\\x1b"],
        "elsewhere": [{"node": "b", "attempt": 0, "cluster": "west\\x1b"}],
    }


@pytest.mark.parametrize(
    "lie",
    [
        Placed("x" * (MAX_NAME + 1)),
        Placed("east\n"),
        Placed("east", "r" * 2000),
        Placed("east", "", "w" * MAX_CLUSTERS * (MAX_NAME + 2)),
        Placed("east", "", "west", b"12345"),
        Placed("east", "", "west", struct.pack("<IBH", 9, 0, 0)),
        Placed("east", "", "west", struct.pack("<IBH", 1, 0, 1)),
        Placed("east", "", "west\x00", struct.pack("<IBH", 1, 0, 0)),
        Placed("east", first_attempt=256),
        Placed("east", first_attempt=-1),
    ],
)
def test_a_record_that_is_none_of_the_execution_is_refused(lie: Placed) -> None:
    snapshot = msgspec.structs.replace(take(_begun(Placements("east"))), placed=lie)
    with pytest.raises(CorruptBlob):
        decode(encode(snapshot))
