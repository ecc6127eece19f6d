"""Limit ranges: what a namespace gives to containers that ask for nothing
(k8s.io/kubernetes/plugin/pkg/admission/limitranger).

Guarantees
    Pure. Of several limit ranges the first by name that has a default gives it; the API server's order is not defined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]


def apply_limit_ranges(container: Json, limit_ranges: Iterable[Json]) -> dict[str, Any]:
    """The container with the limits and requests that the specs of these limit ranges give it. What the API server
    fills in by itself (`with_defaults`) comes before.
    """
    resources = container.get("resources") or {}
    limits, requests = dict(resources.get("limits") or {}), dict(resources.get("requests") or {})
    for spec in limit_ranges:
        for item in spec.get("limits") or ():
            if item.get("type") == "Container":
                limits = {**(item.get("default") or {}), **limits}
                requests = {**(item.get("defaultRequest") or {}), **requests}
    return {**container, "resources": {**resources, "limits": limits, "requests": requests}}
