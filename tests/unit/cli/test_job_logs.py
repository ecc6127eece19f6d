"""`propeller get EXECUTION NODE logs` of an operator's job: the log of one of its pods."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from propeller.cli._logs import Attempt, show_logs
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid, PropellerError
from propeller.handlers.plugins._remote import WORKFLOW_ANNOTATION, WORKFLOW_UID_LABEL
from propeller.kube import NAMESPACES, Client, Raw
from tests.unit.cli.test_links import attempt
from tests.unit.controller.bench import RAW_PODS
from tests.unit.handlers.operator_tasks import resource_of

JOBS = resource_of("kubernetes-job")
CONTAINER = {"name": "main", "image": "i"}
UID = "batch.kubernetes.io/controller-uid"


async def logs(
    namespace: str, name: str, container: str | None = None, *, follow: bool = False, **options: Any
) -> AsyncIterator[bytes]:
    yield f"said by {name}, {container}\n".encode()


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[Client, Attempt]]:
    """A server with the log of each pod, and an attempt that runs as a Job, which is not there yet."""
    async with ApiServer(logs=logs) as server:
        client = Client(server.transport())
        await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        yield client, attempt("kubernetes-job")


async def job(client: Client, of: Attempt, uid: str = "") -> Raw:
    """The attempt's Job, or with another `uid` that of another execution. It is marked as in a cluster of a routing
    table, as its FlyteWorkflow is not here.
    """
    info, template = of.view.execution.info, {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
    labels, annotations = {WORKFLOW_UID_LABEL: uid or info.uid}, {WORKFLOW_ANNOTATION: info.name}
    metadata = {"name": of.pod, "labels": labels, "annotations": annotations}
    return await client.create(JOBS, {"metadata": metadata, "spec": {"template": template}}, "ns")


async def pod(client: Client, of: Raw, name: str, exit_code: int) -> None:
    metadata = of["metadata"]
    above = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    spec = {"nodeName": "n", "restartPolicy": "Never", "containers": [CONTAINER]}
    labels = {UID: metadata["uid"]}
    body = {"metadata": {"name": name, "labels": labels, "ownerReferences": [above]}, "spec": spec}
    await client.create(RAW_PODS, body, "ns")
    ends = {"terminated": {"exitCode": exit_code}}
    container = {"name": "main", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": ends}
    status = {"phase": "Failed" if exit_code else "Succeeded", "containerStatuses": [container]}
    await client.patch(RAW_PODS, name, "ns", body={"status": status}, subresource="status")


async def test_the_log_is_that_of_the_pod_that_failed_or_of_the_one_that_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with cluster() as (client, of):
        made = await job(client, of)
        for name, exit_code in (("a-well", 0), ("b-failed", 1), ("c-well", 0)):
            await pod(client, made, name, exit_code)
        await show_logs(of, client, "", as_json=False)
        out, err = capsys.readouterr()
        assert out == "said by b-failed, main\n"
        assert err == "pod b-failed; another one with --pod: b-failed, a-well, c-well\n"
        await show_logs(of, client, "c-well", as_json=True)
        found = json.loads(capsys.readouterr().out)
        assert (found["pod"], found["log"]) == ("c-well", "said by c-well, main\n")
        assert found["pods"] == ["b-failed", "a-well", "c-well"]
        with pytest.raises(Invalid, match="--pod d: the attempt's pods are b-failed, a-well, c-well"):
            await show_logs(of, client, "d", as_json=False)


async def test_a_job_without_pods_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    async with cluster() as (client, of):
        await job(client, of)
        with pytest.raises(PropellerError, match=f"Job ns/{of.pod} has no pods: its operator has made none yet"):
            await show_logs(of, client, "", as_json=False)


async def test_the_job_of_a_stranger_and_one_that_is_gone_have_no_logs() -> None:
    async with cluster() as (client, of):
        with pytest.raises(PropellerError, match="is gone"):
            await show_logs(of, client, "", as_json=False)
        made = await job(client, of, uid="of-a-stranger")
        await pod(client, made, "theirs", 1)
        with pytest.raises(PropellerError, match="is gone"):
            await show_logs(of, client, "", as_json=False)
        with pytest.raises(Invalid, match=f"--pod theirs: the attempt runs as pod {of.pod}, or its job is gone"):
            await show_logs(of, client, "theirs", as_json=False)
