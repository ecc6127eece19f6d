"""Controllers that are killed again and again on a real API server, and the workflows that none of them saw through."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest._killed import TASKS, run
from propeller.testing import run_kube_apiserver

WORKFLOWS = 12
SEED = 7

pytestmark = pytest.mark.needs("kube-apiserver")


@pytest.mark.timeout(240)
async def test_controllers_killed_in_a_loop_run_every_attempt_once_and_lose_no_result(tmp_path: Path) -> None:
    with run_kube_apiserver(
        tmp_path
    ) as server:  # of its own: it is under load, and pods of other tests would be in the way
        outcome = await run(server, tmp_path, WORKFLOWS, SEED)
    assert outcome.problems == []
    assert outcome.pods == WORKFLOWS * TASKS
    assert outcome.killed_at_work >= 3, "too few to have shown anything: more workflows are needed"
    assert outcome.checkpoints, "no life went on from a status"
