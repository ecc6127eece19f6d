"""The way of a pod's event to the create of its successor's pod is that of docs/architecture.md."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from tests.unit.controller.bench import bench
from tests.unit.controller.test_at_hand import ended, on, pod, store
from tests.unit.workflow.drive import task

ARCHITECTURE = Path(__file__).parents[3] / "docs" / "architecture.md"
MAX_STAGES = 6


def stages() -> list[list[str]]:
    """The functions of each stage, by their qualified names."""
    table = ARCHITECTURE.read_text().split("## The way of one pod event")[1].split("\n\n")[2]
    rows = [line.split("|")[2] for line in table.splitlines() if re.match(r"\| \d", line)]
    return [re.findall(r"`([\w.]+)`", functions) for functions in rows]


class Trace:
    """Calls of our functions, from the first of `begin` to the first of `end`."""

    def __init__(self, begin: str, end: str) -> None:
        self.calls: list[str] = []
        self._begin, self._end = begin, end

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or "/propeller/" not in frame.f_code.co_filename:
            return
        name = frame.f_code.co_qualname
        if self.calls or name == self._begin:
            self.calls.append(name)
        if name == self._end:
            sys.setprofile(None)


async def test_a_pod_event_leads_to_its_successors_create_in_the_stages_that_the_docs_tell() -> None:
    told = stages()
    assert 0 < len(told) <= MAX_STAGES
    names = [name for stage in told for name in stage]
    async with bench() as made, (of := on(made, store(is_local=True))).controller():
        await of.create(task("n0"), task("n1"), edges=[("n0", "n1")])
        await pod(of, "w-n0-0")
        await asyncio.sleep(5.0)  # all that the launch leads to is over
        trace = Trace(names[0], names[-1])
        sys.setprofile(trace)
        try:
            await of.report("w-n0-0", phase="Succeeded")
            await pod(of, "w-n1-0")
        finally:
            sys.setprofile(None)
        await of.report("w-n1-0", phase="Succeeded")
        assert (await ended(of))["phase"] == 3
    assert list(dict.fromkeys(name for name in trace.calls if name in names)) == names
    counts = Counter(trace.calls)
    handed_over = {name: counts[name] for name in ("WorkflowController._reconcile", "EffectRunner._run")}
    assert handed_over == {"WorkflowController._reconcile": 1, "EffectRunner._run": 1}
