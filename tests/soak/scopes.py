"""What the informers of a soak follow: kinds, types, namespaces, selectors, indexes and transforms, mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from propeller.informers import IndexFunction, metadata_of
from propeller.kube import CONFIG_MAPS, PODS, KubeObject, Pod, PodSpec, Raw, Resource


@dataclass(frozen=True)
class Scope:
    """The arguments of one informer, and a name for it. A `slow` one has a reader of `changes` that lags behind; one
    that `streams` asks for lists as streams of events.
    """

    name: str
    resource: Resource[Any]
    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""
    indexes: Mapping[str, IndexFunction[Any]] = field(default_factory=dict)
    transform: Callable[[Any], Any] | None = None
    slow: bool = False
    streams: bool = False

    @property
    def selects(self) -> bool:
        """Whether an object can leave it, and come back, without an end."""
        return bool(self.label_selector or self.field_selector)


def scopes(namespaces: list[str]) -> list[Scope]:
    """One of each sort that people use, and some that few do."""
    first, second = namespaces[0], namespaces[1]
    return [
        Scope("all pods", PODS, indexes={"group": _groups, "phase": _phases, "node": _nodes}),
        Scope("pods of a namespace", PODS, first, indexes={"group": _groups}, transform=_phase_alone, streams=True),
        Scope("pods in=yes", PODS, label_selector="in=yes", indexes={"group": _groups}, slow=True, streams=True),
        Scope("running pods", PODS, field_selector="status.phase=Running", indexes={"phase": _phases}),
        Scope("metadata of pods", PODS.typed(KubeObject), indexes={"group": _groups}, slow=True, streams=True),
        Scope("all config maps", CONFIG_MAPS, indexes={"group": _groups}, transform=_metadata_alone, slow=True),
        Scope("config maps in!=yes of a namespace", CONFIG_MAPS, second, label_selector="in!=yes"),
    ]


def _groups(obj: Any) -> list[str]:
    labels = metadata_of(obj).labels or {}
    return [labels["group"]] if "group" in labels else []


def _phases(pod: Pod) -> list[str]:
    return [pod.status.phase, f"{pod.metadata.namespace} {pod.status.phase}"]


def _nodes(pod: Pod) -> list[str]:
    return [pod.spec.node_name] if pod.spec.node_name else []


def _phase_alone(pod: Pod) -> Pod:
    return msgspec.structs.replace(
        pod, spec=PodSpec(), metadata=msgspec.structs.replace(pod.metadata, annotations=None)
    )


def _metadata_alone(obj: Raw) -> Raw:
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "annotations")
    return {"metadata": {key: value for key, value in obj["metadata"].items() if key in kept}}
