"""Snapshots written by another client: each is refused, or its execution continues without raising."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import zstandard

from propeller.errors import CorruptBlob
from propeller.handlers import TRANSITIONS
from propeller.status import Snapshot, decode, encode, rebuild, take
from propeller.status._snapshot import FrameRecord
from propeller.workflow import (
    BackingOff,
    Collecting,
    Execution,
    Launching,
    Preparing,
    Refusals,
    Running,
    RunningSubgraph,
    RunningSubtasks,
    WorkflowPhase,
    WritingOutputs,
    resume,
)
from tests.unit.status.test_snapshot import EVERYTHING, answer, dynamic_graph
from tests.unit.workflow.drive import Driver, execution

NAN, INFINITE = float("nan"), float("inf")
TIMES = [NAN, INFINITE, -INFINITE, -1.0, 1e300, 3e11, 1000.0]
NUMBERS = [-1, 0, 1, 2, 7, 255, 256, 300, 10**6, 2**31, 2**63 - 1, -(2**63)]


class _Recording(Driver):
    """Keeps a snapshot of every round."""

    def __init__(self, of: Execution) -> None:
        super().__init__(of, answer)
        self.snapshots: list[Snapshot] = []

    def events_of(self, effect: Any) -> Any:
        self.snapshots.append(take(self.execution))
        return super().events_of(effect)


def recorded() -> list[Snapshot]:
    driver = _Recording(execution(EVERYTHING))
    driver.run()
    return driver.snapshots


SNAPSHOTS = recorded()


def load(snapshot: Snapshot) -> Execution:
    fresh = execution(EVERYTHING)
    return asyncio.run(rebuild(fresh.info, fresh.plan, decode(encode(snapshot)), dynamic_graph))


def changed(**fields: Any) -> Snapshot:
    return msgspec.structs.replace(SNAPSHOTS[0], **fields)


def with_state(state: Any) -> Snapshot:
    (node,) = SNAPSHOTS[0].states
    return changed(states={node: state})


@pytest.mark.parametrize(
    "damaged",
    [
        changed(attempts=b""),
        changed(phases=bytes([200]) * len(SNAPSHOTS[0].phases)),
        changed(frames=[]),
        changed(frames=[FrameRecord(-1, 0), FrameRecord(-1, 0)]),
        changed(phase=WorkflowPhase.FAILED, failure=None),
        changed(frames=[FrameRecord(-1, 0, items=0)]),
        changed(frames=[FrameRecord(-1, 0, items=7)]),
        changed(frames=[FrameRecord(-1, 0), FrameRecord(0, 0, items=10**9)]),
        changed(frames=[FrameRecord(-1, 0), FrameRecord(0, 0, items=3)]),
        changed(frames=[FrameRecord(-1, 0), FrameRecord(0, 200)]),
        changed(frames=[FrameRecord(-1, 0, ended=True)]),
        changed(created_at=NAN),
        changed(created_at=1e300),
        changed(ended_at=-INFINITE),
        changed(started=b"\0" * 7),
        changed(started=b"", ended=bytes(4 * len(SNAPSHOTS[0].phases))),
        changed(started=b"\xff" * 4 * len(SNAPSHOTS[0].phases)),
        changed(states={}),
        changed(states={10**6: Running(0, 0.0)}),
        changed(states={-1: Running(0, 0.0)}),
        changed(system_failures={0: -5}),
        changed(system_failures={0: 10**12}),
        with_state(Running(300, 1000.0)),
        with_state(Running(-1, 1000.0)),
        with_state(Running(1, 1000.0)),
        with_state(Running(0, NAN)),
        with_state(BackingOff(0, INFINITE, 0.0, "")),
        with_state(Launching(0, 0.0, Refusals(-1))),
        with_state(Launching(0, 0.0, Refusals(1, NAN))),
        with_state(RunningSubtasks(0, 1, 1)),
        with_state(Preparing()),
        with_state(WritingOutputs()),
        with_state(RunningSubgraph(-1)),
        with_state(RunningSubgraph(0)),
        with_state(RunningSubgraph(10**6)),
    ],
    ids=lambda snapshot: str(msgspec.to_builtins(snapshot))[-60:],
)
def test_an_impossible_snapshot_is_refused(damaged: Snapshot) -> None:
    with pytest.raises(CorruptBlob):
        load(damaged)


def test_a_number_that_does_not_fit_is_refused() -> None:
    for number in (2**64 - 1, -(2**63)):
        raw = msgspec.msgpack.decode(zstandard.decompress(encode(SNAPSHOTS[0])))
        raw[9] = {number: ["R", 0, 0.0]}
        with pytest.raises(CorruptBlob):
            decode(zstandard.compress(msgspec.msgpack.encode(raw)))


def test_a_flipped_bit_is_noticed_wherever_it_is() -> None:
    blob = encode(SNAPSHOTS[-1])
    for bit in range(8 * len(blob)):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with suppress(CorruptBlob):
            assert decode(bytes(damaged)) == decode(blob)  # of the frame's head some bits mean nothing


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(CorruptBlob):
        decode(zstandard.compress(b"\x91" * 100_000))


def test_every_snapshot_of_ours_is_accepted() -> None:
    for snapshot in SNAPSHOTS:
        load(snapshot)


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_snapshot_is_refused_or_its_execution_goes_on_without_raising(seed: int) -> None:
    rng = random.Random(seed)
    snapshot = rng.choice(SNAPSHOTS)
    for _ in range(rng.choice((1, 1, 2, 3))):
        snapshot = _damage(rng, snapshot)
    try:
        found = load(snapshot)
    except CorruptBlob:
        return
    driver = Driver(found, answer)
    driver.now = 2000.0
    driver.carry_on(resume(found, TRANSITIONS, driver.now))
    encode(take(found))


def _damage(rng: random.Random, snapshot: Snapshot) -> Snapshot:
    nodes = len(snapshot.phases)
    match rng.randrange(8):
        case 0:
            phases = bytearray(snapshot.phases)
            phases[rng.randrange(nodes)] = rng.choice((0, 1, 2, 3, 5, 6, 7, 13, 255))
            return msgspec.structs.replace(snapshot, phases=bytes(phases))
        case 1:
            attempts = bytearray(snapshot.attempts)
            attempts[rng.randrange(nodes)] = rng.choice((0, 1, 254, 255))
            return msgspec.structs.replace(snapshot, attempts=bytes(attempts))
        case 2:
            states = dict(snapshot.states)
            node = rng.choice([*states, rng.randrange(nodes), rng.choice(NUMBERS)])
            states[node] = _state(rng)
            return msgspec.structs.replace(snapshot, states=states)
        case 3:
            records = list(snapshot.frames)
            record = FrameRecord(rng.choice(NUMBERS), rng.choice(NUMBERS), rng.choice(NUMBERS), rng.random() < 0.5)
            records[rng.randrange(len(records)) if records else 0 :] = [record]
            return msgspec.structs.replace(snapshot, frames=records)
        case 4:
            return msgspec.structs.replace(snapshot, created_at=rng.choice(TIMES), ended_at=rng.choice(TIMES))
        case 5:
            return msgspec.structs.replace(snapshot, phase=rng.choice(list(WorkflowPhase)))
        case 6:
            return msgspec.structs.replace(snapshot, frames=[rng.choice(snapshot.frames), *snapshot.frames])
        case _:
            failures = {rng.choice(NUMBERS): rng.choice(NUMBERS)}
            return msgspec.structs.replace(snapshot, system_failures=failures)


def _state(rng: random.Random) -> Any:
    def number() -> int:
        return rng.choice(NUMBERS)

    def time() -> float:
        return rng.choice(TIMES)

    return rng.choice(
        [
            Launching(number(), time(), Refusals(number(), time(), time(), "r")),
            BackingOff(number(), time(), time(), "r"),
            Running(number(), time()),
            Collecting(number(), time()),
            Preparing(),
            RunningSubgraph(number(), number(), time()),
            RunningSubtasks(number(), number(), number(), number(), number()),
            WritingOutputs(number()),
        ]
    )
