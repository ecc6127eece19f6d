"""Whatever is asked, both servers answer alike: random requests, sent to both, and their answers compared.

The other tests of this suite say what we rely on; this one finds what nobody thought of. A failing seed is printed with
the requests up to the first answer that differs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest

from propeller.kube import Client, Raw, Request
from propeller.testing import KubeApiserver, embedded_server, real_server
from tests.contract.custom_resources import install_flyte_workflows, install_plains

REQUESTS = 150
SEEDS = range(6)

PATHS = {
    "ConfigMap": "/api/v1/namespaces/{ns}/configmaps",
    "Secret": "/api/v1/namespaces/{ns}/secrets",
    "Pod": "/api/v1/namespaces/{ns}/pods",
    "Event": "/api/v1/namespaces/{ns}/events",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
    "FlyteWorkflow": "/apis/flyte.lyft.com/v1alpha1/namespaces/{ns}/flyteworkflows",
    "Plain": "/apis/contract.example.org/v1alpha1/namespaces/{ns}/plains",
}
VERSIONS = {
    "Lease": "coordination.k8s.io/v1",
    "FlyteWorkflow": "flyte.lyft.com/v1alpha1",
    "Plain": "contract.example.org/v1alpha1",
}


class Ask(msgspec.Struct, frozen=True):
    """One request, the same for both: versions and uids in it are named, and filled in for each server."""

    method: str
    kind: str
    name: str = ""
    subresource: str = ""
    query: dict[str, str] = {}
    content_type: str = "application/json"
    body: Any = None


class Asker:
    """One server, with what its objects' versions and uids are now and were first."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._now: dict[str, Raw] = {}
        self._first: dict[str, Raw] = {}

    async def ask(self, ask: Ask) -> Any:
        """What is comparable of the answer: the object, or that the request was refused.

        Of several faults of one request each server may find another first; which code each fault has alone is asserted
        by the other tests.
        """
        key = f"{ask.kind}/{ask.name}"
        values = {
            "$version": self._now.get(key, {}).get("resourceVersion", "1"),
            "$old-version": self._first.get(key, {}).get("resourceVersion", "1"),
            "$uid": self._now.get(key, {}).get("uid", "none"),
            "$namespace": self._namespace,
        }
        path = PATHS[ask.kind].format(ns=self._namespace)
        path += f"/{ask.name}" if ask.name else ""
        path += f"/{ask.subresource}" if ask.subresource else ""
        text = orjson.dumps(ask.body).decode() if ask.body is not None else ""
        for name, value in values.items():
            text = text.replace(f'"{name}"', f'"{value}"')
        headers = {"accept": "application/json", "content-type": ask.content_type, "user-agent": "asker"}
        request = Request(method=ask.method, path=path, query=ask.query, headers=headers, body=text.encode())
        answer = await self._client.transport.send(request, deadline=30)
        found = orjson.loads(answer.body)
        self._learn(ask, found)
        return self._comparable(found) if answer.status < 400 else "refused"

    def _learn(self, ask: Ask, found: Raw) -> None:
        metadata = found.get("metadata", {})
        if found.get("kind") != ask.kind or "uid" not in metadata:
            return
        key = f"{ask.kind}/{metadata['name']}"
        if self._first.get(key, {}).get("uid") != metadata["uid"]:
            self._first[key] = metadata
        self._now[key] = metadata

    def _comparable(self, found: Any) -> Any:
        """An answer without what may differ: uids, versions, times, generated names, and words of messages."""
        if isinstance(found, list):
            return [self._comparable(item) for item in found]
        if not isinstance(found, dict):
            return found.replace(self._namespace, "$namespace") if isinstance(found, str) else found
        fields = ((key, self._comparable_field(key, value)) for key, value in found.items() if key != "managedFields")
        return {key: value for key, value in fields if value not in ({}, [], "", None)}

    def _comparable_field(self, key: str, value: Any) -> Any:
        if key in {"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "continue"}:
            return "$some" if value else value
        if key == "name" and isinstance(value, str):
            return re.sub(r"^gen-.{5}$", "gen-$some", value)
        return self._comparable(value)


class Chance:
    """Draws requests."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def one(self, *options: Any) -> Any:
        chosen = self._rng.choice(options)
        return chosen() if callable(chosen) else chosen

    def some(self, **fields: Any) -> Raw:
        """Some of the fields, each drawn."""
        return {key: self.one(value) for key, value in fields.items() if self._rng.random() < 0.4}

    def ask(self) -> Ask:
        kind = self.one(*PATHS, "Pod", "Pod", "FlyteWorkflow", "ConfigMap")
        verbs: tuple[Callable[[str], Ask], ...] = (
            *[self.create] * 4,
            *[self.merge] * 4,
            self.replace,
            self.replace,
            self.json_patch,
            self.strategic,
            self.apply,
            self.apply,
            self.delete,
            self.delete,
            self.get,
            self.list,
        )
        return self._rng.choice(verbs)(kind)

    def name(self) -> str:
        return str(self.one("a", "b", "c"))

    def metadata(self, name: str) -> Raw:
        found = {"name": name} if name else self.one({"generateName": "gen-"}, {}, {"name": "Bad_Name"})
        return found | self.some(
            labels=lambda: self.one({"l": "1"}, {"l": "2", "m": ""}, {}, {"bad key!": "x"}, {"l": "two words"}, None),
            annotations=lambda: self.one({"example.org/a": "ü"}, {}, None),
            finalizers=lambda: self.one(["example.org/hold"], [], None, ["not/a/name"]),
            resourceVersion=lambda: self.one("$version", "$old-version", "0", ""),
            uid=lambda: self.one("$uid", "$uid", "of-another"),
            namespace=lambda: self.one("$namespace", "$namespace", "other"),
            generation=7,
            ownerReferences=lambda: self.one(
                [], [{"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u"}], [{"kind": "Pod"}]
            ),
        )

    def body(self, kind: str, name: str) -> Raw:
        found: Raw = {"metadata": self.metadata(name)} | self.content(kind)
        if self._rng.random() < 0.9:
            found |= {"kind": kind, "apiVersion": VERSIONS.get(kind, "v1")}
        return found

    def content(self, kind: str) -> Raw:
        match kind:
            case "ConfigMap":
                return self.some(data=lambda: self.one({"k": "v"}, {"k": "w", "j": ""}, {}, {"bad key": "v"}, {"k": 5}))
            case "Secret":
                return self.some(
                    data=lambda: self.one({"k": "dg=="}, {"k": "%"}, {}),
                    stringData={"s": "t"},
                    type=lambda: self.one("Opaque", "own"),
                )
            case "Pod":
                return self.some(spec=self.pod_spec, status=self.pod_status) or {"spec": self.pod_spec()}
            case "Event":
                involved = {"kind": "Pod", "name": "a", "namespace": "$namespace"}
                return {"involvedObject": self.one(involved, {})} | self.some(reason="R", message="m", type="Normal")
            case "Lease":
                return {
                    "spec": self.some(
                        holderIdentity=lambda: self.one("me", "", None),
                        leaseDurationSeconds=lambda: self.one(15, 0, -1),
                        renewTime=lambda: self.one("2026-01-02T03:04:05.678901Z", "2026-01-02", None),
                        leaseTransitions=lambda: self.one(0, 3, -1),
                    )
                }
            case _:
                return self.some(
                    spec=lambda: self.one({"x": 1}, {"x": 2, "deep": {"y": [1, None]}}, {}, [], None),
                    status=lambda: self.one({"phase": 1}, {"phase": 2}, {}, None),
                    tasks={"t": {}},
                )

    def pod_spec(self) -> Raw:
        container: Raw = {"name": "m", "image": "i"} | self.some(
            env=lambda: self.one([{"name": "A", "value": "b"}], [{"name": ""}], []),
            resources=lambda: self.one(
                {"requests": {"cpu": "100m", "memory": "1Gi"}},
                {"limits": {"cpu": 0.5}},
                {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
                {"limits": {"cpu": "x"}},
                {"limits": {"memory": "-1"}},
                {},
            ),
            args=["x"],
            image=lambda: self.one("i", "j", ""),
            terminationMessagePolicy=lambda: self.one("FallbackToLogsOnError", "Other"),
            imagePullPolicy=lambda: self.one("Never", "Other"),
        )
        return {"containers": self.one([container], [container], [container], [container, container], [])} | self.some(
            restartPolicy=lambda: self.one("Never", "OnFailure", "Other"),
            nodeName=lambda: self.one("n", ""),
            terminationGracePeriodSeconds=lambda: self.one(5, 0, -1),
            activeDeadlineSeconds=lambda: self.one(100, 0),
            priority=None,
            volumes=lambda: self.one([{"name": "v", "emptyDir": {}}], [{"name": "v"}]),
        )

    def pod_status(self) -> Raw:
        return self.some(
            phase=lambda: self.one("Pending", "Running", "Succeeded", "Failed"),
            reason="R",
            conditions=lambda: self.one([{"type": "Ready", "status": "True"}], []),
        )

    def create(self, kind: str) -> Ask:
        return Ask("POST", kind, body=self.body(kind, self.one(self.name, self.name, self.name, "")))

    def target(self, kind: str) -> tuple[str, str]:
        has_status = kind in {"Pod", "FlyteWorkflow", "Plain"}
        return self.name(), self.one("status", "") if has_status else ""

    def merge(self, kind: str) -> Ask:
        name, subresource = self.target(kind)
        content = {"status": self.pod_status()} if (kind, subresource) == ("Pod", "status") else self.content(kind)
        body = self.some(metadata=lambda: self.metadata(name)) | content
        return Ask("PATCH", kind, name, subresource, content_type="application/merge-patch+json", body=body)

    def strategic(self, kind: str) -> Ask:
        ask = self.merge(kind)
        return msgspec.structs.replace(ask, content_type="application/strategic-merge-patch+json")

    def replace(self, kind: str) -> Ask:
        name, subresource = self.target(kind)
        return Ask("PUT", kind, name, subresource, body=self.body(kind, self.one(name, name, name, "other")))

    def json_patch(self, kind: str) -> Ask:
        name, subresource = self.target(kind)
        operations = [
            {"op": "add", "path": "/metadata/labels", "value": {"l": "3"}},
            {"op": "add", "path": "/metadata/labels/m", "value": "4"},
            {"op": "remove", "path": "/metadata/labels/l"},
            {"op": "test", "path": "/metadata/name", "value": self.one("a", "b")},
            {"op": "copy", "from": "/metadata/name", "path": "/metadata/annotations/n"},
            {"op": "remove", "path": "/metadata/finalizers"},
            {"op": "add", "path": "/spec/x", "value": 5},
            {"op": "nonsense"},
        ]
        chosen = self._rng.sample(operations, self._rng.randint(1, 2))
        return Ask("PATCH", kind, name, subresource, content_type="application/json-patch+json", body=chosen)

    def apply(self, kind: str) -> Ask:
        name = self.name()
        body: Raw = {"kind": kind, "apiVersion": VERSIONS.get(kind, "v1"), "metadata": {"name": name}}
        body["metadata"] |= self.some(labels=lambda: self.one({"l": "7"}, {"m": "8"}))
        body |= {key: value for key, value in self.content(kind).items() if value not in (None, {})}
        query = {"fieldManager": self.one("one", "two")} | self.some(force="true")
        return Ask("PATCH", kind, name, query=query, content_type="application/apply-patch+yaml", body=body)

    def delete(self, kind: str) -> Ask:
        options = self.some(
            gracePeriodSeconds=lambda: self.one(0, 5),
            preconditions=lambda: self.one({"uid": "$uid"}, {"uid": "of-another"}, {"resourceVersion": "$version"}),
        )
        return Ask("DELETE", kind, self.name(), body=options)

    def get(self, kind: str) -> Ask:
        name, subresource = self.target(kind)
        return Ask("GET", kind, name, subresource)

    def list(self, kind: str) -> Ask:
        query = self.some(
            labelSelector=lambda: self.one("l=1", "l in (1,2),!m", "l!=1", "bad in (", ""),
            fieldSelector=lambda: self.one("metadata.name=a", "metadata.name!=a", "status.phase=Running", "x"),
            limit=lambda: self.one("1", "100", "0", "x"),
        )
        return Ask("GET", kind, query=query)


@pytest.mark.needs("embedded")
@pytest.mark.parametrize("seed", SEEDS)
async def test_both_servers_answer_alike_whatever_is_asked(kube_apiserver: KubeApiserver, seed: int) -> None:
    chance = Chance(seed)
    async with real_server(kube_apiserver) as real, embedded_server(controllers=False) as embedded:
        for face in (real, embedded):
            await install_flyte_workflows(face.client)
            await install_plains(face.client)
        askers = [Asker(face.client, face.namespace) for face in (real, embedded)]
        for number in range(REQUESTS):
            ask = chance.ask()
            expected, found = [await asker.ask(ask) for asker in askers]
            assert found == expected, f"seed {seed}, request {number}: {ask}"
