"""What a task's way needs is imported before the controller serves: an import on the loop holds up everybody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

_RUN = """
import asyncio, json, sys
import propeller.cli._controller
from propeller.testing import VirtualTimeLoop
from tests.unit.controller.bench import WORKFLOWS, bench
from tests.unit.workflow.drive import TASK, graph, task

async def run():
    async with bench() as of, of.controller():
        before = set(sys.modules)
        body = {"metadata": {"name": "w"}, "spec": graph(task("n0")), "tasks": {"t": TASK}}
        await of.user.create(WORKFLOWS, body, "ns")
        await asyncio.sleep(1.0)
        await of.report("w-n0-0", phase="Succeeded")
        await asyncio.sleep(5.0)
        return (await of.status())["state"], sorted(set(sys.modules) - before)

with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
    print(json.dumps(runner.run(run())))
"""


def test_the_first_workflow_of_a_controller_imports_nothing() -> None:
    ran = subprocess.run([sys.executable, "-c", _RUN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == ["Succeeded", []]
