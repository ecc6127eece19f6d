"""The overhead of `propeller run` for each task: the time of a chain of 18 tasks less that of their processes, by 18.

Warm: the process that forks the tasks has imported the workflow's module, as from the second task of a run on.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from loadtest._line import Line
from propeller.cli._workflow import new_execution_name, resource_of
from propeller.cli.flytekit_bridge import Serialized, Versioned, serialize
from propeller.config import KubeletOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, workflow_crd
from propeller.embedded import Cluster, embedded_cluster
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from propeller.storage import Storage, StorageOptions
from propeller.workflow import Execution, WorkflowPhase

TASKS = 18
RUNS = 5
NAMESPACE = "flytesnacks-development"
FLOWS = Path(__file__).with_name("flows.py")


def measure() -> Iterator[Line]:
    added, own = uvloop.run(_measure())
    yield Line(name="one task's own process, milliseconds", value=own * 1e3, unit="ms")
    yield Line(name="added to each task by cluster and controller", value=added * 1e3, unit="ms", budget=15)


async def _measure() -> tuple[float, float]:
    """Medians over the runs, seconds: added to each task, and a task's own time."""
    with tempfile.TemporaryDirectory() as directory:
        prefix = f"file://{directory}"
        settings = Settings(
            kubelet=KubeletOptions(python=sys.executable, project=str(FLOWS.parent)),
            storage=StorageOptions(metadata_prefix=f"{prefix}/meta", raw_output_prefix=f"{prefix}/raw"),
        )
        serialized = await serialize(sys.executable, FLOWS, "chain", (), Versioned(), prefix)
        async with (
            embedded_cluster(Path(directory, "kubelet"), settings) as cluster,
            Storage(settings.storage) as storage,
        ):
            await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
            await cluster.client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
            ended = asyncio.Queue[Execution]()
            times = _time_processes(cluster)
            controller = WorkflowController(
                cluster.client,
                storage,
                settings,
                observer=lambda execution: ended.put_nowait(execution) if execution.phase.ended else None,
            )
            async with controller.running():
                await _run(cluster, serialized, ended)
                added, own = [], []
                for _ in range(RUNS):
                    times.clear()
                    took = await _run(cluster, serialized, ended)
                    assert len(times) == TASKS
                    added.append((took - sum(times)) / TASKS)
                    own.append(sum(times) / TASKS)
    return statistics.median(added), statistics.median(own)


async def _run(cluster: Cluster, serialized: Serialized, ended: asyncio.Queue[Execution]) -> float:
    name = new_execution_name()
    resource = resource_of(serialized, Versioned(), name=name, namespace=NAMESPACE)
    began = time.perf_counter()
    await cluster.client.create(FLYTE_WORKFLOWS, resource, NAMESPACE)
    execution = await ended.get()
    took = time.perf_counter() - began
    assert execution.phase is WorkflowPhase.SUCCEEDED, execution.failure
    return took


def _time_processes(cluster: Cluster) -> list[float]:
    """Seconds that each process lives, from the request to fork it until its end is known."""
    times: list[float] = []
    servers = cluster.kubelet._servers
    start = servers.start

    async def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        process = await start(*arguments, **options)
        wait = process.wait

        async def waited() -> Any:
            end = await wait()
            times.append(time.perf_counter() - began)
            return end

        process.wait = waited  # type: ignore[method-assign]  # timed in place
        return process

    servers.start = timed  # type: ignore[method-assign]  # timed in place
    return times
