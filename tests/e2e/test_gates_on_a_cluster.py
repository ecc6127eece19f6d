"""Gates on a real API server, whose controllers are killed while they wait and as they are answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from propeller.testing import eventually
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_real_cluster import (
    Cluster,
    cluster,
    controller,
    create,
    kubectl,
    output_of,
    own_server,
    status,
)

__all__ = ["cluster", "own_server"]

NAMESPACE = "flytesnacks-review"

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("kube-apiserver", "kubectl", "flytekit")]


async def answer(of: Cluster, *words: str) -> Any:
    where = ("-n", NAMESPACE, "--kubeconfig", of.operator, "--output", "json")
    return json.loads(await output_of(PROPELLER, *words, *where))


async def waits_at(of: Cluster, name: str, verb: str) -> None:
    """Wait until a gate of the execution shows the command that answers it."""

    async def waits() -> bool:
        nodes = (await status(of, name, namespace=NAMESPACE))["nodes"]
        return any(node["waits"] and f"propeller {verb} {name} " in node["waits"]["reason"] for node in nodes)

    await eventually(waits)


async def test_controllers_killed_while_gates_wait_and_right_after_an_answer_lose_none(cluster: Cluster) -> None:
    await kubectl(cluster.operator, "create", "namespace", NAMESPACE)
    async with controller(cluster, NAMESPACE) as first:
        name = await create(cluster, "review", "review", {"words": 7}, NAMESPACE)
        await waits_at(cluster, name, "signal")
        first.kill()
    given = await answer(cluster, "signal", name, "title", "About gates")
    assert given["value"] == "About gates"
    with pytest.raises(AssertionError, match="was given an answer already"):
        await answer(cluster, "signal", name, "title", "Another")
    async with controller(cluster, NAMESPACE) as second:
        await waits_at(cluster, name, "approve")
        await answer(cluster, "approve", name, "publish")
        second.kill()
    with pytest.raises(AssertionError, match=r"was given an answer already|has its answer"):
        await answer(cluster, "approve", name, "publish", "--reject")
    async with controller(cluster, NAMESPACE):
        ended = await status(cluster, name, "-w", namespace=NAMESPACE)
    assert ended["phase"] == "SUCCEEDED", ended["error"]
    assert ended["outputs"] == {"o0": "published 'About gates: a report of 7 words'"}
    with pytest.raises(AssertionError, match="has ended"):
        await answer(cluster, "signal", name, "title", "Too late")
