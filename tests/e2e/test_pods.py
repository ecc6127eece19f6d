"""A flytekit file with what tasks ask of their pods, on both servers: secrets, PodTemplates, overrides, sidecars."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from propeller.config import KubeletOptions, NodeRequirement, PodDefaults, Settings
from propeller.controller import FLYTE_WORKFLOWS, WORKFLOWS, WorkflowController, workflow_crd
from propeller.embedded import run_kubelet
from propeller.kube import POD_TEMPLATES, PODS, SECRETS, Raw
from propeller.storage import Storage
from propeller.testing import ServerUnderTest, eventually
from tests.contract.objects import installed
from tests.e2e.conftest import PROPELLER

pytestmark = pytest.mark.needs("flytekit")

RAW_PODS = PODS.typed(dict[str, Any])
DEADLINE = 120.0
"""Seconds for one wait: a bound on what hangs, not a goal."""

FLOW = """
import os

from flytekit import PodTemplate, Resources, Secret, current_context, task, workflow
from flytekit.extras.accelerators import T4
from kubernetes.client import V1Container, V1PodSpec

FILE, VARIABLE = Secret.MountType.FILE, Secret.MountType.ENV_VAR


@task(
    secret_requests=[
        Secret(group="shop", key="token", mount_requirement=VARIABLE, env_var="TOKEN"),
        Secret(group="shop", key="Cert", mount_requirement=FILE, env_var="CERT"),
        Secret(group="shop", key="missing", mount_requirement=VARIABLE),
    ]
)
def secrets() -> str:
    found = current_context().secrets
    with open(os.environ["CERT"]) as file:
        path = file.read()
    try:
        missing = found.get("shop", "missing")
    except ValueError:
        missing = "none"
    return " ".join([found.get("shop", "token"), os.environ["TOKEN"], found.get("shop", "Cert"), path, missing])


@task(pod_template_name="mine", shared_memory="64Mi")
def templated() -> str:
    return os.environ["OF_THE_TEMPLATE"]


@task(requests=Resources(cpu="100m"), interruptible=True)
def overridden() -> str:
    return os.environ.get("OF_THE_NODE", "none")


SIDECAR = V1PodSpec(
    containers=[V1Container(name="main")],
    init_containers=[
        V1Container(name="proxy", image="proxy", command=["sleep", "600"], restart_policy="Always"),
    ],
)


@task(pod_template=PodTemplate(primary_container_name="main", pod_spec=SIDECAR))
def beside() -> str:
    return "done"


NODE = V1PodSpec(containers=[V1Container(name="other", env=[{"name": "OF_THE_NODE", "value": "node"}])])


@workflow
def wf() -> tuple[str, str, str, str, str]:
    return (
        secrets(),
        templated(),
        overridden().with_overrides(requests=Resources(cpu="200m"), accelerator=T4, container_image="image:of-a-node"),
        overridden().with_overrides(pod_template=PodTemplate(primary_container_name="other", pod_spec=NODE)),
        beside(),
    )
"""


KUBERNETES = {
    "__init__.py": "",
    "client/__init__.py": """
from kubernetes_asyncio.client import ApiClient as Base
from kubernetes_asyncio.client.models import *

class ApiClient(Base):
    def __init__(self):
        pass  # it only writes objects as JSON
""",
    "client/models.py": "from kubernetes_asyncio.client.models import *",
}
"""What flytekit needs of the package `kubernetes`, by the one that is here: its models are the same."""


def encoded(**texts: str) -> dict[str, str]:
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}


async def compiled(file: Path, raw: Path, namespace: str) -> Raw:
    process = await asyncio.create_subprocess_exec(
        *(PROPELLER, "compile", file, "wf", "--namespace", namespace),
        *("--raw-output-prefix", f"file://{raw}", "--python", sys.executable),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 0, err.decode()
    found: Raw = json.loads(out)
    return found


async def ended(server: ServerUnderTest, name: str) -> Raw:
    async def look() -> Raw | None:
        found = await server.client.get(FLYTE_WORKFLOWS, name, server.namespace)
        return found if (found.get("status") or {}).get("state") in {"Succeeded", "Failed", "Aborted"} else None

    found = await eventually(look, deadline=DEADLINE)
    assert found is not None
    return found


def container_of(pod: Raw, name: str = "") -> Raw:
    found: Raw = next(one for one in pod["spec"]["containers"] if one["name"] == (name or pod["metadata"]["name"]))
    return found


async def test_what_tasks_ask_of_their_pods_they_get(server: ServerUnderTest, tmp_path: Path) -> None:
    client, namespace = server.client, server.namespace
    await installed(client, workflow_crd(), WORKFLOWS)
    file = tmp_path / "flow.py"
    file.write_text(FLOW)
    for path, text in KUBERNETES.items():
        (tmp_path / "kubernetes" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "kubernetes" / path).write_text(text)
    await client.create(SECRETS, {"metadata": {"name": "shop"}, "data": encoded(token="a", Cert="b")}, namespace)
    containers = [{"name": "primary", "image": "noop", "env": [{"name": "OF_THE_TEMPLATE", "value": "template"}]}]
    spec = {"containers": containers, "terminationGracePeriodSeconds": 5}
    body = {"metadata": {"name": "mine"}, "template": {"metadata": {"labels": {"team": "x"}}, "spec": spec}}
    await client.create(POD_TEMPLATES, body, namespace)
    settings = Settings(
        kubelet=KubeletOptions(
            python=sys.executable, project=str(tmp_path), labels={"on-demand": "yes", "spot": "yes"}
        ),
        pod_defaults=PodDefaults(
            environment={"OF_THE_PLATFORM": "yes"},
            interruptible_node_selector={"spot": "yes"},
            on_demand_requirements=(NodeRequirement(key="on-demand", operator="Exists"),),
        ),
    )
    prefix = f"file://{tmp_path}/metadata"
    settings = msgspec.structs.replace(
        settings, storage=msgspec.structs.replace(settings.storage, metadata_prefix=prefix)
    )
    resource = await compiled(file, tmp_path / "raw", namespace)
    async with (
        run_kubelet(client, tmp_path / "kubelet", settings, node_name="node-of-this-machine"),
        Storage(settings.storage) as storage,
        WorkflowController(client, storage, settings, namespace=namespace).running(),
    ):
        name = resource["metadata"]["name"]
        await client.create(FLYTE_WORKFLOWS, resource, namespace)
        workflow = await ended(server, name)
        assert workflow["status"]["state"] == "Succeeded", workflow["status"].get("error")
        pods = {pod["metadata"]["labels"]["node-id"]: pod for pod in (await client.list(RAW_PODS, namespace)).items}
        await eventually(lambda: _stopped(server, pods["n4"]["metadata"]["name"]), deadline=DEADLINE)
    (outputs,) = (tmp_path / "metadata").glob("*/end-node/data/0/outputs.pb")
    for value in (b"a a b b none", b"template", b"node", b"done"):
        assert value in outputs.read_bytes()
    assert pods["n1"]["metadata"]["labels"]["team"] == "x"
    assert pods["n1"]["spec"]["terminationGracePeriodSeconds"] == 5
    assert {"medium": "Memory", "sizeLimit": "64Mi"} in [one.get("emptyDir") for one in pods["n1"]["spec"]["volumes"]]
    assert container_of(pods["n1"])["image"] != "noop"
    assert pods["n2"]["spec"]["nodeSelector"] == {"spot": "yes"}
    assert container_of(pods["n2"])["image"] == "image:of-a-node"
    assert container_of(pods["n2"])["resources"]["requests"]["cpu"] == "200m"
    assert container_of(pods["n3"], "other")["env"][0] == {"name": "OF_THE_NODE", "value": "node"}
    assert "nodeSelector" not in pods["n0"]["spec"]
    assert pods["n0"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]


async def _stopped(server: ServerUnderTest, name: str) -> bool:
    """Whether nothing of the pod runs any more, its native sidecar neither."""
    for pod in (await server.client.list(RAW_PODS, server.namespace)).items:
        if pod["metadata"]["name"] == name:
            return pod["status"]["phase"] in {"Succeeded", "Failed"}
    return True
