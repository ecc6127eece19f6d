"""Run workflows of connector tasks with one controller on a real kube-apiserver and a real S3 server, and gather what
its connector service was asked, and how they have ended.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from flyteidl.admin import task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from google.protobuf import json_format

from loadtest._go_peers import built
from loadtest._scenarios import install
from propeller.compiler import build_resource, compile_task, compile_workflow
from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import NotFound
from propeller.kube import NAMESPACES, Client, connect
from propeller.testing import KubeApiserver, S3Server, run_kube_apiserver, run_s3_server
from propeller.testing._processes import ServerProcess, free_ports
from tests.connector_peers.differences import Ended, Run
from tests.connector_peers.recorder import Recorder
from tests.e2e.test_pods import KUBERNETES

ROOT = Path(__file__).parents[2]
THEIRS, OURS = "FlytePropeller", "propeller"
NAMESPACE = "peers-development"
PARTS = {"inner"}
"""Workflows that run only within others."""

DELETED = "is_deleted"
"""The workflow that is deleted while its job runs."""

SECONDS = 240.0
"""Within which all have ended with either; FlytePropeller looks at a job every 5 seconds at best."""

_DIRECTORY = re.compile(r"(peers-development-[a-z-]+)-[0-9a-f]{8}(?=/)")
"""An execution's, which ours ends in characters of its uid."""
_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")

FINAL = {3, 5, 6}
"""Phases of a workflow: succeeded, failed, aborted."""


def compiled(only: str, directory: Path) -> dict[str, dict[str, Any]]:
    """Return the resource of each workflow, as FlyteAdmin would complete it, by the workflow's name. `directory` takes
    what flytekit needs beside its own package.
    """
    for name, text in KUBERNETES.items():
        (directory / "kubernetes" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "kubernetes" / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "tests.connector_peers.serialize"],
        env=os.environ | {"FLYTE_INTERNAL_IMAGE": "unused:1", "PYTHONPATH": f"{directory}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name: _completed(_resource(found[name]), name) for name in found if only in name and name not in PARTS}


def _resource(serialized: dict[str, Any]) -> dict[str, Any]:
    spec = workflow_pb2.WorkflowSpec.FromString(base64.b64decode(serialized["workflow"]))
    tasks = [task_pb2.TaskSpec.FromString(base64.b64decode(text)).template for text in serialized["tasks"]]
    inputs = {
        name: literals_pb2.Literal.FromString(base64.b64decode(text)) for name, text in serialized["inputs"].items()
    }
    closure = compile_workflow(spec.template, spec.sub_workflows, [compile_task(task) for task in tasks])
    identity = identifier_pb2.WorkflowExecutionIdentifier(project="peers", domain="development", name="peer")
    resource = build_resource(closure, literals_pb2.LiteralMap(literals=inputs), identity, NAMESPACE)
    return resource | {"kind": FLYTE_WORKFLOWS.kind}


def _completed(resource: dict[str, Any], workflow: str) -> dict[str, Any]:
    name = workflow.replace("_", "-")
    metadata = resource["metadata"]
    labels = metadata["labels"] | {"execution-id": name, "team": "blue"}
    config = resource["executionConfig"] | {"EnvironmentVariables": {"STAGE": "test"}}
    if workflow in {"pod", "sensing"}:
        config["Interruptible"] = True
    amounts = {"CPU": "500m", "Memory": "500Mi"}
    config["TaskResources"] = {"Requests": amounts, "Limits": {"CPU": "8", "Memory": "16Gi"}}
    run_as = {
        "k8s_service_account": "runner",
        "execution_identity": "ada",
        "iam_role": "arn:role",
        "oauth2_client": {"client_id": "id", "client_secret": {"group": "g", "key": "k"}},
    }
    return resource | {
        "metadata": metadata
        | {"name": name, "namespace": NAMESPACE, "labels": labels, "annotations": {"owner": "ada"}},
        "executionId": {"project": "peers", "domain": "development", "name": name},
        "serviceAccountName": "runner",
        "securityContext": {"run_as": run_as},
        "executionConfig": config,
        "workflowMeta": {"eventVersion": 2},
    }


def flytepropellers_config(kubeconfig: Path, endpoint: str, s3: S3Server, bucket: str, port: int) -> dict[str, Any]:
    connector = {"endpoint": f"dns:///{endpoint}", "insecure": True, "defaultTimeout": "10s"}
    return {
        "propeller": {
            "kube-config": str(kubeconfig),
            "prof-port": port,
            "metadata-prefix": "metadata",
            "rawoutput-prefix": f"s3://{bucket}/raw",
            "workers": 4,
            "workflow-reeval-duration": "1s",  # the end of a job starts no round by itself
            "enable-admin-launcher": False,
            "kube-client-config": {"qps": 1000, "burst": 1000},
        },
        "tasks": {
            "task-plugins": {
                "enabled-plugins": ["container", "connector-service"],
                "default-for-task-types": {"container": "container"},
            }
        },
        "plugins": {
            "k8s": {"default-env-vars": [{"FLYTE_AWS_ENDPOINT": s3.url}]},
            "connector-service": {
                "connectors": {"recorder": connector},
                "defaultConnector": connector,
                "supportedTaskTypes": [],
                "webApi": {"caching": {"resyncInterval": "5s"}},  # the least that it takes
            },
        },
        "storage": {
            "type": "s3",
            "container": bucket,
            "connection": {
                "endpoint": s3.url,
                "auth-type": "accesskey",
                "access-key": s3.access_key,
                "secret-key": s3.secret_key,
                "region": "us-east-1",
                "disable-ssl": True,
            },
        },
        "event": {"type": "log", "rate": 1000, "capacity": 1000},
        "catalog-cache": {"type": "noop"},
        "logger": {"level": 4},
        "admin": {"endpoint": "dns:///localhost:9", "insecure": True},
    }


def our_config(endpoint: str, s3: S3Server, bucket: str) -> dict[str, Any]:
    service = {"name": "recorder", "endpoint": endpoint, "insecure": True}
    return {
        "connectors": {
            "services": [service],
            "default": "recorder",
            "refresh": 1.0,
            "poll_shortest": 0.5,
            "poll_longest": 2.0,
        },
        "storage": {
            "metadata_prefix": f"s3://{bucket}/metadata",
            "raw_output_prefix": f"s3://{bucket}/raw",
            "s3_endpoint": s3.url,
        },
        "attempts": {"system_backoff": 0.5},
    }


class Bench:
    """An API server, an S3 server and the resources."""

    def __init__(
        self,
        home: Path,
        server: KubeApiserver,
        client: Client,
        s3: S3Server,
        bucket: str,
        resources: Mapping[str, dict[str, Any]],
    ) -> None:
        self.home = home
        self._server = server
        self._client = client
        self._s3 = s3
        self._bucket = bucket
        self._resources = resources

    async def run(self, who: str) -> Run:
        recorder = Recorder(self._put)
        async with recorder.serving() as service:
            with self._controller(who, service.endpoint):
                for resource in self._resources.values():
                    await self._client.create(FLYTE_WORKFLOWS, resource, NAMESPACE)
                statuses = await self._statuses(recorder)
        ends = {name: self._ended(name, status) for name, status in statuses.items()}
        await self._remove_all()
        (self.home / f"{who}.json").write_bytes(msgspec.json.encode(recorder.calls))
        return self._portable(Run(recorder.calls, ends))

    def _portable(self, run: Run) -> Run:
        """What a run has seen, without what is another one each time."""
        text = msgspec.json.encode(run).decode().replace(self._bucket, "BUCKET").replace(self._s3.url, "http://s3")
        return msgspec.json.decode(_DIRECTORY.sub(r"\1", _ADDRESS.sub("SERVICE", text)), type=Run)

    @contextlib.contextmanager
    def _controller(self, who: str, endpoint: str) -> Iterator[None]:
        kubeconfig = self._server.kubeconfig(self.home / "kubeconfig")
        config, (port,) = self.home / f"{who}.yaml", free_ports(1)
        if who == THEIRS:
            config.write_text(
                yaml.safe_dump(flytepropellers_config(kubeconfig, endpoint, self._s3, self._bucket, port))
            )
            command = [str(built("flytepropeller")), "--config", str(config)]
        else:
            config.write_text(yaml.safe_dump(our_config(endpoint, self._s3, self._bucket)))
            command = [sys.executable, "-m", "propeller.cli", "controller", "--config", str(config), "--no-elect"]
            command += ["--kubeconfig", str(kubeconfig), "--metrics-port", "0"]
        variables = self._s3.environment | {"POD_NAMESPACE": "flyte", "POD_NAME": who.lower()}
        words = ["env", *(f"{name}={value}" for name, value in variables.items()), *command]
        process = ServerProcess(who, words, self.home / f"{who}.log")
        process.spawn()
        try:
            yield
        finally:
            process.stop()

    async def _put(self, uri: str, data: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        await asyncio.to_thread(self._s3.client.put_object, Bucket=bucket, Key=key, Body=data)

    async def _statuses(self, recorder: Recorder) -> dict[str, dict[str, Any]]:
        """Return each workflow's status once all have ended; what has not by then is left out."""
        found: dict[str, dict[str, Any]] = {}
        until, deleting = time.monotonic() + SECONDS, False
        while time.monotonic() < until and len(found) < len(self._resources):
            await asyncio.sleep(0.5)
            for name, resource in self._resources.items():
                if name not in found and (status := await self._status(resource)).get("phase") in FINAL:
                    found[name] = status
            name = self._resources.get(DELETED, {}).get("metadata", {}).get("name")
            looked = any(call.execution == name and call.operation == "GetTask" for call in recorder.calls)
            if looked and not deleting:
                deleting = True
                await self._client.delete(FLYTE_WORKFLOWS, name, NAMESPACE)
        await asyncio.sleep(3)  # for calls after the end
        return found

    async def _status(self, resource: dict[str, Any]) -> dict[str, Any]:
        try:
            found = await self._client.get(FLYTE_WORKFLOWS, resource["metadata"]["name"], NAMESPACE)
        except NotFound:
            return {"phase": 6}
        return dict(found.get("status") or {})

    def _ended(self, name: str, status: dict[str, Any]) -> Ended:
        error = status.get("error") or {}
        directory = self._s3.directory / self._bucket / "metadata"
        execution = f"peers-development-{self._resources[name]['metadata']['name']}"
        outputs = [
            json_format.MessageToDict(literals_pb2.LiteralMap.FromString(path.read_bytes()))
            for where in (execution, f"{execution}-????????")
            for path in directory.glob(f"{where}/end-node/data/0/outputs.pb")
        ]
        return Ended(status["phase"], error, outputs[0] if outputs else {})

    async def _remove_all(self) -> None:
        """Remove the resources and what was stored, so that the next controller begins with nothing."""
        for resource in self._resources.values():
            name = resource["metadata"]["name"]
            with contextlib.suppress(NotFound):
                found = await self._client.get(FLYTE_WORKFLOWS, name, NAMESPACE)
                released = found | {"metadata": found["metadata"] | {"finalizers": []}}
                await self._client.update(FLYTE_WORKFLOWS, found, released)
                await self._client.delete(FLYTE_WORKFLOWS, name, NAMESPACE)
        await asyncio.to_thread(self._remove_objects)

    def _remove_objects(self) -> None:
        pages = self._s3.client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        for key in [found["Key"] for page in pages for found in page.get("Contents", ())]:
            self._s3.client.delete_object(Bucket=self._bucket, Key=key)


@contextlib.asynccontextmanager
async def bench(home: Path, only: str) -> AsyncIterator[tuple[Bench, list[str]]]:
    for part in ("resources", "kube"):
        (home / part).mkdir(parents=True)
    resources = compiled(only, home / "resources")
    with run_kube_apiserver(home / "kube") as server, run_s3_server(home / "s3") as s3:
        bucket = s3.bucket()
        for resource in resources.values():
            resource["rawOutputDataConfig"] = {"output_location_prefix": f"s3://{bucket}/raw"}
        async with connect(server.connection()) as client:
            await install(client, flyte=True)
            for namespace in (NAMESPACE, "flyte"):
                await client.create(NAMESPACES, {"metadata": {"name": namespace}})
            yield Bench(home, server, client, s3, bucket, resources), sorted(resources)
