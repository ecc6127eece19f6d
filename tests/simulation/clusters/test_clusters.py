"""Seeds that CI runs of worlds with several clusters; more with `python -m tests.simulation.clusters --seeds N`."""

from __future__ import annotations

import pytest

from tests.simulation.command import Simulation

SEEDS = 120
SHARDED_SEEDS = 40
ROLLOUT_SEEDS = 40

FOUND_BY = {
    "an attempt of a lost cluster is launched again elsewhere": 164,
    "placements are not written": 0,
    "pods of other clusters are not held": 21,
    "workflows that cannot be asked for are gone": 3,
}
"""A seed that finds each planted defect: `--stop --mutation M` looks for one."""

FOUND_AMONG_SHARDS_BY = {
    "a halted process sends to other clusters what it was about to": 8,
    "a shard that is taken is not followed in other clusters": 0,
}
"""As FOUND_BY, in worlds whose controllers divide the workflows (`--sharded`)."""

FOUND_IN_ROLLOUTS_BY = {
    "a new version gets the shards of its next stage as well": 1,
    "a new version is not told where it is tried": 32,
    "a new version launches wherever the table says": 32,
}
"""As FOUND_BY, in worlds that try a new version in one cluster (`--rollout`)."""

FOUND_WITH_MORE: dict[tuple[str, ...], int] = {
    ("executions do not wait for their cluster", "takeovers"): 4,
    ("the wall clock tells how long something took", "skews", "--sharded"): 6,
    ("what a cluster that is away may run is begun again under its number", "outages"): 14,
}
"""As FOUND_BY, in worlds that have what others seldom have (`--often`, the second of each key)."""

MORE = [
    ("outages",),
    ("outages", "--sharded"),
    ("takeovers",),
    ("takeovers", "--sharded"),
    ("skews",),
    ("skews", "--sharded"),
    ("skews", "--rollout"),
]

PLANTED = [(mutation, often, options, seed) for (mutation, often, *options), seed in FOUND_WITH_MORE.items()]


SIMULATION = Simulation("tests.simulation.clusters")


def test_no_seed_breaks_a_promise() -> None:
    SIMULATION.breaks_nothing(SEEDS)


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    once = SIMULATION.run("--seed", "12")
    assert once.returncode == 0
    assert once.stdout == SIMULATION.run("--seed", "12").stdout


@pytest.mark.parametrize("mutation", sorted(FOUND_BY))
def test_a_planted_defect_is_found(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_BY)


@pytest.mark.timeout(300)
def test_no_seed_breaks_a_promise_where_controllers_divide_the_workflows() -> None:
    SIMULATION.breaks_nothing(SHARDED_SEEDS, "--sharded")


@pytest.mark.parametrize("mutation", sorted(FOUND_AMONG_SHARDS_BY))
def test_a_planted_defect_is_found_where_controllers_divide_the_workflows(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_AMONG_SHARDS_BY, "--sharded")


@pytest.mark.timeout(300)
def test_no_seed_breaks_a_promise_where_a_new_version_is_tried_in_one_cluster() -> None:
    SIMULATION.breaks_nothing(ROLLOUT_SEEDS, "--rollout")


@pytest.mark.parametrize("seed", [54, 126, 206])
def test_a_seed_that_once_broke_a_promise_keeps_it(seed: int) -> None:
    """A shard was held, not worked on; an attempt ran in two clusters, one of which had forgotten it; an execution went
    to another shard while its own was given up.
    """
    ran = SIMULATION.run("--seed", str(seed), "--rollout")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("mutation", sorted(FOUND_IN_ROLLOUTS_BY))
def test_a_planted_defect_is_found_where_a_new_version_is_tried_in_one_cluster(mutation: str) -> None:
    SIMULATION.finds(mutation, FOUND_IN_ROLLOUTS_BY, "--rollout")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("often", "options"), [(often, options) for often, *options in MORE])
def test_no_seed_breaks_a_promise_where_controllers_die_and_clusters_go_away(often: str, options: list[str]) -> None:
    SIMULATION.breaks_nothing(8, "--often", often, *options)


@pytest.mark.parametrize(("mutation", "often", "options", "seed"), PLANTED)
def test_a_planted_defect_is_found_where_controllers_die_and_clusters_go_away(
    mutation: str, often: str, options: list[str], seed: int
) -> None:
    SIMULATION.finds(mutation, {mutation: seed}, "--often", often, *options)
