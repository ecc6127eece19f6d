"""OpenLineage events of a run on this machine, to a server and to a file."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import EXAMPLES, Propeller
from tests.unit.lineage.receiver import Receiver, check

pytestmark = pytest.mark.needs("embedded", "flytekit")


async def test_a_server_gets_the_events_of_a_run_with_its_token(propeller: Propeller) -> None:
    async with Receiver().running() as receiver:
        env = {"PROPELLER_LINEAGE__URL": receiver.url, "PROPELLER_LINEAGE_TOKEN": "hunter2"}
        words = ("run", EXAMPLES / "caching.py", "caching", "--python", sys.executable, "--output", "json")
        ended = await asyncio.to_thread(propeller, *words, **env)
    assert ended.code == 0, ended.err
    assert set(receiver.tokens) == {"Bearer hunter2"}
    assert "hunter2" not in ended.out + ended.err
    by_run: dict[str, list[str]] = {}
    for event in receiver.events:
        by_run.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert {tuple(sorted(states)) for states in by_run.values()} == {("COMPLETE", "START")}
    names = {event["job"]["name"] for event in receiver.events}
    assert {"caching.caching", "caching.caching.n0"} <= names


def test_a_file_says_which_task_wrote_what_another_read(propeller: Propeller, flow: Callable[[str], Path]) -> None:
    file = flow(
        "from flytekit.types.file import FlyteFile\n"
        "@task\ndef write(n: int) -> FlyteFile:\n"
        "    open('out.txt', 'w').write(str(n))\n    return FlyteFile('out.txt')\n"
        "@task\ndef read(f: FlyteFile) -> str:\n    raise ValueError('password=hunter2 is wrong')\n    return ''\n"
        "@workflow\ndef wf(n: int = 3) -> str:\n    return read(f=write(n=n))\n"
    )
    path = propeller.home / "events.ndjson"
    assert propeller.run(file, "wf", PROPELLER_LINEAGE__URL=f"file://{path}").code != 0
    events: list[dict[str, Any]] = [check(json.loads(line)) for line in path.read_text().splitlines()]
    ends = {event["job"]["name"]: event for event in events if event["eventType"] != "START"}
    assert {name: event["eventType"] for name, event in ends.items()} == {
        "flow.wf.n0": "COMPLETE",
        "flow.wf.n1": "FAIL",
        "flow.wf": "FAIL",
    }
    (written,), (read,) = ends["flow.wf.n0"]["outputs"], ends["flow.wf.n1"]["inputs"]
    assert written == read
    assert written["namespace"] == "file"
    assert written["name"].endswith("out.txt")
    message = ends["flow.wf"]["run"]["facets"]["errorMessage"]["message"]
    assert "is wrong" in message
    assert "hunter2" not in path.read_text()
    tasks = [event for event in events if event["job"]["name"].startswith("flow.wf.")]
    parents = {event["run"]["facets"]["parent"]["run"]["runId"] for event in tasks}
    assert parents == {ends["flow.wf"]["run"]["runId"]}
