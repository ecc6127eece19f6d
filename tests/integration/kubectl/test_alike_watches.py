"""What watches tell, asked of both servers: the same random writes, seen through selectors and in three forms, as they
happen and once more from the beginning.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import Any

import pytest

from propeller.kube import Client, Raw, Request
from propeller.testing import KubeApiserver, ServerUnderTest, embedded_server, real_server

SEEDS = range(4)
WRITES = 50
DEADLINE = 60.0
"""Seconds within which what happened has reached every watch, on any machine."""

FORMS = (
    "application/json",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
)
SELECTIONS: tuple[dict[str, str], ...] = (
    {},
    {"labelSelector": "a=1"},
    {"labelSelector": "b,a!=2"},
    {"labelSelector": "!a"},
    {"fieldSelector": "status.phase=Running"},
    {"fieldSelector": "spec.nodeName="},
    {"fieldSelector": "metadata.name=p"},
    {"fieldSelector": "status.phase!=Succeeded", "labelSelector": "a in (1,2)"},
)
UNTOLD = {
    *("resourceVersion", "uid", "namespace", "managedFields", "creationTimestamp", "deletionTimestamp"),
    *("lastTransitionTime", "lastProbeTime", "observedGeneration", "columnDefinitions"),
}
Write = tuple[str, str, str, Raw, dict[str, str]]
"""Method, path below the collection, content type, body and query."""


def write(rng: random.Random) -> Write:
    name, chance, merge = rng.choice("pqrs"), rng.random(), "application/merge-patch+json"
    if chance < 0.35:
        chosen = {key: rng.choice("12") for key in "ab" if rng.random() < 0.6}
        finalizers = ["example.com/hold"] if rng.random() < 0.3 else []
        spec: Raw = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}
        if rng.random() < 0.4:
            spec["nodeName"] = "n1"
        return (
            "POST",
            "",
            "application/json",
            {"metadata": {"name": name, "labels": chosen, "finalizers": finalizers}, "spec": spec},
            {},
        )
    if chance < 0.55:
        return (
            "PATCH",
            f"/{name}",
            merge,
            {"metadata": {"labels": {rng.choice("ab"): rng.choice(["1", "2", None])}}},
            {},
        )
    if chance < 0.65:
        return "PATCH", f"/{name}", merge, {"metadata": {"finalizers": rng.choice([None, ["example.com/hold"]])}}, {}
    if chance < 0.8:
        phase = rng.choice(["Running", "Succeeded", "Pending"])
        return "PATCH", f"/{name}/status", merge, {"status": {"phase": phase}}, {}
    if chance < 0.85:
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "n2"}}
        return "POST", f"/{name}/binding", "application/json", binding, {}
    if chance < 0.97:
        options = {"gracePeriodSeconds": rng.choice([0, 1, 30])} if rng.random() < 0.6 else {}
        return "DELETE", f"/{name}", "application/json", options, {}
    return "DELETE", "", "application/json", {}, {"labelSelector": rng.choice(["a=1", "b", "!a"])}


async def ask(client: Client, request: Request) -> tuple[int, Raw]:
    answer = await client.transport.send(request, deadline=30)
    return answer.status, json.loads(answer.body)


async def watch(
    client: Client, path: str, version: str, seconds: float, selection: Any, form: str, told: list[Any]
) -> None:
    """Add all events from a version on, of the next seconds."""
    query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": f"{seconds:.0f}", **selection}
    request = Request(method="GET", path=path, query=query, headers={"accept": form})
    rest = b""
    async with client.transport.stream(request, deadline=DEADLINE) as stream:
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            told += [comparable(json.loads(line)) for line in lines if line.strip()]


def comparable(value: Any) -> Any:
    match value:
        case dict():
            return {key: comparable(one) for key, one in value.items() if key not in UNTOLD}
        case list():
            return [comparable(one) for one in value]
        case str() if re.fullmatch(r"\d+[smhd](\d+[smh])?", value):
            return "$age"
        case _:
            return value


async def story(face: ServerUnderTest, writes: list[Write], views: list[tuple[Any, str]]) -> Any:
    """What became of the writes, what the watches told meanwhile, and what they tell of it afterwards."""
    client, path = face.client, f"/api/v1/namespaces/{face.namespace}/pods"
    _, empty = await ask(client, Request(method="GET", path=path))
    version = empty["metadata"]["resourceVersion"]
    live: list[list[Any]] = [[] for _ in views]
    again: list[list[Any]] = [[] for _ in views]
    answers = []
    async with asyncio.TaskGroup() as group:
        following = [
            group.create_task(watch(client, path, version, 600, *view, told))
            for view, told in zip(views, live, strict=True)
        ]
        for method, below, content_type, body, query in writes:
            headers = {"content-type": content_type, "accept": "application/json"}
            content = json.dumps(body).encode()
            request = Request(method=method, path=path + below, query=query, headers=headers, body=content)
            status, answer = await ask(client, request)
            answers.append((status, comparable(answer) if status < 300 else answer["reason"]))
        await asyncio.gather(
            *(watch(client, path, version, 2, *view, told) for view, told in zip(views, again, strict=True))
        )
        async with asyncio.timeout(DEADLINE):
            while any(len(now) < len(then) for now, then in zip(live, again, strict=True)):
                await asyncio.sleep(0.05)
        for task in following:
            task.cancel()
    return answers, live, again


@pytest.mark.parametrize("seed", SEEDS)
async def test_both_servers_tell_watchers_the_same(kube_apiserver: KubeApiserver, seed: int) -> None:
    rng = random.Random(seed)
    writes = [write(rng) for _ in range(WRITES)]
    views = [(selection, rng.choice(FORMS)) for selection in SELECTIONS]
    async with real_server(kube_apiserver) as real, embedded_server(controllers=False) as embedded:
        expected, found = await asyncio.gather(story(real, writes, views), story(embedded, writes, views))
    assert found == expected
