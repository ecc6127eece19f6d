"""Seeds that CI runs; more of them with `make simulate SEEDS=10000`."""

from __future__ import annotations

import json

import pytest

from tests.simulation.command import Simulation
from tests.simulation.reach_doc import section, written
from tests.simulation.worlds import SEEDS, has_moved, of_json, reached

FOUND_AMONG_SHARDS_BY = {
    "a halted process sends what it was about to": 202,
    "a lease that has lapsed is acquired again": 169,
    "a lost lease is acted on": 211,
    "a shard is taken before it is given up": 203,
    "workflows without a label are dropped": 200,
}
"""As FOUND_BY, in worlds whose controllers divide the workflows (`--sharded`)."""

FOUND_WITH_A_PLUGIN_BY = {
    "a pod that is gone has succeeded": 221,
    "pods are stopped before a status has the reason": 244,
    "pods that still run are left at the end": 534,
    "the next attempt does not wait for the last to stop": 209,
}
"""As FOUND_BY, in worlds whose tasks run by a plugin of another package (`--plugged`)."""

FOUND_WITH_A_CACHE_BY = {
    "a launch does not wait for the hit that it builds on": 120,
    "inputs are no part of the key": 200,
    "reservations are held by everybody": 200,
    "reservations are not given back": 200,
}
"""As FOUND_BY, in worlds whose tasks are cached (`--cached`)."""

FOUND_WITH_GATES_BY = {
    "an answer is acted on before a status holds it": 200,
    "an answer that a status holds is asked for again": 222,
    "changes of the object are no news while gates wait": 201,
    "sleeps are forgotten by a restart": 226,
}
"""As FOUND_BY, in worlds whose workflows have gates (`--gated`)."""

FOUND_WITH_MORE: dict[tuple[str, ...], int] = {
    ("a restart cancels failure nodes", "failures"): 1,
    ("a restart forgets what was to be recovered", "recoveries"): 0,
    ("an execution of an earlier parent of the name counts", "namesakes", "--nested"): 5,
    ("a snapshot that a newer one replaced is lost", "restores"): 0,
    ("a store that lost its data grants at once", "losses", "--sharded"): 0,
    ("gates have any time", "timeouts", "--gated"): 0,
    ("reservations are given back with their shard", "reservations", "--cached", "--sharded"): 13,
    ("reservations of what is deleted are kept", "reservations", "--cached"): 4,
    ("the time of a gate is forgotten by a restart", "timeouts", "--gated"): 1,
    ("tokens of what is handed over come back at once", "moves", "--sharded"): 0,
    ("what is under way goes on after a handover", "handovers", "--sharded"): 8,
    ("what was reserved before a restart is not kept", "reservations", "--cached"): 6,
    ("what ran before a restart takes no shared tokens", "moves", "--sharded"): 8,
}
"""As FOUND_BY, in worlds that have what others seldom have (`--often`, the second of each key)."""

MORE = [(mutation, often, options, seed) for (mutation, often, *options), seed in FOUND_WITH_MORE.items()]

FOUND_WITH_LAUNCH_PLANS_BY = {
    "a closure that could not be stored is referred to": 222,
    "all items of a map task start at once": 200,
    "an execution that fails is tried again": 344,
    "an execution that runs has succeeded": 200,
    "an execution that was started before is anothers": 201,
    "executions are not stopped": 203,
    "the end of an execution brings no parent back": 217,
}
"""As FOUND_BY, in worlds whose workflows start launch plans (`--nested`)."""

FOUND_WITH_UPLOADERS_BY = {
    "a failed program is waited for for ever": 212,
    "the end of a program is that of its upload": 200,
}
"""As FOUND_BY, in worlds whose tasks are raw containers (`--loaded`)."""

FOUND_BY = {
    "all items of a map task start at once": 209,
    "an event is lost after a failed write": 229,
    "a launch whose answer is lost is another attempt": 200,
    "a lowered limit goes on being granted": 201,
    "a pod that is gone has succeeded": 221,
    "a pod that is being deleted never counts": 209,
    "a quota that is raised goes unnoticed": 378,
    "a restore starts nothing over": 4170,
    "a restore that one cache notices is taken for known to both": 473,
    "a server that asks to wait is asked again at once": 6,
    "a stop is taken for having stopped": 209,
    "a type that is gone is asked for without a pause": 306,
    "an adopted pod that is missing is waited for": 252,
    "an informer gives up on a type that is gone": 261,
    "any number of items is enough": 205,
    "any number is an attempt": 200,
    "anybodys pod is ours": 217,
    "attempts that pods prove are ignored": 695,
    "changes of limits go unnoticed": 86,
    "denials use up attempts": 209,
    "foreign statuses are overwritten": 289,
    "limits that are wrong are those of the settings": 360,
    "nothing is recovered": 70,
    "other limits forget what is held": 222,
    "outages of the store fail attempts": 223,
    "pods are stopped before a status has the reason": 239,
    "pods that have ended are deleted": 6038,
    "pods that still run are left at the end": 621,
    "shared tokens are given back twice": 133,
    "sidecars are left running": 276,
    "slots of launches are not given back": 104,
    "status is written onto any version": 200,
    "system failures draw on the users budget": 203,
    "task timers are ignored": 201,
    "that a type has a status subresource is remembered": 232,
    "the budget of a status is ignored": 200,
    "the next attempt does not wait for the last to stop": 200,
    "the parallelism limit is ignored": 200,
    "the phase of a pod decides": 205,
    "the store forgets a lender": 246,
    "the store forgets who waits when it lends to another": 296,
    "timers are forgotten": 205,
    "tokens come back when a pod is told to stop": 263,
    "tokens of what has ended stay out": 201,
    "what a pod that is gone has left does not count": 272,
    "what a tenant does not lend is lent": 324,
    "what is inside a node takes any time": 225,
    "what ran before a restart takes no tokens": 450,
}
"""A seed that finds each: `python -m tests.simulation --first 200 --stop --mutation M` looks for one."""


SIMULATION = Simulation("tests.simulation")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("options", SEEDS)
def test_no_seed_breaks_a_promise(options: str) -> None:
    """And seeds meet what docs/testing.md says: `python -m tests.simulation.reach_doc` counts again."""
    output = SIMULATION.breaks_nothing(SEEDS[options], *options.split(), "--processes", "0", "--reached")
    if (known := reached().get(options)) is not None:
        assert has_moved(of_json(json.loads(output.splitlines()[-1])), known) == []


def test_the_page_has_the_table_of_what_seeds_reach() -> None:
    assert written() == section()


def test_a_seed_tells_the_same_story_in_every_process_and_whatever_ran_before() -> None:
    alone = SIMULATION.run("--seed", "12", "--trace")
    later = SIMULATION.run("--first", "10", "--seeds", "3", "--trace")
    event_log = alone.stdout.splitlines()[:-1]  # the last line has the time that it took
    assert len(event_log) > 50
    assert event_log == later.stdout.splitlines()[:-1][-len(event_log) :]


@pytest.mark.parametrize("mutation", sorted(FOUND_BY))
def test_a_planted_defect_is_found(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_BY)


@pytest.mark.parametrize("mutation", sorted(FOUND_WITH_A_PLUGIN_BY))
def test_a_planted_defect_is_found_where_tasks_run_by_a_plugin(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_WITH_A_PLUGIN_BY, "--plugged")


@pytest.mark.parametrize("mutation", sorted(FOUND_AMONG_SHARDS_BY))
def test_a_planted_defect_is_found_where_controllers_divide_the_workflows(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_AMONG_SHARDS_BY, "--sharded")


@pytest.mark.parametrize("mutation", sorted(FOUND_WITH_A_CACHE_BY))
def test_a_planted_defect_is_found_where_tasks_are_cached(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_WITH_A_CACHE_BY, "--cached")


@pytest.mark.parametrize("mutation", sorted(FOUND_WITH_GATES_BY))
def test_a_planted_defect_is_found_where_workflows_have_gates(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_WITH_GATES_BY, "--gated")


@pytest.mark.parametrize(("mutation", "often", "options", "seed"), MORE)
def test_a_planted_defect_is_found_where_what_is_rare_is_frequent(
    mutation: str, often: str, options: list[str], seed: int
) -> None:
    SIMULATION.finds(mutation, {mutation: seed}, "--often", often, *options)


@pytest.mark.parametrize("mutation", sorted(FOUND_WITH_LAUNCH_PLANS_BY))
def test_a_planted_defect_is_found_where_workflows_start_launch_plans(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_WITH_LAUNCH_PLANS_BY, "--nested")


@pytest.mark.parametrize("mutation", sorted(FOUND_WITH_UPLOADERS_BY))
def test_a_planted_defect_is_found_where_uploaders_go_on_after_programs(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_WITH_UPLOADERS_BY, "--loaded")
