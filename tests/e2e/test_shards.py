"""Controllers that divide the workflows of real API servers: a process is killed, a controller joins and leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest._fleet import several
from loadtest._shards import run, take_over_alone
from propeller.reconcile import ElectionOptions
from propeller.testing import run_kube_apiserver

WORKFLOWS = 60
MANY = 200

pytestmark = pytest.mark.needs("kube-apiserver")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("processes", [2, 4])
async def test_a_killed_process_loses_nothing_and_its_shards_are_taken_before_its_lease_ends(
    tmp_path: Path, processes: int
) -> None:
    with run_kube_apiserver(tmp_path) as server:
        outcome = await run([server], tmp_path, WORKFLOWS, processes, max_task=5.0)
    assert outcome.problems == []
    assert outcome.take_over < ElectionOptions().duration  # its supervisor has seen it die
    assert len(outcome.carried) == processes
    assert max(outcome.carried) < WORKFLOWS, "a process has the workflows of all"


@pytest.mark.timeout(300)
async def test_a_killed_process_loses_nothing_in_any_of_two_clusters(tmp_path: Path) -> None:
    with several(tmp_path, 2) as servers:
        outcome = await run(servers, tmp_path, MANY, 2, max_task=10.0)
    assert outcome.problems == []
    assert outcome.take_over < ElectionOptions().duration
    assert max(outcome.carried) < MANY, "a process has the workflows of all"
    assert min(outcome.pods) > MANY / 4, "both clusters run some"


@pytest.mark.timeout(300)
async def test_without_a_supervisor_a_killed_controllers_shards_are_taken_soon_after_its_lease_ends(
    tmp_path: Path,
) -> None:
    with run_kube_apiserver(tmp_path) as server:
        seconds, problems = await take_over_alone([server], tmp_path, WORKFLOWS, max_task=5.0)
    assert problems == []
    assert seconds < ElectionOptions().duration + 5.0
