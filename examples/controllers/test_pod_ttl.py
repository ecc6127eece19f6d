"""Tests of pod_ttl.py, each on the embedded API server and on a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pod_ttl import LABEL, delete_finished_pods

from propeller.kube import PODS
from propeller.testing import ServerUnderTest, eventually

pytest_plugins = ["propeller.testing.plugin"]
pytestmark = pytest.mark.asyncio


async def test_a_pod_is_deleted_once_it_has_finished(api_server: ServerUnderTest) -> None:
    await create(api_server, "done", "Succeeded")
    await create(api_server, "runs", "Running")
    async with running(api_server):
        await eventually(lambda: has_only(api_server, "runs"))
        await create(api_server, "runs", "Failed")
        await eventually(lambda: has_only(api_server))


async def create(server: ServerUnderTest, name: str, phase: str) -> None:
    """A pod in that phase; no kubelet runs it. One that is there gets the phase."""
    pod = {
        "metadata": {"name": name, "labels": {LABEL: "0"}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }
    await server.client.apply(PODS, pod, server.namespace)
    await server.client.patch(PODS, name, server.namespace, body={"status": {"phase": phase}}, subresource="status")


async def has_only(server: ServerUnderTest, *names: str) -> bool:
    return {pod.metadata.name for pod in (await server.client.list(PODS, server.namespace)).items} == set(names)


@asynccontextmanager
async def running(server: ServerUnderTest) -> AsyncIterator[None]:
    """The controller, until the end of the block."""
    controller = asyncio.create_task(delete_finished_pods(server.client))
    try:
        yield
    finally:
        controller.cancel()
        await asyncio.wait([controller])
