"""Resource descriptors: where a kind lives in the API and what its objects decode to."""

from __future__ import annotations

import builtins
import functools
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from propeller.kube._objects import KubeObject, Lease, Pod, Raw

T = TypeVar("T")
U = TypeVar("U")


class Resource(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One kind in one API version. `type` is a struct with `metadata`, or `dict` for plain JSON objects. `partial` asks
    the server for the metadata alone (PartialObjectMetadata) wherever it is read, and in the answers to writes.
    """

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    type: type[T]
    namespaced: bool = True
    partial: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The percent-encoded URL path; no namespace means the whole cluster."""
        path = _collection(self.group, self.version, self.plural, namespace if self.namespaced else None)
        if name:
            path += f"/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path

    def typed(self, type_: builtins.type[U]) -> Resource[U]:
        """The same kind, decoded as another type: fewer fields, or `dict`."""
        return Resource(
            group=self.group,
            version=self.version,
            kind=self.kind,
            plural=self.plural,
            type=type_,
            namespaced=self.namespaced,
            partial=self.partial,
        )

    def metadata_only(self) -> Resource[KubeObject]:
        """The same kind, of which the server sends the metadata alone: for who asks what there is, not how it is."""
        return msgspec.structs.replace(self.typed(KubeObject), partial=True)


@functools.lru_cache(maxsize=1024)
def _collection(group: str, version: str, plural: str, namespace: str | None) -> str:
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    return f"{root}/namespaces/{quote(namespace, safe='')}/{plural}" if namespace else f"{root}/{plural}"


PODS: Resource[Pod] = Resource(kind="Pod", plural="pods", type=Pod)
LEASES: Resource[Lease] = Resource(group="coordination.k8s.io", kind="Lease", plural="leases", type=Lease)
NODES: Resource[Raw] = Resource(kind="Node", plural="nodes", type=dict[str, Any], namespaced=False)
NAMESPACES: Resource[Raw] = Resource(kind="Namespace", plural="namespaces", type=dict[str, Any], namespaced=False)
EVENTS: Resource[Raw] = Resource(kind="Event", plural="events", type=dict[str, Any])
CONFIG_MAPS: Resource[Raw] = Resource(kind="ConfigMap", plural="configmaps", type=dict[str, Any])
SECRETS: Resource[Raw] = Resource(kind="Secret", plural="secrets", type=dict[str, Any])
RESOURCE_QUOTAS: Resource[Raw] = Resource(kind="ResourceQuota", plural="resourcequotas", type=dict[str, Any])
CUSTOM_RESOURCE_DEFINITIONS: Resource[Raw] = Resource(
    group="apiextensions.k8s.io",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    type=dict[str, Any],
    namespaced=False,
)
FLYTE_WORKFLOWS: Resource[Raw] = Resource(
    group="flyte.lyft.com",
    version="v1alpha1",
    kind="FlyteWorkflow",
    plural="flyteworkflows",
    type=dict[str, Any],
)
