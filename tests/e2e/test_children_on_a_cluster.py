"""Launch plans' executions on a real API server, with the rights of `propeller install` alone and all data in S3."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml

from propeller.config import KubeletOptions, Settings
from propeller.embedded import run_kubelet
from propeller.kube import connect
from propeller.testing import KubeApiserver, S3Server, eventually
from propeller.testing._processes import ServerProcess
from tests import assets
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_real_cluster import kubectl, output_of, own_server
from tests.processes import told_to_end

__all__ = ["own_server"]

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("kube-apiserver", "kube-controller-manager", "kubectl", "flytekit", "rclone"),
    pytest.mark.timeout(600),
]

FLOW = """
import os
import time
import typing
from flytekit import LaunchPlan, task, workflow
from flytekit.core.array_node import array_node

@task
def inc(a: int) -> int:
    return a + 1

@task
def checked(a: int, marker: str) -> int:
    if marker and not os.path.exists(marker):
        raise ValueError(f"{a} is too early")
    return a

@workflow
def child(a: int, marker: str) -> int:
    return checked(a=inc(a=a), marker=marker)

plan = LaunchPlan.get_or_create(child, "plan")

@workflow
def parent(a: int, marker: str = "") -> int:
    return inc(a=plan(a=a, marker=marker))

@workflow
def many(xs: typing.List[int], markers: typing.List[str]) -> typing.List[int]:
    return array_node(plan, concurrency=1)(a=xs, marker=markers)

@task
def slow() -> int:
    time.sleep(3600)
    return 0

@workflow
def slow_child() -> int:
    return slow()

slow_plan = LaunchPlan.get_or_create(slow_child, "slow")

@workflow
def waits() -> int:
    return slow_plan()
"""

CALLER = """
from flytekit import reference_launch_plan, workflow

@reference_launch_plan(project="other", domain="production", name="plan", version="v1")
def plan(a: int, marker: str) -> int:
    ...

@workflow
def calls(a: int) -> int:
    return plan(a=a, marker="")
"""


class World(msgspec.Struct, frozen=True):
    """The real server, how its operator and the controller reach it, the S3 server, and the directory of the flows."""

    operator: Path
    account: Path
    s3: dict[str, str]
    bucket: str
    project: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    own_server: KubeApiserver, rclone: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("children")
    project = home / "project"
    project.mkdir()
    (project / "flow.py").write_text(FLOW)
    (project / "caller.py").write_text(CALLER)
    operator = own_server.kubeconfig(home / "operator")
    manifests = await output_of(PROPELLER, "install", "--print")
    await kubectl(operator, "apply", "-f", "-", stdin=manifests.encode())
    await kubectl(operator, "wait", "--for=condition=Established", "crd/flyteworkflows.flyte.lyft.com")
    document = yaml.safe_load(operator.read_text())
    token = (await kubectl(operator, "create", "token", "propeller", "-n", "flyte")).strip()
    document["users"][0]["user"] = {"token": token}
    (home / "account").write_text(yaml.safe_dump(document))
    env = rclone.environment | {"AWS_EC2_METADATA_DISABLED": "true"}
    bucket = f"s3://{rclone.bucket()}"
    os_env = {name: os.environ.get(name) for name in env}
    os.environ.update(env)  # the kubelet gives its tasks these of its own
    collector = ServerProcess(
        "kube-controller-manager",
        [
            str(assets.binary("kube-controller-manager")),
            *(f"--kubeconfig={operator}", "--leader-elect=false", "--secure-port=0"),
            "--controllers=garbage-collector-controller",
        ],
        home / "collector.log",
    )
    inherited = (*KubeletOptions().inherit_env, *env)
    settings = Settings(kubelet=KubeletOptions(python=sys.executable, project=str(project), inherit_env=inherited))
    collector.spawn()
    try:
        async with (
            connect(own_server.connection()) as client,
            run_kubelet(client, home / "kubelet", settings, node_name="node-of-children"),
        ):
            yield World(operator, home / "account", env, bucket, project)
    finally:
        collector.stop()
        for name, value in os_env.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@asynccontextmanager
async def controller(of: World, namespace: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(PROPELLER, "controller", "--kubeconfig", of.account, "--metrics-port", "0", "--no-elect"),
        *("--namespace", namespace, "--metadata-prefix", f"{of.bucket}/metadata"),
        env={**os.environ, "PROPELLER_STORAGE__S3_ENDPOINT": of.s3["FLYTE_AWS_ENDPOINT"], **env},
        stderr=subprocess.PIPE,
    )
    async with told_to_end(process):
        yield process


async def create(of: World, namespace: str, workflow: str, *words: str, file: str = "flow.py") -> str:
    resource = await output_of(
        *(PROPELLER, "compile", of.project / file, workflow, *words, "--python", sys.executable),
        *("--raw-output-prefix", f"{of.bucket}/raw", "--namespace", namespace),
    )
    await kubectl(of.operator, "create", "-f", "-", stdin=resource.encode())
    return str(json.loads(resource)["metadata"]["name"])


async def status(of: World, namespace: str, name: str, *words: str) -> Any:
    where = ("-n", namespace, "--kubeconfig", of.operator, "--output", "json")
    environment = ("env", f"PROPELLER_STORAGE__S3_ENDPOINT={of.s3['FLYTE_AWS_ENDPOINT']}")
    out = await output_of(*environment, PROPELLER, "status", name, *where, *words)
    return json.loads(out.splitlines()[-1])


async def names(of: World, namespace: str, kind: str = "flyteworkflows") -> set[str]:
    found = json.loads(await kubectl(of.operator, "get", kind, "-n", namespace, "-o", "json"))
    return {one["metadata"]["name"] for one in found["items"]}


async def uid(of: World, namespace: str, name: str) -> str:
    return await kubectl(of.operator, "get", "fly", name, "-n", namespace, "-o", "jsonpath={.metadata.uid}")


async def namespace_of(of: World, name: str) -> str:
    await kubectl(of.operator, "create", "namespace", name)
    return name


async def test_their_outputs_and_failures_are_those_of_their_nodes_and_a_recovery_runs_only_the_rest(
    world: World, tmp_path: Path
) -> None:
    namespace = await namespace_of(world, "results")
    marker = tmp_path / "marker"
    async with controller(world, namespace):
        name = await create(world, namespace, "parent", "--a", "4")
        ended = await status(world, namespace, name, "-w")
        assert (ended["phase"], ended["outputs"]) == ("SUCCEEDED", {"o0": 6}), ended["error"]
        assert f"{name}-n0-0" in await names(world, namespace)

        both = ("--xs", "[1, 5]", "--markers", json.dumps(["", str(marker)]))
        mapped = await create(world, namespace, "many", *both)
        failed = await status(world, namespace, mapped, "-w")
        assert failed["phase"] == "FAILED"
        assert "6 is too early" in failed["error"]["message"]
        assert failed["error"]["kind"] == "USER"
        command = (PROPELLER, "status", mapped, "-n", namespace, "--kubeconfig", world.operator)
        shown = await output_of("sh", "-c", '"$@" 2>&1', "sh", *command)
        assert f"inside: propeller status {mapped}-n0-0-n1-0 -n {namespace}" in shown
        assert "kubectl logs" not in shown, "that one has the pods"

        marker.touch()
        where = ("-n", namespace, "--kubeconfig", world.operator, "--output", "json")
        again = json.loads(await output_of(PROPELLER, "recover", mapped, *where))["name"]
        ended = await status(world, namespace, again, "-w")
        assert (ended["phase"], ended["outputs"]) == ("SUCCEEDED", {"o0": [2, 6]}), ended["error"]
        ran = {pod for pod in await names(world, namespace, "pods") if pod.startswith(f"{again}-")}
        assert len(ran) == 1, "the item that had succeeded, and the first task of the other, are taken over"


async def test_an_abort_of_the_parent_leaves_none_of_them(world: World) -> None:
    namespace = await namespace_of(world, "aborted")
    async with controller(world, namespace):
        name = await create(world, namespace, "waits")

        async def runs() -> bool:
            return any(pod.startswith(f"{name}-n0-0-") for pod in await names(world, namespace, "pods"))

        await eventually(runs, deadline=60.0)
        await kubectl(world.operator, "delete", "fly", name, "-n", namespace, "--wait=false")

        async def gone() -> bool:
            return not await names(world, namespace) and not await names(world, namespace, "pods")

        await eventually(gone, deadline=120.0)


async def test_a_launch_plan_of_another_project_is_found_in_the_registry(world: World) -> None:
    namespace = await namespace_of(world, "other-projects")
    registry = ("--registry", f"{world.bucket}/metadata/registry")
    environment = ("env", f"PROPELLER_STORAGE__S3_ENDPOINT={world.s3['FLYTE_AWS_ENDPOINT']}")
    identity = ("--project", "other", "--domain", "production", "--version", "v1", "--python", sys.executable)
    images = ("--raw-output-prefix", f"{world.bucket}/raw", "--namespace", namespace)
    await output_of(*environment, PROPELLER, "register", world.project / "flow.py", *registry, *identity)
    resource = await output_of(
        *(*environment, PROPELLER, "compile", world.project / "caller.py", "calls", "--a", "1"),
        *("--python", sys.executable, *images, *registry),
    )
    await kubectl(world.operator, "create", "-f", "-", stdin=resource.encode())
    async with controller(world, namespace):
        ended = await status(world, namespace, json.loads(resource)["metadata"]["name"], "-w")
        assert (ended["phase"], ended["outputs"]) == ("SUCCEEDED", {"o0": 2}), ended["error"]


async def test_one_that_a_killed_controller_has_started_before_any_status_says_so_is_found_again(world: World) -> None:
    namespace = await namespace_of(world, "killed-parents")
    async with controller(world, namespace, PROPELLER_CHECKPOINT__MAX_LAG="600") as first:
        name = await create(world, namespace, "parent", "--a", "1")

        async def started() -> bool:
            return f"{name}-n0-0" in await names(world, namespace)

        await eventually(started, deadline=60.0)
        first.kill()
        await first.wait()
    before = await uid(world, namespace, f"{name}-n0-0")
    async with controller(world, namespace):
        ended = await status(world, namespace, name, "-w")
        assert (ended["phase"], ended["outputs"]) == ("SUCCEEDED", {"o0": 3}), ended["error"]
    assert await names(world, namespace) == {name, f"{name}-n0-0"}
    assert await uid(world, namespace, f"{name}-n0-0") == before


async def test_items_share_one_stored_workflow_whoever_runs_them(world: World) -> None:
    """The next controller has another setting, and goes on all the same."""
    namespace = await namespace_of(world, "sharing")
    async with controller(world, namespace, PROPELLER_CONTROLLER__CHILD_CLOSURE_BYTES="0") as first:
        name = await create(world, namespace, "many", "--xs", "[1, 5, 7]", "--markers", '["", "", ""]')

        async def started() -> bool:
            return f"{name}-n0-0-n0-0" in await names(world, namespace)

        await eventually(started, deadline=60.0)
        first.kill()
        await first.wait()
    document = await kubectl(world.operator, "get", "fly", f"{name}-n0-0-n0-0", "-n", namespace, "-o", "json")
    begun = json.loads(document)
    assert begun["workflowClosureReference"].startswith(f"{world.bucket}/metadata/_closures/")
    assert "tasks" not in begun
    async with controller(world, namespace):
        ended = await status(world, namespace, name, "-w")
        assert (ended["phase"], ended["outputs"]) == ("SUCCEEDED", {"o0": [2, 6, 8]}), ended["error"]
        own = await status(world, namespace, f"{name}-n0-0-n0-0")
        assert [node["phase"] for node in own["nodes"]] == ["SUCCEEDED", "SUCCEEDED"]
    last = json.loads(await kubectl(world.operator, "get", "fly", f"{name}-n0-0-n2-0", "-n", namespace, "-o", "json"))
    assert "workflowClosureReference" not in last
