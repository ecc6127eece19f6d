"""The controller of docs/controllers.md, on the embedded API server and on a real one."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest

from propeller.clock import rfc3339
from propeller.kube import PODS, Client, Raw
from propeller.testing import KubeApiserver, ServerUnderTest, embedded_server, eventually, is_deleted, real_server
from tests.e2e.conftest import EXAMPLES

FILE = EXAMPLES / "controllers" / "pod_ttl.py"
DOC = EXAMPLES.parent / "docs" / "controllers.md"
DEADLINE = 60.0

SERVERS = [
    pytest.param("embedded", marks=pytest.mark.needs("embedded")),
    pytest.param("kube-apiserver", marks=pytest.mark.needs("kube-apiserver")),
]


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[ServerUnderTest]:
    if request.param == "embedded":
        async with embedded_server() as embedded:
            yield embedded
    else:
        async with real_server(request.getfixturevalue("kube_apiserver")) as real:
            yield real


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pod_ttl", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(example: ModuleType, client: Client) -> AsyncIterator[None]:
    task = asyncio.create_task(example.delete_finished_pods(client))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def make_pod(server: ServerUnderTest, name: str, phase: str, *, ttl: str = "", age: float = 0.0) -> None:
    """A pod whose container ended `age` seconds ago, if it has."""
    labels = {"ttl-seconds-after-finished": ttl} if ttl else {}
    spec = {"containers": [{"name": "main", "image": "none"}]}
    body: Raw = {"metadata": {"name": name, "labels": labels}, "spec": spec}
    await server.client.create(PODS, body, server.namespace)
    ended = {"terminated": {"exitCode": 0, "finishedAt": rfc3339(time.time() - age)}}
    state = {"running": {}} if phase == "Running" else ended
    container = {"name": "main", "image": "none", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    status = {"status": {"phase": phase, "containerStatuses": [container]}}
    await server.client.patch(PODS, name, server.namespace, body=status, subresource="status")


async def gone(server: ServerUnderTest, name: str) -> None:
    await eventually(lambda: is_deleted(server.client, PODS, name, server.namespace))


async def names(server: ServerUnderTest) -> set[str]:
    return {pod.metadata.name for pod in (await server.client.list(PODS, server.namespace)).items}


async def test_pods_go_when_their_time_after_finishing_is_over(server: ServerUnderTest, example: ModuleType) -> None:
    await make_pod(server, "over-before-we-came", "Succeeded", ttl="60", age=100)
    await make_pod(server, "not-yet", "Failed", ttl="600", age=100)
    await make_pod(server, "runs", "Running", ttl="1")
    await make_pod(server, "nobody-asked", "Succeeded", age=100)
    await make_pod(server, "no-number", "Succeeded", ttl="soon", age=100)
    async with running(example, server.client):
        await gone(server, "over-before-we-came")
        await make_pod(server, "in-a-moment", "Succeeded", ttl="1")
        await gone(server, "in-a-moment")
        assert await names(server) == {"not-yet", "runs", "nobody-asked", "no-number"}


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_ends_in_order_when_it_is_asked_to(
    kube_apiserver: KubeApiserver, tmp_path: Path, asked: signal.Signals
) -> None:
    async with real_server(kube_apiserver) as server:
        kubeconfig = kube_apiserver.kubeconfig(tmp_path / "kubeconfig")
        await make_pod(server, "sign-of-life", "Succeeded", ttl="0", age=100)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(FILE), env={**os.environ, "KUBECONFIG": str(kubeconfig)}, stderr=asyncio.subprocess.PIPE
        )
        try:
            await gone(server, "sign-of-life")
            process.send_signal(asked)
            async with asyncio.timeout(DEADLINE):
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (process.returncode, errors.decode()) == (0, "")


async def test_a_time_that_is_shortened_later_counts(server: ServerUnderTest, example: ModuleType) -> None:
    await make_pod(server, "p", "Succeeded", ttl="600", age=100)
    async with running(example, server.client):
        sooner = {"metadata": {"labels": {"ttl-seconds-after-finished": "0"}}}
        await server.client.patch(PODS, "p", server.namespace, body=sooner)
        await gone(server, "p")


def test_the_page_shows_the_file_that_is_tested() -> None:
    assert f"```python\n{FILE.read_text()}```\n" in DOC.read_text()


def test_the_controller_has_at_most_forty_lines_of_code() -> None:
    lines = (line.strip() for line in FILE.read_text().splitlines())
    assert len([line for line in lines if line and not line.startswith("#")]) <= 40
