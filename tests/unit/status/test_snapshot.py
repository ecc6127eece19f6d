"""Snapshots: an execution that is rebuilt at any moment goes on as if nothing had happened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from propeller.errors import CorruptBlob, NotUnderstood
from propeller.handlers import TRANSITIONS
from propeller.status import decode, encode, rebuild, take
from propeller.workflow import (
    BackingOff,
    Collect,
    Collecting,
    Decision,
    Effect,
    Execution,
    ExecutionSpec,
    FuturesFound,
    Graph,
    InputsWritten,
    NodeEvent,
    NodeView,
    Preparing,
    Running,
    State,
    WorkflowPhase,
    WriteInputs,
    begin,
    decide,
    resume,
)
from propeller.workflow._spec import ExecutionConfig
from tests.unit.workflow.drive import Driver, execution, graph, plan, task

DYNAMIC = plan(graph(task("d0"), task("d1"), edges=[("d0", "d1")]))
INNER = graph(task("x"), task("y"), edges=[("x", "y")])
EVERYTHING = plan(
    graph(
        task("a"),
        {"id": "n0", "kind": "workflow", "workflow": {"subWorkflowRef": "inner"}},
        {"id": "n1", "kind": "array", "array": {"SubNodeSpec": task("item"), "Parallelism": 2}},
        {"id": "n2", "kind": "branch", "branch": {"if": {"then": "n2-n0"}, "else": "n2-n1"}},
        task("n2-n0"),
        task("n2-n1"),
        task("dyn"),
        task("z"),
        edges=[("a", "n0"), ("a", "n1"), ("n0", "n2"), ("n1", "n2"), ("n2", "dyn"), ("dyn", "z")],
    ),
    inner=INNER,
)


def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
    if isinstance(effect, WriteInputs) and of.unique_id(effect.node) == "n1":
        return (InputsWritten(5),)
    if isinstance(effect, Collect) and of.unique_id(effect.node) == "dyn":
        return (FuturesFound(effect.attempt, DYNAMIC.root),)
    return None


async def dynamic_graph(node: NodeView, attempt: int) -> Graph:
    return DYNAMIC.root


class CrashingDriver(Driver):
    """Loses its execution after the rounds named, and goes on from a snapshot; what was asked for is asked again."""

    def __init__(self, of: Execution, crash_after: set[int]) -> None:
        super().__init__(of, answer)
        self.crash_after = crash_after
        self.rounds = 0

    def carry_on(self, decision: Decision) -> None:
        while not self.execution.phase.ended:
            self.rounds += 1
            if self.rounds in self.crash_after:
                decision = self.crash()
            events = [(effect.node, event) for effect in decision.effects for event in self.events_of(effect)]
            if not events and decision.wake is None:
                return
            self.now = max(self.now, decision.wake or 0) if not events else self.now
            decision = decide(self.execution, events, self.now, TRANSITIONS)

    def crash(self) -> Decision:
        blob = encode(take(self.execution))
        self.execution = asyncio.run(rebuild(self.execution.info, self.execution.plan, decode(blob), dynamic_graph))
        return resume(self.execution, TRANSITIONS, self.now)


@given(st.sets(st.integers(1, 30)), st.sampled_from([0, 1, 3]))
def test_an_execution_rebuilt_at_any_reconcile_ends_as_if_it_never_crashed(crashes: set[int], parallelism: int) -> None:
    spec = ExecutionSpec(execution_config=ExecutionConfig(max_parallelism=parallelism))
    driver = CrashingDriver(execution(EVERYTHING, spec), crashes)

    driver.run()

    assert driver.execution.phase is WorkflowPhase.SUCCEEDED
    assert {attempt for _, attempt in driver.launched} == {0}
    assert len({name for name, _ in driver.launched}) == 13


def test_a_rebuilt_execution_counts_as_the_original_did() -> None:
    original = execution(EVERYTHING)
    Driver(original, answer).run()

    copy = asyncio.run(rebuild(original.info, original.plan, decode(encode(take(original))), dynamic_graph))

    assert copy.count() == original.count()
    assert copy.unmet == original.unmet
    assert copy.slots.used == original.slots.used == 0


def test_an_execution_before_its_first_reconcile_has_an_empty_snapshot() -> None:
    fresh = execution(EVERYTHING)
    begin(fresh, TRANSITIONS, 1000.0)
    assert len(encode(take(fresh))) < 500


def test_a_blob_that_unfolds_beyond_the_limit_is_refused() -> None:
    bomb = zstandard.compress(b"\0" * (65 * 1024 * 1024))
    with pytest.raises(CorruptBlob, match="does not decode"):
        decode(bomb)


@given(st.binary(max_size=200))
@example(b"\x9c\x00\xa5\x00\x00\x00\x00\x80")  # text that is not UTF-8
def test_garbage_is_refused_and_never_crashes(garbage: bytes) -> None:
    with pytest.raises((CorruptBlob, NotUnderstood)):
        decode(garbage)
    with pytest.raises((CorruptBlob, NotUnderstood)):
        decode(zstandard.compress(garbage))


@pytest.mark.parametrize(("version", "error"), [(99, NotUnderstood), (0, CorruptBlob)])
def test_a_snapshot_of_another_version_is_refused_by_its_number(version: int, error: type[Exception]) -> None:
    snapshot = msgspec.structs.replace(take(execution(EVERYTHING)), version=version)
    with pytest.raises(error, match=f"version {version}"):
        decode(encode(snapshot))


def test_a_newer_version_is_distinguished_from_a_damaged_one() -> None:
    with pytest.raises(NotUnderstood, match="version 7"):
        decode(zstandard.ZstdCompressor().compress(msgspec.msgpack.encode([7, {"all": "is different"}, 3])))


async def test_the_snapshot_of_another_execution_is_refused() -> None:
    snapshot = msgspec.structs.replace(take(execution(EVERYTHING)), uid="another")
    made = execution(EVERYTHING)
    with pytest.raises(CorruptBlob, match="another"):
        await rebuild(made.info, made.plan, snapshot, dynamic_graph)


@pytest.mark.parametrize(
    ("earlier", "state"),
    [
        (["W", 1, 5.0, 4.0, "quota"], BackingOff(1, 5.0, 4.0, "quota")),
        (["R", 1, 4.0, True], Running(1, 4.0, started=True)),
        (["C", 1, 4.0], Collecting(1, 4.0)),
        (["P"], Preparing()),
    ],
)
def test_states_of_earlier_versions_decode_and_those_ignore_new_fields(earlier: list[Any], state: State) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(earlier), type=State) == state
    now = msgspec.msgpack.decode(msgspec.msgpack.encode(state))
    assert now[: len(earlier)] == earlier, "fields are only added at the end"
