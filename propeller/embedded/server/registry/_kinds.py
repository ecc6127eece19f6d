"""Which kinds are served, in which versions, and under which paths."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from propeller.embedded.server._storage import Collection, Storage
from propeller.embedded.server.registry._strategies import (
    BATCH,
    RBAC,
    ClusterRoleBindingStrategy,
    ConfigMapStrategy,
    DefinitionStrategy,
    EventStrategy,
    JobStrategy,
    LeaseStrategy,
    NamespaceStrategy,
    NodeStrategy,
    PodStrategy,
    PodTemplateStrategy,
    ResourceQuotaStrategy,
    RoleBindingStrategy,
    RoleStrategy,
    SecretStrategy,
    ServiceAccountStrategy,
    Strategy,
)
from propeller.embedded.server.schema._schema import Schema, builtin

APIEXTENSIONS = "apiextensions.k8s.io"
READ_VERBS = ("get", "list", "watch")
"""Of kinds of which there are none: clients such as `kubectl cluster-info` list them, and take none for an answer."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

Subresources = Mapping[str, tuple[str, ...]]
"""Verbs by subresource."""

_STATUS: Subresources = {"status": ("get", "patch", "update")}


class Kind:
    """One kind in one version. Versions of a kind share their collection; the JSON differs in `apiVersion` alone."""

    def __init__(
        self,
        *,
        kind: str,
        plural: str,
        strategy: Strategy,
        schema: Schema,
        collection: Collection,
        group: str = "",
        version: str = "v1",
        singular: str = "",
        list_kind: str = "",
        namespaced: bool = True,
        short_names: tuple[str, ...] = (),
        categories: tuple[str, ...] = (),
        subresources: Subresources | None = None,
        verbs: tuple[str, ...] = ALL_VERBS,
        columns: tuple[Mapping[str, Any], ...] = (),
        scale: Mapping[str, str] | None = None,
        custom: bool = False,
    ) -> None:
        self.group = group
        self.version = version
        self.kind = kind
        self.plural = plural
        self.singular = singular or kind.lower()
        self.list_kind = list_kind or f"{kind}List"
        self.namespaced = namespaced
        self.short_names = short_names
        self.categories = categories
        self.verbs = verbs
        self.subresources: Subresources = subresources or {}
        self.strategy = strategy
        self.schema = schema
        self.collection = collection
        self.columns = columns
        """A definition's additionalPrinterColumns."""
        self.scale = scale
        """A definition's subresources.scale: the paths of replicas and selector."""
        self.custom = custom
        self.api_version = f"{group}/{version}" if group else version
        self.head = b'{"kind":%s,"apiVersion":%s,' % (orjson.dumps(kind), orjson.dumps(self.api_version))
        """The JSON before a record's tail."""
        self.item_head = self.head if custom else b"{"
        """The same in lists, whose built-in items do not repeat it."""

    def __repr__(self) -> str:
        return f"Kind({self.plural}.{self.version}.{self.group})"


class Registry:
    """The served kinds by path; definitions add theirs and take them away."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self.changes = 0
        """Number of changes of the set of kinds: derived data can be cached until it grows."""
        self.paths: dict[str, tuple[Kind, str]] = {}
        """Kind and namespace by the path of a collection, as far as it was asked for: most come again and again."""

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def add(self, kind: Kind) -> None:
        self._kinds[kind.group, kind.version, kind.plural] = kind
        self._note_change()

    def remove(self, kind: Kind) -> None:
        del self._kinds[kind.group, kind.version, kind.plural]
        self._note_change()

    def _note_change(self) -> None:
        self.changes += 1
        self.paths.clear()

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def get(self, group: str, version: str, plural: str) -> Kind:
        """A kind that is always there."""
        return self._kinds[group, version, plural]

    def of(self, collection: Collection) -> Kind:
        """A served kind with that collection. Raises LookupError."""
        try:
            return next(kind for kind in self if kind.collection is collection)
        except StopIteration:
            raise LookupError(collection.name) from None


def builtin_kinds(storage: Storage) -> Iterator[Kind]:
    """The kinds that are there from the start."""
    core = functools.partial(_builtin, storage, "io.k8s.api.core.v1")
    rbac = functools.partial(_builtin, storage, "io.k8s.api.rbac.v1", group=RBAC)
    yield core(
        "Namespace",
        NamespaceStrategy,
        namespaced=False,
        short_names=("ns",),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
        subresources={"finalize": ("update",), **_STATUS},
    )
    yield core("Node", NodeStrategy, namespaced=False, short_names=("no",), subresources=_STATUS)
    yield core(
        "Pod",
        PodStrategy,
        short_names=("po",),
        categories=("all",),
        subresources={"binding": ("create",), "eviction": ("create",), "log": ("get",), **_STATUS},
    )
    yield core("Event", EventStrategy, short_names=("ev",))
    yield core("ConfigMap", ConfigMapStrategy, short_names=("cm",))
    yield core("Secret", SecretStrategy)
    yield core("ResourceQuota", ResourceQuotaStrategy, short_names=("quota",), subresources=_STATUS)
    yield core("Service", Strategy, short_names=("svc",), categories=("all",), verbs=READ_VERBS)
    yield core("LimitRange", Strategy, short_names=("limits",), verbs=READ_VERBS)
    yield core("PodTemplate", PodTemplateStrategy)
    yield core("ServiceAccount", ServiceAccountStrategy, short_names=("sa",))
    yield _builtin(storage, "io.k8s.api.coordination.v1", "Lease", LeaseStrategy, group="coordination.k8s.io")
    yield _builtin(
        storage, "io.k8s.api.batch.v1", "Job", JobStrategy, group=BATCH, categories=("all",), subresources=_STATUS
    )
    yield rbac("ClusterRole", RoleStrategy, namespaced=False)
    yield rbac("ClusterRoleBinding", ClusterRoleBindingStrategy, namespaced=False)
    yield rbac("Role", RoleStrategy)
    yield rbac("RoleBinding", RoleBindingStrategy)
    yield _builtin(
        storage,
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
        "CustomResourceDefinition",
        DefinitionStrategy,
        group=APIEXTENSIONS,
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=_STATUS,
    )


def _builtin(
    storage: Storage, package: str, kind: str, strategy_type: Callable[[str], Strategy], group: str = "", **more: Any
) -> Kind:
    strategy = strategy_type(f"{package}.{kind}")
    plural = f"{kind.lower()}s"
    return Kind(
        kind=kind,
        plural=plural,
        group=group,
        strategy=strategy,
        schema=builtin(f"{package}.{kind}"),
        collection=storage.collection(f"{plural}.{group}" if group else plural, strategy.fields_of),
        **more,
    )
