"""Jobs of remote services: no seed breaks a promise, and defects that are planted are found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import msgspec
import pytest

from propeller.controller import _effects, _left_jobs, _loading, _remote_jobs, _shards
from propeller.controller._effects import needs_checkpoint
from propeller.handlers import RemoteJobs
from propeller.handlers.plugins import RemoteTask
from propeller.status import _head
from propeller.status._snapshot import Snapshot, take
from propeller.workflow import Effect, Execution, Follow
from tests.simulation.remote import World, simulate
from tests.simulation.remote_halted import HaltingWorld
from tests.simulation.remote_late import LateWorld
from tests.simulation.remote_recovered import RecoveringWorld
from tests.simulation.remote_sharded import ShardedWorld
from tests.simulation.remote_worlds import JOB_WORLDS
from tests.simulation.worlds import has_moved, reached

Defect = Callable[[], AbstractContextManager[object]]


def an_id_is_relied_on_before_a_status_has_it() -> AbstractContextManager[object]:
    def at_once(execution: Execution, effect: Effect) -> bool:
        return type(effect) is not Follow and needs_checkpoint(execution, effect)

    return mock.patch.object(_effects, "needs_checkpoint", at_once)


def ids_are_in_no_status() -> AbstractContextManager[object]:
    def without(execution: Execution) -> Snapshot:
        return msgspec.structs.replace(take(execution), jobs=[])

    return mock.patch.object(_head, "take", without)


def jobs_are_left_at_the_end() -> AbstractContextManager[object]:
    async def nothing(*_: object) -> None:
        return

    return mock.patch.object(_left_jobs.LeftJobs, "delete", nothing)


def workflows_with_jobs_have_no_finalizer() -> AbstractContextManager[object]:
    async def nothing(*_: object) -> None:
        return

    return mock.patch.object(_remote_jobs.JobFinalizers, "hold", nothing)


def items_of_a_map_task_have_one_key() -> AbstractContextManager[object]:
    def key(task: RemoteTask) -> str:
        return f"{task.uid}/{task.name.rpartition('-m-')[0] or task.name}"

    return mock.patch.object(RemoteTask, "key", property(key))


def nothing_is_recovered() -> AbstractContextManager[object]:
    async def nothing(*_: object) -> None:
        return

    return mock.patch.object(_loading.Loader, "_recover", nothing)


def recovered_nodes_have_the_outputs_of_the_first() -> AbstractContextManager[object]:
    left_of = _loading._left_of

    def mixed(execution: Execution) -> tuple[dict[str, str], dict[str, str]]:
        outputs, children = left_of(execution)
        return dict.fromkeys(outputs, next(iter(outputs.values()), "")), children

    return mock.patch.object(_loading, "_left_of", mixed)


def answers_of_services_during_a_handover_are_dropped() -> AbstractContextManager[object]:
    return mock.patch.object(_shards.Shards, "_note_jobs", return_value=None)


def jobs_of_what_was_handed_over_are_looked_at() -> AbstractContextManager[object]:
    return mock.patch.object(RemoteJobs, "forget", return_value=None)


def jobs_that_are_answered_late_are_in_no_status() -> AbstractContextManager[object]:
    async def nothing(*_: object) -> None:
        return

    return mock.patch.object(_left_jobs.LeftJobRecords, "keep", nothing)


def the_next_process_deletes_no_job_that_was_answered_late() -> AbstractContextManager[object]:
    return mock.patch.object(_left_jobs, "left_jobs_of", return_value=[])


def a_process_that_was_halted_does_not_ask_whether_it_may_act() -> AbstractContextManager[object]:
    made = RemoteJobs.__init__

    def unfenced(jobs: RemoteJobs, *given: Any) -> None:
        made(jobs, *given[:-1])

    return mock.patch.object(RemoteJobs, "__init__", unfenced)


FOUND_BY: dict[Defect, int] = {
    an_id_is_relied_on_before_a_status_has_it: 4,
    ids_are_in_no_status: 0,
    jobs_are_left_at_the_end: 15,
    workflows_with_jobs_have_no_finalizer: 5,
}
"""A seed that finds each."""


FOUND_WITH_MAPS_BY: dict[Defect, int] = {items_of_a_map_task_have_one_key: 1}
"""As FOUND_BY, in worlds with map tasks."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", JOB_WORLDS)
def test_no_seed_breaks_a_promise(name: str) -> None:
    """And seeds meet what docs/testing.md says: `python -m tests.simulation.reach_doc --only jobs` counts again."""
    found = JOB_WORLDS[name].live()
    assert found.broken == {}
    if (known := reached().get(name)) is not None:
        assert has_moved(found.reached, known) == []


def test_a_seed_is_the_same_world_each_time() -> None:
    with an_id_is_relied_on_before_a_status_has_it():
        assert simulate(FOUND_BY[an_id_is_relied_on_before_a_status_has_it]) == simulate(
            FOUND_BY[an_id_is_relied_on_before_a_status_has_it]
        )


@pytest.mark.parametrize("defect", FOUND_BY, ids=lambda defect: defect.__name__)
def test_a_planted_defect_is_found(defect: Defect) -> None:
    with defect():
        assert simulate(FOUND_BY[defect])


@pytest.mark.parametrize("defect", FOUND_WITH_MAPS_BY, ids=lambda defect: defect.__name__)
def test_a_planted_defect_of_map_tasks_is_found(defect: Defect) -> None:
    with defect():
        assert simulate(FOUND_WITH_MAPS_BY[defect], mapped=True)


FOUND_IN: list[tuple[Defect, type[World], int]] = [
    (nothing_is_recovered, RecoveringWorld, 19),
    (recovered_nodes_have_the_outputs_of_the_first, RecoveringWorld, 19),
    (answers_of_services_during_a_handover_are_dropped, ShardedWorld, 6),
    (jobs_of_what_was_handed_over_are_looked_at, ShardedWorld, 0),
    (a_process_that_was_halted_does_not_ask_whether_it_may_act, HaltingWorld, 49),
    (jobs_that_are_answered_late_are_in_no_status, LateWorld, 1),
    (the_next_process_deletes_no_job_that_was_answered_late, LateWorld, 41),
]
"""As FOUND_BY, in worlds of other kinds."""


@pytest.mark.parametrize(("defect", "of", "seed"), FOUND_IN, ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_defect_is_found_in_worlds_of_its_kind(defect: Defect, of: type[World], seed: int) -> None:
    with defect():
        assert simulate(seed, of=of)
