"""A soak of a few rounds in which every kind of fault comes once; `make soak` runs as long as one likes."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.soak.ground import Ground, embedded_ground, kube_apiserver_ground
from tests.soak.mutations import MUTATIONS
from tests.soak.plan import Kind, draw
from tests.soak.report import Report
from tests.soak.soak import Soak

SHORT = 2210
"""A seed whose first three rounds, of 10 seconds, have every kind of fault."""

FINDS_ALL = 873
"""A seed whose first round has what it takes to find each planted defect: crashes, and many writes."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "server",
    [
        pytest.param("embedded", marks=pytest.mark.needs("embedded")),
        pytest.param("kube-apiserver", marks=pytest.mark.needs("kube-apiserver")),
    ],
)
async def test_stores_and_subscribers_come_to_the_list_after_every_kind_of_fault(server: str, tmp_path: Path) -> None:
    ground: AbstractAsyncContextManager[Ground]
    ground = kube_apiserver_ground(tmp_path) if server == "kube-apiserver" else embedded_ground()

    def has_every_kind(report: Report) -> bool:
        return report.faults.keys() == set(Kind)

    async with ground as there:
        soak = Soak(there, SHORT, print)
        report = await soak.run(has_every_kind)
    assert not report.failures, "\n".join(report.lines())
    assert report.told > report.writes.total()
    assert report.fences > 0


def test_a_seed_draws_the_same_rounds_whatever_was_drawn_before() -> None:
    alone = draw(7, 5)
    assert [draw(7, number) for number in range(6)][5] == alone
    assert draw(8, 5) != alone


@pytest.mark.timeout(240)
def test_every_planted_defect_is_found() -> None:
    with ThreadPoolExecutor(len(MUTATIONS)) as pool:
        runs = dict(zip(MUTATIONS, pool.map(_run_with, MUTATIONS), strict=True))
    missed = {mutation: run for mutation, run in runs.items() if run.returncode != 1 or "BROKEN" not in run.stdout}
    assert not missed, "\n".join(f"{mutation}: {run.stdout}{run.stderr}" for mutation, run in missed.items())


def _run_with(mutation: str) -> subprocess.CompletedProcess[str]:
    options = ["--server", "embedded", "--minutes", "1", "--seed", str(FINDS_ALL), "--settle", "3"]
    command = [sys.executable, "-m", "tests.soak", *options, "--mutation", mutation]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy(), cwd=root)
