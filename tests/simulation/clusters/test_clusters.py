"""Seeds that CI runs of worlds with several clusters; more with `python -m tests.simulation.clusters --seeds N`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SEEDS = 120
SHARDED_SEEDS = 40

FOUND_BY = {
    "an attempt of a lost cluster is launched again elsewhere": 164,
    "placements are not written": 0,
    "pods of other clusters are not held": 21,
    "workflows that cannot be asked for are gone": 3,
}
"""A seed that finds each planted defect: `--stop --mutation M` looks for one."""

FOUND_AMONG_SHARDS_BY = {
    "a halted process sends to other clusters what it was about to": 4,
    "a shard that is taken is not followed in other clusters": 0,
}
"""As FOUND_BY, in worlds whose controllers divide the workflows (`--sharded`)."""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "tests.simulation.clusters", *arguments]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)


def test_no_seed_breaks_a_promise() -> None:
    ran = _run("--seeds", str(SEEDS))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith(f"{SEEDS} seeds, ")


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    once = _run("--seed", "12")
    assert once.returncode == 0
    assert once.stdout == _run("--seed", "12").stdout


@pytest.mark.parametrize("mutation", sorted(FOUND_BY))
def test_a_planted_defect_is_found(mutation: str) -> None:
    seed = FOUND_BY[mutation]
    ran = _run("--seed", str(seed), "--mutation", mutation)
    assert ran.stdout.startswith(f"seed {seed}: "), ran.stdout + ran.stderr
    assert " broken, first: " in ran.stdout


@pytest.mark.timeout(300)
def test_no_seed_breaks_a_promise_where_controllers_divide_the_workflows() -> None:
    ran = _run("--seeds", str(SHARDED_SEEDS), "--sharded")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith(f"{SHARDED_SEEDS} seeds, ")


@pytest.mark.parametrize("mutation", sorted(FOUND_AMONG_SHARDS_BY))
def test_a_planted_defect_is_found_where_controllers_divide_the_workflows(mutation: str) -> None:
    seed = FOUND_AMONG_SHARDS_BY[mutation]
    ran = _run("--seed", str(seed), "--sharded", "--mutation", mutation)
    assert ran.stdout.startswith(f"seed {seed}: "), ran.stdout + ran.stderr
    assert " broken, first: " in ran.stdout
