"""Workflows with tasks of type `thing`, which a plugin runs as custom resources, and who plays their operator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from propeller.controller import WorkflowController
from propeller.embedded.server import Interceptor
from propeller.errors import NotFound
from propeller.handlers.plugins import Plugins, TaskPlugin, load_plugins
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw
from tests.unit.controller.bench import WORKFLOWS, Bench
from tests.unit.handlers import plugins_of_others as others
from tests.unit.handlers.test_plugins import point
from tests.unit.workflow.drive import TASK, graph, task

THINGS = others.RAW_THINGS
DEFINITION = {
    "metadata": {"name": "things.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
TASKS = {"t": TASK, "thing": TASK | {"type": "thing"}, "other": TASK | {"type": "other"}}


def plugins(value: str = "GOOD") -> Plugins:
    return load_plugins([point(value)])


def plugins_with(plugin: TaskPlugin) -> Plugins:
    """As if it were installed."""
    before, others.GOOD = others.GOOD, plugin  # type: ignore[assignment]
    try:
        return plugins()
    finally:
        others.GOOD = before


async def serve(of: Bench) -> None:
    await of.user.create(CUSTOM_RESOURCE_DEFINITIONS, DEFINITION)


async def create(of: Bench, *nodes: Raw, name: str = "w", **fields: Any) -> None:
    """A workflow of tasks `t` (pods) and `thing`."""
    body = {"metadata": {"name": name}, "spec": graph(*nodes, **fields), "tasks": TASKS}
    await of.user.create(WORKFLOWS, body, "ns")


def thing(node_id: str, **fields: Any) -> Raw:
    return task(node_id, **{"task": "thing", **fields})


@asynccontextmanager
async def controller(
    of: Bench, installed: Plugins, interceptor: Interceptor | None = None
) -> AsyncIterator[WorkflowController]:
    client = Client(of.server.transport(interceptor=interceptor), of.settings.client, clock=of.clock)
    made = WorkflowController(client, of.storage, of.settings, clock=of.clock, metrics=of.metrics, plugins=installed)
    async with made.running() as running:
        yield running


async def report(of: Bench, name: str, phase: str) -> None:
    """What an operator of things would say of one."""
    await of.user.patch(THINGS, name, "ns", body={"status": {"phase": phase}}, subresource="status")


async def find(of: Bench, name: str) -> Raw | None:
    try:
        return await of.user.get(THINGS, name, "ns")
    except NotFound:
        return None


async def names(of: Bench) -> list[str]:
    return sorted(one["metadata"]["name"] for one in (await of.user.list(THINGS, "ns")).items)
