"""`Api` on top of `propeller.kube.Client`.

Guarantees
    Every write to a pod carries its uid, so that a pod recreated under the same name is never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from propeller.embedded.kubelet._api import PodSeen, Token
from propeller.errors import NotFound
from propeller.kube._objects import Raw
from propeller.kube._resource import CONFIG_MAPS, EVENTS, NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource

_READABLE = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}


class Verbs(Protocol):
    """The methods of `propeller.kube.Client` that are used."""

    async def get(self, resource: Resource[Any], name: str, namespace: str | None = None) -> Any: ...

    async def create(
        self, resource: Resource[Any], body: Raw, namespace: str | None = None, *, name: str = "", subresource: str = ""
    ) -> Any: ...

    async def patch(
        self, resource: Resource[Any], name: str, namespace: str | None = None, *, body: Raw, subresource: str = ""
    ) -> Any: ...

    async def delete(
        self, resource: Resource[Any], name: str, namespace: str | None = None, *, grace_seconds: int, uid: str
    ) -> Any: ...


class ClientApi:
    """`follow` opens a watch of all pods as plain dicts, as `Api.watch` does: an informer's subscription."""

    def __init__(self, client: Verbs, *, follow: Callable[[PodSeen], AbstractAsyncContextManager[None]]) -> None:
        self._client = client
        self._follow = follow

    async def register(self, node: Raw) -> None:
        try:
            await self._client.patch(
                NODES, node["metadata"]["name"], body={"status": node["status"]}, subresource="status"
            )
        except NotFound:
            await self._client.create(NODES, node)

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._client.create(PODS, binding, namespace, name=name, subresource="binding")

    async def report(self, namespace: str, name: str, uid: str, status: Raw) -> None:
        body = {"metadata": {"uid": uid}, "status": status}
        await self._client.patch(PODS, name, namespace, body=body, subresource="status")

    async def remove(self, namespace: str, name: str, uid: str) -> None:
        await self._client.delete(PODS, name, namespace, grace_seconds=0, uid=uid)

    async def read(self, kind: str, namespace: str, name: str) -> Raw | None:
        try:
            found: Raw = await self._client.get(_READABLE[kind], name, namespace)
        except NotFound:
            return None
        return found

    async def token(self, pod: Raw, audience: str, seconds: int) -> Token:
        metadata = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": seconds, "boundObjectRef": bound}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        answer: Raw = await self._client.create(
            SERVICE_ACCOUNTS, request, metadata["namespace"], name=account, subresource="token"
        )
        return Token(answer["status"]["token"], answer["status"]["expirationTimestamp"])

    async def create_event(self, namespace: str, event: Raw) -> None:
        await self._client.create(EVENTS, event, namespace)

    async def patch_event(self, namespace: str, name: str, change: Raw) -> None:
        await self._client.patch(EVENTS, name, namespace, body=change)

    def watch(self, seen: PodSeen) -> AbstractAsyncContextManager[None]:
        return self._follow(seen)
