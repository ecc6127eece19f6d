"""Who owns which field, asked of both servers: random applies and updates by three managers, their answers compared.

A failing seed is printed with the requests up to the first answer that differs.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

import msgspec
import pytest

from propeller.kube import Client, Raw, Request
from propeller.testing import KubeApiserver, embedded_server, real_server
from tests.contract.custom_resources import install_flyte_workflows

SEEDS = range(8)
REQUESTS = 40
APPLY = "application/apply-patch+yaml"
PATHS = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "FlyteWorkflow": "/apis/flyte.lyft.com/v1alpha1/namespaces/{}/flyteworkflows",
}
UNTOLD = ("resourceVersion", "uid", "creationTimestamp", "deletionTimestamp", "time")


class Step(msgspec.Struct, frozen=True):
    """One request about the object `o`; a PUT is of the object as it is then, with `body` over it."""

    method: str
    kind: str
    content_type: str
    query: dict[str, str]
    body: Raw


class Chance:
    """Draws requests about one object."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._kind = self._rng.choice(list(PATHS))

    def _maybe(self, part: float) -> bool:
        return self._rng.random() < part

    def _some(self, names: str, *values: Any) -> Raw:
        return {name: self._rng.choice(values) for name in names if self._maybe(0.5)}

    def _body(self) -> Raw:
        metadata: Raw = {"name": "o"}
        if self._maybe(0.5):
            metadata["labels"] = self._some("xy", "1", "2")
        if self._maybe(0.4):
            metadata["finalizers"] = [f"example.com/{name}" for name in self._some("pqr", 1)]
        if self._maybe(0.3):
            metadata["annotations"] = self._some("st", "1", "2")
        return {"metadata": metadata, **self._content()}

    def _content(self) -> Raw:
        match self._kind:
            case "ConfigMap":
                return {"data": self._some("abcd", "1", "2")} if self._maybe(0.9) else {}
            case "ServiceAccount":
                lists = {name: [{"name": one} for one in self._some("uvw", 1)] for name in self._lists()}
                return lists | ({"automountServiceAccountToken": self._maybe(0.5)} if self._maybe(0.3) else {})
            case _:
                return {"spec": self._some("klm", 1, 2, {"i": 1}, {"i": 1, "j": [1, 2]})}

    def _lists(self) -> list[str]:
        return [name for name in ("secrets", "imagePullSecrets") if self._maybe(0.6)]

    def step(self) -> Step:
        versions = {"FlyteWorkflow": "flyte.lyft.com/v1alpha1"}
        type_fields = {"kind": self._kind, "apiVersion": versions.get(self._kind, "v1")}
        query = {"fieldManager": self._rng.choice(["one", "two", "three"])}
        chance = self._rng.random()
        if chance < 0.55:
            force = {"force": "true"} if self._maybe(0.3) else {}
            return Step("PATCH", self._kind, APPLY, {**query, **force}, {**type_fields, **self._body()})
        if chance < 0.65:
            return Step("POST", self._kind, "application/json", query, {**type_fields, **self._body()})
        if chance < 0.8:
            return Step("PATCH", self._kind, "application/merge-patch+json", query, self._body())
        if chance < 0.88 and self._kind != "FlyteWorkflow":
            return Step("PATCH", self._kind, "application/strategic-merge-patch+json", query, self._body())
        if chance < 0.97:
            return Step("PUT", self._kind, "application/json", query, self._body())
        return Step("DELETE", self._kind, "application/json", {}, {})


async def take(client: Client, namespace: str, step: Step) -> tuple[int, Any]:
    """The status and what is comparable of the answer."""
    collection = PATHS[step.kind].format(namespace)
    body = step.body
    if step.method == "PUT":
        status, current = await send(client, "GET", f"{collection}/o", step, {})
        if status != 200:
            return status, current["reason"]
        body = {**current, **body, "metadata": {**current["metadata"], **body["metadata"]}}
    path = collection if step.method == "POST" else f"{collection}/o"
    status, answer = await send(client, step.method, path, step, body)
    return status, comparable(answer, namespace)


async def send(client: Client, method: str, path: str, step: Step, body: Raw) -> tuple[int, Raw]:
    headers = {"content-type": step.content_type, "accept": "application/json"}
    request = Request(method=method, path=path, query=step.query, headers=headers, body=json.dumps(body).encode())
    answer = await client.transport.send(request, deadline=30)
    return answer.status, json.loads(answer.body)


def comparable(value: Any, namespace: str) -> Any:
    """Without versions, times and uids, and with what comes in no order sorted."""
    match value:
        case dict():
            kept = {key: comparable(one, namespace) for key, one in value.items() if key not in UNTOLD}
            for key in ("causes", "managedFields"):
                if isinstance(kept.get(key), list):
                    kept[key].sort(key=lambda one: json.dumps(one, sort_keys=True))
            empty = [key for key in ("labels", "annotations") if kept.get(key) == {}]
            return {key: one for key, one in kept.items() if one is not None and key not in empty}
        case list():
            return [comparable(one, namespace) for one in value]
        case str():
            return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "$uid", value.replace(namespace, "$namespace"))
        case _:
            return value


def told(answer: tuple[int, Any], other: tuple[int, Any]) -> Any:
    """An answer to compare with another's: the embedded server shows no managers before the first apply."""
    status, found = answer
    if status < 300 and "managedFields" not in other[1].get("metadata", {}):
        metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
        return status, {**found, "metadata": metadata}
    return (status, found) if status in (200, 201, 409) else status


@pytest.mark.parametrize("seed", SEEDS)
async def test_both_servers_name_the_same_owners(kube_apiserver: KubeApiserver, seed: int) -> None:
    chance = Chance(seed)
    async with real_server(kube_apiserver) as real, embedded_server(controllers=False) as embedded:
        faces = (real, embedded)
        for face in faces:
            await install_flyte_workflows(face.client)
        for number in range(REQUESTS):
            step = chance.step()
            expected, found = [await take(face.client, face.namespace, step) for face in faces]
            assert told(found, expected) == told(expected, found), f"seed {seed}, request {number}: {step}"
