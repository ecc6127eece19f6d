"""Resource descriptors: the path of a kind in the API, and the type that its objects decode to."""

from __future__ import annotations

import builtins
import functools
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from propeller.errors import Invalid
from propeller.kube._names import warn_of_snake_case
from propeller.kube._objects import KubeObject, Lease, Pod, Raw

T = TypeVar("T")
U = TypeVar("U")


class Resource(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One kind in one API version. `type` is a struct with `metadata`, or `dict` for plain JSON objects. `partial` asks
    the server for the metadata alone (PartialObjectMetadata) in reads, and in the responses to writes.
    `complete` says that a struct `type` has every field of the kind: only then may `Client.replace` write it, which
    removes all other fields.

    Warns with FieldNameWarning if a field of the type has a snake_case name, which Kubernetes never sends.
    """

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    type: type[T]
    namespaced: bool = True
    partial: bool = False
    complete: bool = False

    def __post_init__(self) -> None:
        warn_of_snake_case(self.type)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The percent-encoded URL path: of the collection if `name` is None; no namespace means the whole cluster.

        Raises Invalid for a name or namespace that cannot be a segment of a path, the empty name among them: its path
        would be that of the whole collection.
        """
        path = _collection(self.group, self.version, self.plural, namespace if self.namespaced else None)
        if name is not None:
            check_segment(name, f"a name of {self.plural}")
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
        """The same kind, of which the server sends the metadata alone."""
        return msgspec.structs.replace(self.typed(KubeObject), partial=True)


def check_segment(text: str, what: str) -> None:
    """Raise Invalid for a segment that would change the path, as apimachinery's IsValidPathSegmentName does."""
    if not text or not isinstance(text, str):
        raise Invalid(f"{what} may not be empty, and is {text!r}: is a variable unset?")
    if text in {".", ".."} or "/" in text or "%" in text:
        raise Invalid(f"{what} may not be '.' or '..', nor have '/' or '%' in it, and is {text[:253]!r}")


@functools.lru_cache(maxsize=1024)
def _collection(group: str, version: str, plural: str, namespace: str | None) -> str:
    if namespace:
        check_segment(namespace, "a namespace")  # here, for each once
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    return f"{root}/namespaces/{quote(namespace, safe='')}/{plural}" if namespace else f"{root}/{plural}"


PODS: Resource[Pod] = Resource(kind="Pod", plural="pods", type=Pod)
LEASES: Resource[Lease] = Resource(
    group="coordination.k8s.io", kind="Lease", plural="leases", type=Lease, complete=True
)
NODES: Resource[Raw] = Resource(kind="Node", plural="nodes", type=dict[str, Any], namespaced=False)
NAMESPACES: Resource[Raw] = Resource(kind="Namespace", plural="namespaces", type=dict[str, Any], namespaced=False)
EVENTS: Resource[Raw] = Resource(kind="Event", plural="events", type=dict[str, Any])
CONFIG_MAPS: Resource[Raw] = Resource(kind="ConfigMap", plural="configmaps", type=dict[str, Any])
SECRETS: Resource[Raw] = Resource(kind="Secret", plural="secrets", type=dict[str, Any])
SERVICE_ACCOUNTS: Resource[Raw] = Resource(kind="ServiceAccount", plural="serviceaccounts", type=dict[str, Any])
RESOURCE_QUOTAS: Resource[Raw] = Resource(kind="ResourceQuota", plural="resourcequotas", type=dict[str, Any])
LIMIT_RANGES: Resource[Raw] = Resource(kind="LimitRange", plural="limitranges", type=dict[str, Any])
POD_TEMPLATES: Resource[Raw] = Resource(kind="PodTemplate", plural="podtemplates", type=dict[str, Any])
CUSTOM_RESOURCE_DEFINITIONS: Resource[Raw] = Resource(
    group="apiextensions.k8s.io",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    type=dict[str, Any],
    namespaced=False,
)
