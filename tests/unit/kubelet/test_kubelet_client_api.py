"""Which requests the kubelet's calls become."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import pytest

from propeller.embedded.kubelet import ClientApi, PodSeen
from propeller.errors import NotFound
from propeller.kube._resource import Resource


class Recorder:
    """A client that notes paths and bodies; what is in `missing` is not found."""

    def __init__(self, missing: str = "none") -> None:
        self.missing = missing
        self.answer: Any = None
        self.requests: list[tuple[str, str, Any]] = []

    def _note(self, verb: str, path: str, body: Any) -> Any:
        self.requests.append((verb, path, body))
        if self.missing in path:
            raise NotFound(f"{path} not found", status=404)
        return self.answer or {"found": path}

    async def get(self, resource: Resource[Any], name: str, namespace: str | None = None) -> Any:
        return self._note("get", resource.path(namespace, name), None)

    async def create(
        self, resource: Resource[Any], body: Any, namespace: str | None = None, *, name: str = "", subresource: str = ""
    ) -> Any:
        return self._note("create", resource.path(namespace, name or None, subresource), body)

    async def patch(
        self, resource: Resource[Any], name: str, namespace: str | None = None, *, body: Any, subresource: str = ""
    ) -> Any:
        return self._note("patch", resource.path(namespace, name, subresource), body)

    async def delete(
        self, resource: Resource[Any], name: str, namespace: str | None = None, *, grace_seconds: int, uid: str
    ) -> Any:
        return self._note("delete", resource.path(namespace, name), (grace_seconds, uid))


def follow(seen: PodSeen) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@pytest.fixture
def client() -> Recorder:
    return Recorder()


async def test_a_binding_names_the_node_and_the_pods_uid(client: Recorder) -> None:
    await ClientApi(client, follow=follow).bind("ns", "p", "u", "n")
    ((verb, path, body),) = client.requests
    assert (verb, path) == ("create", "/api/v1/namespaces/ns/pods/p/binding")
    assert (body["metadata"]["uid"], body["target"]["name"]) == ("u", "n")


async def test_a_report_patches_the_status_of_that_uid_only(client: Recorder) -> None:
    await ClientApi(client, follow=follow).report("ns", "p", "u", {"phase": "Running"})
    expected = {"metadata": {"uid": "u"}, "status": {"phase": "Running"}}
    assert client.requests == [("patch", "/api/v1/namespaces/ns/pods/p/status", expected)]


async def test_a_removal_is_immediate_and_of_that_uid_only(client: Recorder) -> None:
    await ClientApi(client, follow=follow).remove("ns", "p", "u")
    assert client.requests == [("delete", "/api/v1/namespaces/ns/pods/p", (0, "u"))]


async def test_a_node_is_created_if_its_status_cannot_be_patched() -> None:
    client = Recorder(missing="/nodes/n/status")
    await ClientApi(client, follow=follow).register({"metadata": {"name": "n"}, "status": {}})
    assert [(verb, path) for verb, path, _ in client.requests] == [
        ("patch", "/api/v1/nodes/n/status"),
        ("create", "/api/v1/nodes"),
    ]


async def test_an_object_that_is_missing_is_read_as_none() -> None:
    api = ClientApi(Recorder(missing="secrets/s"), follow=follow)
    assert await api.read("Secret", "ns", "s") is None
    assert await api.read("ConfigMap", "ns", "c") == {"found": "/api/v1/namespaces/ns/configmaps/c"}


async def test_a_token_is_requested_for_the_pods_account_and_bound_to_the_pod(client: Recorder) -> None:
    client.answer = {"status": {"token": "t", "expirationTimestamp": "2030-01-01T00:00:00Z"}}
    pod = {"metadata": {"namespace": "ns", "name": "p", "uid": "u"}, "spec": {"serviceAccountName": "robot"}}
    token = await ClientApi(client, follow=follow).token(pod, "", 3607)
    assert (token.text, token.expires) == ("t", "2030-01-01T00:00:00Z")
    ((verb, path, body),) = client.requests
    assert (verb, path) == ("create", "/api/v1/namespaces/ns/serviceaccounts/robot/token")
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u"}
    assert body["spec"] == {"audiences": [], "expirationSeconds": 3607, "boundObjectRef": bound}
