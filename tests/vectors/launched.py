"""A recorded FlyteWorkflow, run by the real controller on the embedded server, with a kubelet that lets tasks succeed.

Observed is all that leaves the controller: the pods as they were created, the blobs that it wrote, and the status.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyteidl.admin import workflow_pb2
from flyteidl.core import literals_pb2, tasks_pb2
from google.protobuf import json_format

from propeller.clock import LoopClock
from propeller.config import PodDefaults, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, workflow_crd
from propeller.embedded.server import ApiServer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client, Raw
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.vectors.defaults import default_literal

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)

METADATA_PREFIX = "s3://data/metadata/propeller"
RAW_OUTPUT_PREFIX = "s3://data/raw"

MAX_SECONDS = 120.0
"""Virtual seconds until whatever goes on is taken as it is."""

_PLACEHOLDER = re.compile(r"<exec(\d+)>")
_OUTPUT_PREFIXES = ("--output-prefix", "--outputPrefix")


@dataclass(frozen=True)
class Recorded:
    """A resource with valid names, and the blobs that it refers to."""

    name: str
    resource: dict[str, Any]
    blobs: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    pods: dict[str, dict[str, Any]]
    blobs: dict[str, bytes]
    status: dict[str, Any]

    @property
    def message(self) -> str:
        return str((self.status.get("error") or {}).get("message", ""))


def recorded(path: Path) -> Recorded:
    """A file of admin-resources."""
    whole = json.loads(_PLACEHOLDER.sub(r"exec\1", path.read_text()))
    offloaded = whole.get("offloaded") or {}
    return Recorded(path.stem, whole["resource"], {uri: base64.b64decode(data) for uri, data in offloaded.items()})


def plain(path: Path) -> Recorded:
    """A resource.json, as the compiler or FlyteAdmin left it; the API server wants its kind as the CRD has it."""
    resource = json.loads(path.read_text())
    resource = resource.get("resource", resource)
    name = f"{path.parent.name}" if path.stem == "resource" else path.stem
    return Recorded(name, {**resource, "kind": FLYTE_WORKFLOWS.kind})


async def observe(of: Recorded, original: Recorded | None = None) -> Observed:
    """Run it to its end, or as far as it goes. Tasks do what they do in the `original`, if it was edited."""
    random.seed(0)  # two runs of one resource draw the same pauses, so that what differs is what was edited
    clock = LoopClock()
    blobs = dict(of.blobs)
    settings = Settings(
        storage=StorageOptions(metadata_prefix=METADATA_PREFIX, raw_output_prefix=RAW_OUTPUT_PREFIX),
        pod_defaults=PodDefaults(secrets="webhook"),  # as in FlytePropeller
    )
    async with (
        ApiServer(clock=clock, randomness=random.Random(0)) as server,
        Storage(settings.storage, stores={"s3": MemoryStore(blobs)}) as storage,
    ):
        user = Client(server.transport(), clock=clock)
        namespace = of.resource["metadata"]["namespace"]
        await user.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await user.create(NAMESPACES, {"metadata": {"name": namespace}})
        created = await user.create(WORKFLOWS, of.resource, namespace)
        client = Client(server.transport(), clock=clock)
        async with WorkflowController(client, storage, settings, clock=clock).running():
            pods = await _run(user, created["metadata"]["name"], namespace, blobs, original or of)
        status = (await user.get(WORKFLOWS, created["metadata"]["name"], namespace)).get("status", {})
    written = {uri: data for uri, data in blobs.items() if uri not in of.blobs}
    return Observed(pods, written, status)


async def _run(
    user: Client, name: str, namespace: str, blobs: dict[str, bytes], of: Recorded
) -> dict[str, dict[str, Any]]:
    """Let every pod succeed, with default outputs, until the workflow has ended. Returns the pods as created."""
    pods: dict[str, dict[str, Any]] = {}
    tasks = _templates(of)
    end = asyncio.get_running_loop().time() + MAX_SECONDS
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(1.0)
        for pod in (await user.list(RAW_PODS, namespace)).items:
            if pod["metadata"]["name"] not in pods:
                pods[pod["metadata"]["name"]] = pod
                await _succeed(user, pod, blobs, tasks)
        status = (await user.get(WORKFLOWS, name, namespace)).get("status", {})
        if status.get("phase") in {3, 5, 6}:
            break
        if status.get("waits"):
            await _answer(user, name, namespace, of)
    return pods


async def _answer(user: Client, name: str, namespace: str, of: Recorded) -> None:
    """Approve what waits for approval, and give 1 to what waits for a value."""
    answers = {"approve": "true", "signal": "1"}
    nodes = of.resource["spec"]["nodes"].items()
    kinds = {node: spec["gate"]["kind"] for node, spec in nodes if spec["kind"] == "gate"}
    given = {f"propeller/signal.{node}": answers[kind] for node, kind in kinds.items() if kind in answers}
    await user.patch(WORKFLOWS, name, namespace, body={"metadata": {"annotations": given}})


async def _succeed(user: Client, pod: Raw, blobs: dict[str, bytes], tasks: dict[str, tasks_pb2.TaskTemplate]) -> None:
    (container, *_) = pod["spec"]["containers"]
    variables = {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
    template = tasks.get(variables["FLYTE_INTERNAL_TASK_NAME"], tasks_pb2.TaskTemplate())
    outputs = literals_pb2.LiteralMap()
    for output, variable in template.interface.outputs.variables.items():
        outputs.literals[output].CopyFrom(default_literal(variable.type))
    args = [*container.get("command", ()), *container.get("args", ())]
    for option, value in itertools.pairwise(args):
        if option in _OUTPUT_PREFIXES:
            blobs[f"{value}/outputs.pb"] = outputs.SerializeToString(deterministic=True)
    ended = {"name": container["name"], "state": {"terminated": {"exitCode": 0}}}
    status = {"phase": "Succeeded", "containerStatuses": [ended]}
    metadata = pod["metadata"]
    await user.patch(RAW_PODS, metadata["name"], metadata["namespace"], body={"status": status}, subresource="status")


def _templates(of: Recorded) -> dict[str, tasks_pb2.TaskTemplate]:
    """The tasks by name, wherever they are kept."""
    found = {}
    for task in (of.resource.get("tasks") or {}).values():
        template = json_format.ParseDict(task, tasks_pb2.TaskTemplate(), ignore_unknown_fields=True)
        found[template.id.name] = template
    if reference := of.resource.get("workflowClosureReference"):
        closure = workflow_pb2.WorkflowClosure.FromString(of.blobs[reference]).compiled_workflow
        found |= {task.template.id.name: task.template for task in closure.tasks}
    return found
