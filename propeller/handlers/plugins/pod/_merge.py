"""Merge a task's pod onto a PodTemplate, as FlytePropeller does (flytek8s/pod_helper.go, MergeBasePodSpecOntoTemplate).

Guarantees
    The task's values win. Objects are merged field by field, and lists are appended to the template's. Of the
    template's containers, `default` is the base of all containers, `primary` of the primary one, and any other of the
    container of its name (`default-init` and that name for init containers). Others of the template's are left out, as
    they are in Flyte: a template adds no containers.
Differences (docs/differences.md)
    Terms of required node affinity narrow each other, where Flyte's merge widens them: a pod that meets only the
    task's terms would escape the template's. Volumes and mounts of one name or path are the task's, where Flyte's
    merge gives two, which the API server refuses. A false or 0 of the task wins, where Flyte's merge takes it for
    nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

DEFAULT, DEFAULT_INIT, PRIMARY = "default", "default-init", "primary"
"""Names of a template's containers that stand for others."""

_KEYS = {"volumes": "name", "volumeMounts": "mountPath"}
"""Lists whose items may not repeat a value of this field."""


def merge_onto_template(template: Mapping[str, Any], own: Mapping[str, Any], primary: str) -> Json:
    """Return the pod spec `own` on the base of a template's spec; `primary` is the name of its primary container.
    Neither is changed.
    """
    containers = {"containers", "initContainers"}
    merged = merged_objects(_without(template, containers), _without(own, containers))
    required = merge_required(_required(template), _required(own))
    if required:
        _set_required(merged, required)
    merged["containers"] = [
        _container(template.get("containers") or (), found, DEFAULT, PRIMARY if found.get("name") == primary else "")
        for found in own.get("containers") or ()
    ]
    if own.get("initContainers"):
        merged["initContainers"] = [
            _container(template.get("initContainers") or (), found, DEFAULT_INIT, "")
            for found in own.get("initContainers") or ()
        ]
    return merged


def template_resources(
    template: Mapping[str, Any], field: str, container: Json, own: Mapping[str, Any], *, is_primary: bool
) -> Json:
    """Return a container's resources on the base of those that its template gives it."""
    default = DEFAULT if field == "containers" else DEFAULT_INIT
    names = {"name": container.get("name", ""), "resources": own}
    merged = _container(template.get(field) or (), names, default, PRIMARY if is_primary else "")
    found: Json = merged.get("resources") or {}
    return found


def merged_objects(base: Mapping[str, Any], own: Mapping[str, Any]) -> Json:
    """Return `own` on `base`; nulls and empty texts of `own` leave what there is."""
    merged = dict(base)
    for name, value in own.items():
        found = merged.get(name)
        if value is None or (value == "" and found):
            continue
        if isinstance(found, Mapping) and isinstance(value, Mapping):
            merged[name] = merged_objects(found, value)
        elif isinstance(found, list | tuple) and isinstance(value, list | tuple):
            merged[name] = _appended(found, value, _KEYS.get(name))
        else:
            merged[name] = value
    return merged


def _appended(base: Iterable[Any], own: Iterable[Any], key: str | None) -> list[Any]:
    if key is None:
        return [*base, *own]
    taken = {item[key] for item in own if item and key in item}
    return [*(item for item in base if not item or item.get(key) not in taken), *own]


def _container(templates: Iterable[Json], own: Json, default: str, magic: str) -> Json:
    merged: Json = {}
    name = own.get("name", "")
    for wanted in dict.fromkeys((default, magic, *(() if name in {default, PRIMARY} else (name,)))):
        for template in templates:
            if wanted and template.get("name") == wanted:
                merged = merged_objects(merged, template)
    return {**merged_objects(merged, own), "name": name}


def merge_required(one: list[Json], two: list[Json]) -> list[Json]:
    """Return node selector terms that are met by what meets a term of both lists. An empty list is met by all."""
    if not one or not two:
        return one or two
    return [
        {
            field: _united(a.get(field) or (), b.get(field) or ())
            for field in ("matchExpressions", "matchFields")
            if a.get(field) or b.get(field)
        }
        for a in one
        for b in two
    ]


def _united(a: Iterable[Json], b: Iterable[Json]) -> list[Json]:
    found = list(a)
    return [*found, *(item for item in b if item not in found)]


def require(spec: Json, *requirements: Json) -> None:
    """Add requirements on a machine's labels to each of the terms of the spec's required node affinity."""
    _set_required(spec, merge_required(_required(spec), [{"matchExpressions": list(requirements)}]))


def _required(spec: Mapping[str, Any]) -> list[Json]:
    node = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return list((node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ())


def _set_required(spec: Json, terms: list[Json]) -> None:
    affinity = dict(spec.get("affinity") or {})
    node = dict(affinity.get("nodeAffinity") or {})
    node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    spec["affinity"] = {**affinity, "nodeAffinity": node}


def _without(spec: Mapping[str, Any], names: set[str]) -> Json:
    return {name: value for name, value in spec.items() if name not in names}
