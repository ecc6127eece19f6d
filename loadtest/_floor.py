"""The cost of a task's pod for the smallest client: to create it, and to read its events until it has ended.

It depends on how pods end: events that come one by one cost a wake-up each, for any client. So a scenario is measured
beside a floor of its own shape.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import psutil
import uvloop
from flyteidl.core import literals_pb2

from loadtest import workflows
from loadtest._line import Line
from loadtest._process import cpu
from loadtest.completer import Completer
from propeller.controller import FlyteWorkflow, closure_of, info_of
from propeller.handlers import TRANSITIONS
from propeller.handlers.plugins import PodSettings
from propeller.handlers.plugins.pod import build_pod
from propeller.kube import NAMESPACES, Client, connect
from propeller.testing import KubeApiserver, run_kube_apiserver
from propeller.workflow import Execution, begin, parse_plan

DEADLINE = 180.0  # seconds


class Shape(msgspec.Struct, frozen=True):
    """A number of pods, whose ends are spread over some seconds."""

    pods: int = 1_000
    spread: float = 0.0


BURST = Shape()


class Floor(msgspec.Struct, frozen=True):
    """Seconds of CPU for a pod: of the client, and of the API server meanwhile."""

    client: float
    server: float


def measure() -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as directory, run_kube_apiserver(Path(directory)) as server:
        bare, ours = uvloop.run(_each(server, Path(directory)))
    yield Line(name="floor: CPU for a task's pod, bare aiohttp", value=bare.client * 1e3, unit="ms")
    yield Line(name="floor: CPU for a task's pod, our client alone", value=ours.client * 1e3, unit="ms")
    yield Line(name="floor: API server CPU for a task's pod", value=bare.server * 1e3, unit="ms")


async def _each(server: KubeApiserver, directory: Path) -> list[Floor]:
    async with connect(server.connection()) as client:
        return [await floor_of(server, client, directory, f"floor-{name}", name) for name in ("aiohttp", "ours")]


async def floor_of(
    server: KubeApiserver,
    client: Client,
    directory: Path,
    namespace: str,
    name: str = "aiohttp",
    shape: Shape = BURST,
) -> Floor:
    """The present cost of the client of that name on this server, in a new namespace."""
    draw = random.Random(1)
    kubeconfig = server.kubeconfig(directory / namespace)
    pod = directory / "pod.json"
    pod.write_bytes(orjson.dumps(pod_of_a_task()))
    await client.create(NAMESPACES, {"metadata": {"name": namespace}})
    async with Completer(client, namespace, lambda: draw.uniform(0.0, shape.spread)).running():
        before = cpu(server_process(server))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtest.floor", name, str(kubeconfig), namespace, str(pod), str(shape.pods)),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
        spent = cpu(server_process(server)) - before
    assert process.returncode == 0, f"the floor with {name} has failed"
    return Floor(float(out), spent / shape.pods)


def server_process(server: KubeApiserver) -> psutil.Process:
    return psutil.Process(server.pid)


def pod_of_a_task() -> dict[str, Any]:
    """As the controller creates it in the scenarios, but for its name."""
    (resource,) = workflows.resources(workflows.parallel(1), 1, "floor")
    resource["metadata"]["uid"] = "5ad5b7b2-3f6f-4f5b-8d4c-000000000000"
    workflow = msgspec.json.decode(orjson.dumps(resource), type=FlyteWorkflow)
    plan = parse_plan(closure_of(workflow), "floor")
    execution = Execution(info_of(workflow, literals_pb2.LiteralMap(), "file:///metadata"), plan, now=0.0)
    (launch,) = begin(execution, TRANSITIONS, 0.0).effects
    node = execution.view(launch.node)
    settings = PodSettings(raw_output_prefix="file:///raw")
    pod = build_pod(node, 0, literals_pb2.LiteralMap(), settings)
    del pod["metadata"]["namespace"]
    return pod
