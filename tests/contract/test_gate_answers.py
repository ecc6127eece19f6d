"""Answers to gates are annotations: what propeller relies on of them, and a controller that takes them."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.config import Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController
from propeller.errors import Conflict, Rejected
from propeller.kube import Raw, Resource
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import ServerUnderTest, eventually
from propeller.workflow import signal_annotation
from tests.contract.custom_resources import PLAIN, install_flyte_workflows, install_plains
from tests.contract.objects import version
from tests.unit.controller.test_gates import signal, sleep
from tests.unit.workflow.drive import TASK, graph

KINDS = {"with a status subresource": FLYTE_WORKFLOWS, "without one, as Flyte's": PLAIN}
WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)


@pytest.fixture(params=KINDS)
async def kind(request: pytest.FixtureRequest, server: ServerUnderTest) -> Resource[Any]:
    await install_flyte_workflows(server.client)
    await install_plains(server.client)
    return KINDS[request.param].typed(Raw)


async def annotate(server: ServerUnderTest, kind: Resource[Any], text: str, node: str = "n0", **metadata: str) -> Raw:
    body = {"metadata": {"annotations": {signal_annotation(node): text}, **metadata}}
    found: Raw = await server.client.patch(kind, "w", server.namespace, body=body)
    return found


async def test_an_answer_changes_nothing_but_the_version_and_outdates_writes_onto_the_one_before(
    server: ServerUnderTest, kind: Resource[Any]
) -> None:
    before = await server.client.create(kind, {"metadata": {"name": "w"}, "spec": {"x": 1}}, server.namespace)
    after = await annotate(server, kind, "5")
    assert version(after) > version(before)
    assert (after["spec"], after["metadata"]["generation"]) == ({"x": 1}, before["metadata"]["generation"])
    assert after["metadata"]["annotations"] == {"propeller/signal.n0": "5"}
    body = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}, "status": {"phase": 1}}
    subresource = "status" if kind.plural == WORKFLOWS.plural else ""
    with pytest.raises(Conflict):
        await server.client.patch(kind, "w", server.namespace, body=body, subresource=subresource)


async def test_an_answer_is_written_only_onto_the_version_that_was_seen(
    server: ServerUnderTest, kind: Resource[Any]
) -> None:
    before = await server.client.create(kind, {"metadata": {"name": "w"}, "spec": {}}, server.namespace)
    seen = {"resourceVersion": before["metadata"]["resourceVersion"], "uid": before["metadata"]["uid"]}
    await annotate(server, kind, "1", **seen)
    with pytest.raises(Conflict):
        await annotate(server, kind, "2", **seen)
    found = await server.client.get(kind, "w", server.namespace)
    assert found["metadata"]["annotations"] == {"propeller/signal.n0": "1"}


async def test_answers_to_nodes_of_any_name_are_kept_up_to_the_servers_limit(
    server: ServerUnderTest, kind: Resource[Any]
) -> None:
    await server.client.create(kind, {"metadata": {"name": "w"}, "spec": {}}, server.namespace)
    names = ["n0-0-n1", "-a", "a b", "ünï", "A.b_c", "x" * 20]
    for name in names:
        after = await annotate(server, kind, "\n\u202e{}", name)
    assert set(after["metadata"]["annotations"].values()) == {"\n\u202e{}"}
    assert len(after["metadata"]["annotations"]) == len(names)
    with pytest.raises(Rejected, match="annotations"):
        await annotate(server, kind, "x" * (256 * 1024))


async def test_a_controller_takes_an_answer_of_the_right_type(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    settings = Settings(storage=StorageOptions(metadata_prefix="memory://m"))

    async def status() -> Raw:
        found: Raw = (await server.client.get(WORKFLOWS, "w", server.namespace)).get("status", {})
        return found

    async def says(text: str) -> bool:
        return text in str((await status()).get("waits"))

    async with (
        Storage(settings.storage, stores={"memory": MemoryStore()}) as storage,
        WorkflowController(server.client, storage, settings, namespace=server.namespace).running(),
    ):
        nodes = graph(sleep("n0", "0.1s"), signal("n1"), edges=[("n0", "n1")])
        body = {"metadata": {"name": "w"}, "spec": nodes, "tasks": {"t": TASK}}
        await server.client.create(WORKFLOWS, body, server.namespace)
        await eventually(lambda: says("propeller signal w n1 VALUE"))
        await annotate(server, WORKFLOWS, "many", "n1")
        await eventually(lambda: says("found 'many'"))
        await annotate(server, WORKFLOWS, "5", "n1")
        await eventually(lambda: _has_ended(status))
        assert (await status())["phase"] == 3


async def _has_ended(status: Any) -> bool:
    return (await status()).get("phase", 0) in {3, 5, 6}
