"""A PyTorch task that its operator runs, by the setting operators.enabled, on both servers.

The test plays the training operator: it makes the pods of a PyTorchJob, which the project's kubelet runs, and writes
its conditions. The types are installed by the test, with the parts of their schema that are used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from propeller.config import KubeletOptions, Settings
from propeller.embedded import run_kubelet
from propeller.errors import NotFound
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, PODS, Client, Raw, Resource
from tests.e2e.test_plugin_example import (
    DEADLINE,
    Cluster,
    Shell,
    connected,
    controller,
    environment,
    with_own_rights,
)

__all__ = ["environment"]

PYTORCH_JOBS: Resource[Raw] = Resource(
    group="kubeflow.org", version="v1", kind="PyTorchJob", plural="pytorchjobs", type=dict[str, Any]
)
RAW_PODS = PODS.typed(dict[str, Any])

pytestmark = pytest.mark.needs("kubectl", "flytekit")

WORKFLOW = """
import os

from flytekit import PythonFunctionTask, task, workflow
from flytekit.extend import TaskPlugins


class PyTorch:
    pass


class PyTorchTask(PythonFunctionTask[PyTorch]):
    def __init__(self, task_config, task_function, **kwargs):
        super().__init__(task_config, task_function, task_type="pytorch", task_type_version=1, **kwargs)

    def get_custom(self, settings):
        return {"workerReplicas": {"common": {"replicas": 1}}, "masterReplicas": {"common": {"replicas": 1}}}


TaskPlugins.register_pythontask_plugin(PyTorch, PyTorchTask)


@task(task_config=PyTorch())
def train(epochs: int) -> str:
    return f"trained {epochs} epochs"


@task(task_config=PyTorch())
def diverge(epochs: int) -> str:
    print(f"loss is nan after {epochs} epochs", flush=True)
    os._exit(3)
    return ""


@workflow
def wf(epochs: int = 3) -> str:
    return train(epochs=epochs)


@workflow
def failing(epochs: int = 3) -> str:
    return diverge(epochs=epochs)
"""


def definition(kind: str, field: str) -> Raw:
    """A type of the training operator, as far as its objects use it: what the schema does not name is refused."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    group = {
        "type": "object",
        "properties": {
            "replicas": {"type": "integer", "format": "int32"},
            "restartPolicy": {"type": "string", "enum": ["Always", "OnFailure", "Never", "ExitCode"]},
            "template": anything,
        },
    }
    spec = {field: {"type": "object", "additionalProperties": group}, "runPolicy": anything, "elasticPolicy": anything}
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "required": [field], "properties": spec}, "status": anything},
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    plural = f"{kind.lower()}s"
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "metadata": {"name": f"{plural}.kubeflow.org"},
        "spec": {"group": "kubeflow.org", "scope": "Namespaced", "names": names, "versions": [version]},
    }


DEFINITION = definition("PyTorchJob", "pytorchReplicaSpecs")


async def operate(client: Client, namespace: str) -> None:
    """Make the pods of PyTorchJobs, and say how far they are, until cancelled."""
    while True:
        for job in (await client.list(PYTORCH_JOBS, namespace)).items:
            if "deletionTimestamp" not in job["metadata"]:
                await sync(client, namespace, job)
        await asyncio.sleep(0.1)


async def sync(client: Client, namespace: str, job: Raw) -> None:
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    pods = [one for one in (await client.list(RAW_PODS, namespace)).items if uid in str(one["metadata"])]
    if not pods:
        owner = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": name, "uid": uid, "controller": True}
        for role, group in job["spec"]["pytorchReplicaSpecs"].items():
            for number in range(group["replicas"]):
                template = group["template"]
                own = {"name": f"{name}-{role.lower()}-{number}", "ownerReferences": [owner]}
                labels = template["metadata"]["labels"] | {"training.kubeflow.org/job-name": name}
                metadata = template["metadata"] | own | {"labels": labels}
                pod = {"metadata": metadata, "spec": template["spec"]}
                await client.create(RAW_PODS, pod, namespace)
        return
    phases = [pod["status"].get("phase") for pod in pods]
    if all(phase == "Succeeded" for phase in phases):
        condition = "Succeeded"
    else:
        condition = "Failed" if "Failed" in phases else "Running"
    status = {"conditions": [{"type": one, "status": "True"} for one in dict.fromkeys(("Created", condition))]}
    if job.get("status") != status:
        await client.patch(PYTORCH_JOBS, name, namespace, body={"status": status}, subresource="status")


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.needs("embedded")),
        pytest.param("kube-apiserver", marks=pytest.mark.needs("kube-apiserver")),
    ]
)
async def cluster(request: pytest.FixtureRequest, environment: Path, tmp_path: Path) -> AsyncIterator[Cluster]:
    for directory in ("server", "project"):
        (tmp_path / directory).mkdir()
    (tmp_path / "project" / "training.py").write_text(WORKFLOW)
    python = str(environment / "bin" / "python")
    settings = Settings(kubelet=KubeletOptions(python=python, project=str(tmp_path / "project")))
    async with connected(request.param, tmp_path) as (client, kubeconfig):
        (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
        async with run_kubelet(client, tmp_path / "kubelet", settings, node_name="node-of-this-machine"):
            yield Cluster(client, Shell(environment, tmp_path / "kubeconfig", tmp_path))


async def test_a_pytorch_task_waits_for_its_operator_and_runs_as_one_job(
    cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    shell = cluster.operator
    settings = tmp_path / "settings.yaml"
    settings.write_text("operators: {enabled: [pytorch]}\n")
    await shell.run(f"propeller install --print --config {settings} | kubectl apply -f -")
    await shell.run(f"kubectl create namespace {cluster.namespace}")
    runs = await with_own_rights(cluster) if "kube-apiserver" in request.node.callspec.id else cluster
    run = f"propeller controller --config {settings} --metadata-prefix file:///tmp/propeller/metadata"
    compiled = f"propeller compile {tmp_path}/project/training.py wf --raw-output-prefix file:///tmp/propeller/raw"
    async with controller(runs, run) as first:
        made = await shell.run(f"{compiled} | kubectl create -f -")
        name = made.split()[0].partition("/")[2]
        await waits_for_the_type(cluster, name)
        await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, DEFINITION)
        async with asyncio.timeout(DEADLINE):
            while not await jobs(cluster):
                assert (await cluster.status(name)).get("phase", 0) < 3, await cluster.status(name)
                await asyncio.sleep(0.1)
        first.kill()
        await first.wait()
    operator = asyncio.create_task(operate(cluster.client, cluster.namespace))
    try:
        async with controller(runs, run):
            status = await cluster.ended(name)
    finally:
        operator.cancel()
        await asyncio.wait([operator])
    assert status["phase"] == 3, status.get("error")
    ended = await shell.run(f"propeller status {name} -n {cluster.namespace} --output json")
    assert json.loads(ended.splitlines()[-1])["outputs"] == {"o0": "trained 3 epochs"}
    assert await jobs(cluster) == [f"{name}-n0-0"], "one attempt, one job, though a controller was killed"


async def test_the_error_of_a_failed_job_tells_what_its_pods_said(cluster: Cluster, tmp_path: Path) -> None:
    shell = cluster.operator
    settings = tmp_path / "settings.yaml"
    settings.write_text("operators: {enabled: [pytorch]}\n")
    await shell.run(f"propeller install --print --config {settings} | kubectl apply -f -")
    await shell.run(f"kubectl create namespace {cluster.namespace}")
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, DEFINITION)
    run = f"propeller controller --config {settings} --metadata-prefix file:///tmp/propeller/metadata"
    compiled = f"propeller compile {tmp_path}/project/training.py failing --raw-output-prefix file:///tmp/propeller/raw"
    async with controller(cluster, run):
        made = await shell.run(f"{compiled} | kubectl create -f -")
        name = made.split()[0].partition("/")[2]
        operator = asyncio.create_task(operate(cluster.client, cluster.namespace))
        try:
            status = await cluster.ended(name)
        finally:
            operator.cancel()
            await asyncio.wait([operator])
    pods = [f"{name}-n0-0-{role}-0" for role in ("master", "worker")]
    message = status["error"]["message"]
    assert any(f"pod {pod}: " in message for pod in pods), message
    assert "terminated with exit code (3)" in message
    assert "loss is nan after 3 epochs" in message
    asked = f"propeller get {name} n0 logs -n {cluster.namespace} --pod none; true"
    _, err = await (await shell.start(f"bash -c '{asked}'")).communicate()
    assert all(pod in err.decode() for pod in pods), err


async def waits_for_the_type(cluster: Cluster, name: str) -> None:
    """Until the status says that the operator's type is missing."""
    async with asyncio.timeout(DEADLINE):
        while "pytorchjobs" not in json.dumps(status := await cluster.status(name)):
            assert status.get("phase", 0) < 3, status
            await asyncio.sleep(0.1)


async def jobs(cluster: Cluster) -> list[str]:
    """None while the server does not serve the type yet."""
    try:
        found = (await cluster.client.list(PYTORCH_JOBS, cluster.namespace)).items
    except NotFound:
        return []
    return sorted(job["metadata"]["name"] for job in found)
