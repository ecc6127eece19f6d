"""`propeller get` of jobs that a connector runs: how they stand, their logs, metrics and links."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2
from google.protobuf import json_format

from propeller.config import ConnectorOptions
from tests import assets
from tests.connectors import Answer, answering, environment
from tests.e2e.conftest import Ended, Propeller

pytestmark = [pytest.mark.needs("embedded", "kubectl", "flytekit")]

DEADLINE = 90.0

FLOW = """
from flytekit import workflow
from propeller_jobs import JobTask

ended, forever = JobTask(name="ended"), JobTask(name="forever")


@workflow
def wf(value: int = 4) -> int:
    return forever(value=ended(value=value))
"""

PHASE = execution_pb2.TaskExecution
HOSTILE = "\x1b]0;t\x07evil\u202e"


def answers() -> dict[str, Answer]:
    """A service whose first job has ended and whose second one runs for ever."""
    created: list[agent_pb2.CreateTaskRequest] = []

    async def list_agents(_: bytes, context: Any) -> bytes:
        category = agent_pb2.TaskCategory(name="propeller_job")
        agent = agent_pb2.Agent(name="a", supported_task_categories=[category])
        return agent_pb2.ListAgentsResponse(agents=[agent]).SerializeToString()

    async def create(data: bytes, context: Any) -> bytes:
        created.append(agent_pb2.CreateTaskRequest.FromString(data))
        return agent_pb2.CreateTaskResponse(resource_meta=b"query-%d" % len(created)).SerializeToString()

    async def get(data: bytes, context: Any) -> bytes:
        request = agent_pb2.GetTaskRequest.FromString(data)
        resource = agent_pb2.Resource(phase=PHASE.RUNNING, message=f"it runs {HOSTILE}")
        resource.log_links.add(name="Console", uri="https://w/queries?token=hunter2secret")
        if request.resource_meta == b"query-1":
            resource.phase, resource.message = PHASE.SUCCEEDED, "done"
            resource.outputs.literals["o0"].scalar.primitive.integer = 8
            json_format.ParseDict({"scanned": 5}, resource.custom_info)
        return agent_pb2.GetTaskResponse(resource=resource).SerializeToString()

    async def delete(data: bytes, context: Any) -> bytes:
        return b""

    async def logs(data: bytes, context: Any) -> list[bytes]:
        request = agent_pb2.GetTaskLogsRequest.FromString(data)
        lines = [f"{request.resource_meta.decode()} says {number} {HOSTILE}" for number in range(5)]
        begin = int(request.token or 0)
        end = min(begin + request.lines, 5)
        header = agent_pb2.GetTaskLogsResponseHeader(token=str(end) if end < 5 else "")
        body = agent_pb2.GetTaskLogsResponseBody(results=lines[begin:end])
        both = agent_pb2.GetTaskLogsResponse(header=header), agent_pb2.GetTaskLogsResponse(body=body)
        return [message.SerializeToString() for message in both]

    async def metrics(data: bytes, context: Any) -> bytes:
        request = agent_pb2.GetTaskMetricsRequest.FromString(data)
        found = agent_pb2.GetTaskMetricsResponse()
        for query in request.queries or ["cpu", "memory"]:
            found.results.add(metric=query).data.update({"resultType": "matrix"})
        return found.SerializeToString()

    return {
        "ListAgents": list_agents,
        "CreateTask": create,
        "GetTask": get,
        "DeleteTask": delete,
        "GetTaskLogs": logs,
        "GetTaskMetrics": metrics,
    }


class Execution:
    """An execution on a cluster that is served, whose second job runs."""

    def __init__(self, propeller: Propeller, kubeconfig: Path, config: Path, name: str) -> None:
        self.propeller, self.kubeconfig, self.config, self.name = propeller, kubeconfig, config, name

    async def get(self, *words: str, with_config: bool = True) -> Ended:
        config = ("--config", self.config) if with_config else ()
        where = ("-n", "flytesnacks-development", "--kubeconfig", self.kubeconfig)
        return await asyncio.to_thread(self.propeller, "get", self.name, *words, *where, *config)

    async def json(self, *words: str) -> Any:
        shown = await self.get(*words, "--output", "json")
        assert shown.code == 0, shown.err
        return shown.json


@asynccontextmanager
async def running(propeller: Propeller, flow: Path, calls: dict[str, Answer]) -> AsyncIterator[Execution]:
    kubeconfig, config = propeller.home / "kubeconfig", propeller.home / "connectors.yaml"
    async with answering(calls, "warehouse") as service:
        options = ConnectorOptions(services=(service,), refresh=0.5, poll_shortest=0.1, poll_longest=0.3)
        config.write_text(json.dumps({"connectors": msgspec.to_builtins(options)}))
        words = ("--serve", kubeconfig, "--config", config, "--python", sys.executable)
        process = propeller.start("run", flow, "wf", *words, **environment())
        try:
            until = time.monotonic() + DEADLINE
            name = ""
            while not name:
                assert time.monotonic() < until, "no job of the second node runs"
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.3)
                name = await asyncio.to_thread(execution_of, propeller, kubeconfig)
            found = Execution(propeller, kubeconfig, config, name)
            while (shown := await found.get("n1", "job")).code or shown.json["phase"] != "RUNNING":
                assert time.monotonic() < until, shown.err
                await asyncio.sleep(0.3)
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            await asyncio.to_thread(process.communicate)


def execution_of(propeller: Propeller, kubeconfig: Path) -> str:
    """The only execution of the cluster, if it is there."""
    if not kubeconfig.exists():
        return ""
    kubectl = [
        str(assets.binary("kubectl")),
        "--kubeconfig",
        str(kubeconfig),
        "get",
        "flyteworkflows",
        "-A",
        "-o",
        "name",
    ]
    found = subprocess.run(kubectl, check=False, capture_output=True, text=True)
    return found.stdout.strip().rpartition("/")[2]


async def test_a_job_is_shown_while_it_runs_and_afterwards(
    propeller: Propeller, tmp_path: Path, flow: Callable[[str], Path]
) -> None:
    async with running(propeller, flow(FLOW), answers()) as execution:
        runs, ended = await execution.json("n1", "job"), await execution.json("n0", "job")
        assert (runs["id"], runs["service"], runs["type"], runs["attempt"]) == (
            "query-2",
            "warehouse",
            "propeller_job",
            1,
        )
        assert (ended["id"], ended["phase"], ended["message"]) == ("query-1", "SUCCEEDED", "done")
        assert ended["info"] == {"scanned": 5.0}
        assert (await execution.json("n0"))["job"] == ended

        text = await execution.get("n1", "job")
        assert "\x1b" not in text.out
        assert "hunter2secret" not in text.out
        links = await execution.get("n1", "links")
        assert links.out.startswith("Console: https://w/queries?token=")
        assert "hunter2secret" not in links.out

        log = await execution.get("n0", "logs")
        assert [line.split(" \\")[0] for line in log.out.splitlines()] == [f"query-1 says {n}" for n in range(5)]
        assert "\x1b" not in log.out
        first = await execution.get("n1", "logs", "--lines", "2")
        assert len(first.out.splitlines()) == 2
        assert "there is more: --token 2" in first.err
        rest = await execution.json("n1", "logs", "--token", "2")
        assert (rest["job"], rest["service"], rest["token"]) == ("query-2", "warehouse", None)
        assert rest["lines"][0] == f"query-2 says 2 {HOSTILE}"

        measured = await execution.json("n1", "metrics")
        assert [one["metric"] for one in measured["metrics"]] == ["cpu", "memory"]
        (one,) = (await execution.json("n1", "metrics", "--query", "gpu", "--last", "60"))["metrics"]
        assert one == {"metric": "gpu", "data": {"resultType": "matrix"}}

        unknown = await execution.get("n1", "logs", with_config=False)
        assert unknown.code == 2
        assert "n1 is a job of warehouse: --config FILE with connectors.services says how it is reached" in unknown.err
        assert "Console: https://w/queries" in unknown.err
        assert "hunter2secret" not in unknown.err


async def test_a_service_without_logs_leads_to_the_links(
    propeller: Propeller, tmp_path: Path, flow: Callable[[str], Path]
) -> None:
    """flytekit's own service answers GetTaskLogs with nothing, and GetTaskMetrics as not implemented."""

    async def nothing(data: bytes, context: Any) -> list[bytes]:
        return []

    calls = answers() | {"GetTaskLogs": nothing}
    del calls["GetTaskMetrics"]
    async with running(propeller, flow(FLOW), calls) as execution:
        logs, metrics = await execution.get("n1", "logs"), await execution.get("n1", "metrics")
    assert logs.code
    assert (
        "connector warehouse has no lines of the job's log; it has named these pages:\n  Console: https://w" in logs.err
    )
    assert metrics.code
    assert "the service of the job keeps no metrics" in metrics.err
