"""Rows of docs/failures.md that a kubelet and an API server can produce, by the embedded kubelet on both servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from propeller.config import AttemptOptions, KubeletOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WORKFLOWS, WorkflowController, workflow_crd
from propeller.embedded import run_kubelet
from propeller.kube import PODS, Client, Raw
from propeller.storage import Storage
from propeller.testing import ServerUnderTest, eventually
from tests.contract.objects import installed
from tests.unit.handlers.failure_table import Row, failure_table
from tests.unit.workflow.drive import graph, task

RAW_PODS = PODS.typed(dict[str, Any])
DEADLINE = 120.0
"""Seconds for one wait: a bound on what hangs, not a goal."""

Act = Callable[[Client, str, str], Awaitable[object]]


class Case(msgspec.Struct, frozen=True):
    """What the container does, further fields of the pod and the container, and what somebody does to the pod."""

    script: str
    spec: Raw = {}
    container: Raw = {}
    act: Act | None = None
    says: str = ""


async def _delete(client: Client, name: str, namespace: str) -> None:
    await client.delete(PODS, name, namespace, grace_seconds=1)


async def _evict(client: Client, name: str, namespace: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    options = {"deleteOptions": {"gracePeriodSeconds": 1}}
    await client.create(RAW_PODS, body | options, namespace, name=name, subresource="eviction")


EATS = (
    f"{sys.executable} -c \"import time; x = bytearray(256 << 20); x[::4096] = b'x' * len(x[::4096]); time.sleep(60)\""
)

CASES: dict[str, Case] = {
    "the container exits with a code over 0": Case("echo the last line; exit 3", says="the last line"),
    "the command cannot be executed or is not found (exit code 126, 127)": Case(
        "no-such-command", says="the command was not found"
    ),
    "a signal ends the container, other than SIGKILL (exit code 139 is SIGSEGV)": Case(
        "kill -SEGV $$$$", says="SIGSEGV"
    ),
    "SIGKILL ends the container (exit code 137, or 247), and nobody says why": Case("kill -KILL $$$$", says="SIGKILL"),
    "the container is killed as it uses more memory than its limit": Case(
        EATS, container={"resources": {"limits": {"memory": "64Mi"}}}, says="Resources(mem=...)"
    ),
    "an init container fails": Case(
        "true",
        spec={"initContainers": [{"name": "setup", "image": "i", "command": ["sh", "-c", "echo why; exit 4"]}]},
        says="[setup] terminated with exit code (4)",
    ),
    "somebody deletes the pod, and it ends by that": Case("sleep 60", act=_delete, says="somebody deleted the pod"),
    "the pod is evicted by the API, such as by `kubectl drain`": Case("sleep 60", act=_evict),
    "the pod's own `activeDeadlineSeconds` are over": Case("sleep 60", spec={"activeDeadlineSeconds": 1}),
    "a ConfigMap or Secret that the container needs is missing": Case(
        "true", container={"envFrom": [{"secretRef": {"name": "missing"}}]}, says='secret "missing" not found'
    ),
    "no node is found for the pod for longer than `attempts.pending_limit`": Case(
        "true", spec={"schedulerName": "of-another-cluster"}, says="pending for 1 s (attempts.pending_limit)"
    ),
    "the task asks for what the policy for pods forbids, or its pod cannot be built": Case(
        "true", spec={"hostNetwork": True}, says="spec.hostNetwork"
    ),
    "the API server finds the pod invalid": Case(
        "true", spec={"volumes": [{"name": "UPPER", "emptyDir": {}}]}, says="spec.volumes[0].name"
    ),
}


def workflow_of(name: str, case: Case) -> Raw:
    container = {"name": "main", "image": "i", "command": ["sh", "-c", case.script], **case.container}
    pod = {"podSpec": {**case.spec, "containers": [container]}, "primaryContainerName": "main"}
    of = {"id": {"name": "t"}, "type": "sidecar", "k8sPod": pod}
    return {"metadata": {"name": name}, "spec": graph(task("a")), "tasks": {"t": of}}


async def test_what_happens_to_a_pod_is_read_as_the_table_says(server: ServerUnderTest, tmp_path: Path) -> None:
    client, namespace = server.client, server.namespace
    await installed(client, workflow_crd(), WORKFLOWS)
    settings = Settings(
        attempts=AttemptOptions(system_retries=0, pending_limit=1.0, unseen_after=1.0),
        kubelet=KubeletOptions(python=sys.executable, max_pods=40),
    )
    prefix = f"file://{tmp_path}/metadata"
    settings = msgspec.structs.replace(
        settings, storage=msgspec.structs.replace(settings.storage, metadata_prefix=prefix)
    )
    async with (
        run_kubelet(client, tmp_path / "kubelet", settings, node_name="node-of-this-machine"),
        Storage(settings.storage) as storage,
        WorkflowController(client, storage, settings, namespace=namespace).running(),
    ):
        found = await asyncio.gather(
            *(_failed(server, f"w{number}", case) for number, case in enumerate(CASES.values()))
        )
    table = failure_table()
    for (what, case), error in zip(CASES.items(), found, strict=True):
        row = Row(error["code"], error["kind"], table[what].retries)
        assert row == table[what], f"{what}: {error}"
        assert case.says in error["message"], f"{what}: {error}"


async def _failed(server: ServerUnderTest, name: str, case: Case) -> Raw:
    """Run a workflow with this task; return the error in its status."""
    client, namespace = server.client, server.namespace
    await client.create(FLYTE_WORKFLOWS, workflow_of(name, case), namespace)
    if case.act is not None:
        await eventually(lambda: _runs(client, f"{name}-a-0", namespace), deadline=DEADLINE)
        await case.act(client, f"{name}-a-0", namespace)

    async def look() -> Raw | None:
        status: Raw = (await client.get(FLYTE_WORKFLOWS, name, namespace)).get("status") or {}
        return status if status.get("state") in {"Succeeded", "Failed"} else None

    status = await eventually(look, deadline=DEADLINE)
    assert status is not None
    assert status["state"] == "Failed", (name, case)
    error: Raw = status["error"]
    return error


async def _runs(client: Client, name: str, namespace: str) -> bool:
    pods = (await client.list(RAW_PODS, namespace)).items
    return any(pod["metadata"]["name"] == name and pod["status"]["phase"] == "Running" for pod in pods)
