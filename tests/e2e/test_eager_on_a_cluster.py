"""Eager tasks that flytekit has registered, by `propeller controller` on both servers: they fail at once, by name."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from flyteidl.admin import task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from propeller.compiler import build_resource, compile_task, compile_workflow, find_requirements, identifier_text
from propeller.config import KubeletOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WORKFLOWS, workflow_crd
from propeller.embedded import run_kubelet
from propeller.kube import PODS, Raw
from propeller.testing import HttpServerUnderTest
from tests.contract.objects import installed
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_real_cluster import output_of
from tests.processes import told_to_end

pytestmark = pytest.mark.needs("flytekit")

REGISTERS = Path(__file__).with_name("flytekit_registers.py")

FLOW = """
from pathlib import Path
from flytekit import Workflow, dynamic, eager, task
from flytekit.core.node_creation import create_node

@task
def inc(a: int) -> int:
    return a + 1

@eager(retries=2)
async def chain(a: int) -> int:
    return inc(a=inc(a=a))

@task
def note(a: int):
    Path(__file__).with_name("note").write_text(str(a))

@dynamic
def makes(a: int) -> int:
    return create_node(chain, a=a).o0

calls = Workflow("flow.calls")
calls.add_workflow_input("a", int)
first = calls.add_entity(inc, a=calls.inputs["a"])
second = calls.add_entity(chain, a=first.outputs["o0"])
calls.add_workflow_output("o0", second.outputs["o0"])
calls.add_on_failure_handler(note)

within = Workflow("flow.within")
within.add_workflow_input("a", int)
made = within.add_entity(makes, a=within.inputs["a"])
within.add_workflow_output("o0", made.outputs["o0"])
"""

SAYS = (
    "task flow.chain is eager: it needs FlyteAdmin's API to start what it calls, which is not there. Write it as "
    "@dynamic or @workflow, run it on one machine by `propeller run`"
)


class Cluster(msgspec.Struct, frozen=True):
    """A server with a kubelet and `propeller controller`, and what flytekit has registered."""

    server: HttpServerUnderTest
    home: Path
    registered: Path

    async def start(self, workflow: str) -> str:
        """Create an execution of a registered workflow, as FlyteAdmin does; return its name."""
        tasks, specs = {}, {}
        for path in sorted(self.registered.glob("*.pb")):
            if path.stem.endswith("_1"):
                task = compile_task(task_pb2.TaskSpec.FromString(path.read_bytes()).template)
                tasks[identifier_text(task.template.id)] = task
            elif path.stem.endswith("_2"):
                spec = workflow_pb2.WorkflowSpec.FromString(path.read_bytes())
                specs[spec.template.id.name] = spec
        spec = specs[f"flow.{workflow}"]
        needed = find_requirements(spec.template, spec.sub_workflows).task_ids
        used = [tasks[identifier_text(one)] for one in needed]
        closure = compile_workflow(spec.template, spec.sub_workflows, used, [])
        execution = identifier_pb2.WorkflowExecutionIdentifier(project="shop", domain="production", name=workflow)
        four = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=4)))
        inputs = literals_pb2.LiteralMap(literals={"a": four})
        resource = build_resource(closure, inputs, execution, self.server.namespace)
        resource |= {"kind": "FlyteWorkflow"}
        resource["rawOutputDataConfig"] = {"output_location_prefix": f"file://{self.home}/raw"}
        await self.server.client.create(FLYTE_WORKFLOWS, resource, self.server.namespace)
        return workflow

    async def status(self, name: str, *words: str) -> str:
        """All that the command prints."""
        where = ("-n", self.server.namespace, "--kubeconfig", self.home / "kubeconfig")
        return await output_of("sh", "-c", '"$@" 2>&1', "sh", PROPELLER, "status", name, *where, *words)

    async def ended(self, name: str) -> Any:
        return json.loads((await self.status(name, "-w", "--output", "json")).splitlines()[-1])

    async def pods(self) -> list[Raw]:
        found = await self.server.client.list(PODS.typed(dict[str, Any]), self.server.namespace)
        return list(found.items)


@pytest.fixture
async def cluster(server: HttpServerUnderTest, tmp_path: Path) -> AsyncIterator[Cluster]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "flow.py").write_text(FLOW)
    registered = tmp_path / "registered"
    await output_of(sys.executable, REGISTERS, project / "flow.py", registered, "shop", "production", "v1")
    await installed(server.client, workflow_crd(), WORKFLOWS)
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(server.kubeconfig()))
    settings = Settings(kubelet=KubeletOptions(python=sys.executable, project=str(project)))
    process = await asyncio.create_subprocess_exec(
        *(PROPELLER, "controller", "--kubeconfig", tmp_path / "kubeconfig", "--metrics-port", "0", "--no-elect"),
        *("--namespace", server.namespace, "--metadata-prefix", f"file://{tmp_path}/metadata"),
        env=os.environ,
        stderr=subprocess.PIPE,
    )
    async with (
        run_kubelet(server.client, tmp_path / "kubelet", settings, node_name="node-of-this-machine"),
        told_to_end(process),
    ):
        yield Cluster(server, tmp_path, registered)


async def test_one_that_is_an_execution_of_its_own_fails_with_what_it_lacks_and_gets_no_pod(cluster: Cluster) -> None:
    """Its failure node is flytekit's own, and calls FlyteAdmin's API as well: it says that nothing was started."""
    name = await cluster.start("chain")
    ended = await cluster.ended(name)
    assert ended["phase"] == "FAILED"
    assert (ended["error"]["code"], ended["error"]["kind"]) == ("EagerNeedsFlyteAdmin", "USER")
    assert SAYS in ended["error"]["message"]
    of_nodes = {node["id"]: node for node in ended["nodes"]}
    assert "nothing was started" in of_nodes["efn"]["error"]["message"]
    assert of_nodes["n0"]["attempt"] == 1, "no retry can help"
    shown = " ".join((await cluster.status(name)).split())
    assert SAYS in shown
    assert "USER EagerNeedsFlyteAdmin" in shown
    assert "kubectl logs" not in shown, "there is no pod"
    assert await cluster.pods() == []


async def test_a_workflow_that_calls_one_fails_with_it_and_runs_its_failure_node(cluster: Cluster) -> None:
    ended = await cluster.ended(await cluster.start("calls"))
    assert ended["phase"] == "FAILED"
    assert (ended["error"]["code"], ended["error"]["kind"]) == ("EagerNeedsFlyteAdmin", "USER")
    assert SAYS in ended["error"]["message"]
    assert (cluster.home / "project" / "note").read_text() == "4"
    ran = {pod["metadata"]["labels"]["task-name"] for pod in await cluster.pods()}
    assert ran == {"flow-inc", "flow-note"}


async def test_one_that_a_dynamic_task_makes_fails_with_it(cluster: Cluster) -> None:
    """Nothing knows of it before the task has run."""
    ended = await cluster.ended(await cluster.start("within"))
    assert ended["phase"] == "FAILED"
    assert (ended["error"]["code"], ended["error"]["kind"]) == ("EagerNeedsFlyteAdmin", "USER")
    assert SAYS in ended["error"]["message"]
    assert len(await cluster.pods()) == 1
