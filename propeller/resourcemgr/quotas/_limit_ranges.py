"""Limit ranges: what a namespace gives to containers that ask for nothing, and the bounds that pods have to keep
(k8s.io/kubernetes/plugin/pkg/admission/limitranger).

Guarantees
    Pure. Of several limit ranges the first by name that has a default gives it; the API server's order is not defined.
    `out_of_range` names only what nothing can mend that is added to the pod on its way: of what is missing, and of a
    pod that is too small as a whole, the API server is the judge, as a webhook may add limits or containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from propeller.errors import Invalid
from propeller.quantity import parse, render
from propeller.resourcemgr.quotas._usage import Amounts, amounts_of, containers_of, pod_total

Json = Mapping[str, Any]

_RATIO = Decimal("0.001")


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


def bounds(spec: Json) -> bool:
    """Whether a limit range has any bounds of pods."""
    return any(
        item.get(bound)
        for item in spec.get("limits") or ()
        if item.get("type") in ("Container", "Pod")
        for bound in ("min", "max", "maxLimitRequestRatio")
    )


def out_of_range(spec: Json, limit_ranges: Mapping[str, Json]) -> str:
    """Why no pod with this spec, with all defaults, will ever be accepted; "" if it may be. `limit_ranges` by name."""
    for name in sorted(limit_ranges):
        for item in limit_ranges[name].get("limits") or ():
            try:
                found = next(_broken(spec, item), "")
            except Invalid:
                continue  # the API server says what is wrong with the pod
            if found:
                return f"{found} in LimitRange {name!r} of its namespace: change what the task requests, or the range"
    return ""


def _broken(spec: Json, item: Json) -> Iterator[str]:
    match item.get("type"):
        case "Container":
            for container in containers_of(spec):
                who = f"its container {str(container.get('name', ''))!r}"
                yield from _bounds_broken(
                    who, item, amounts_of(container, "requests"), amounts_of(container, "limits"), least=True
                )
        case "Pod":
            requests, limits = pod_total(spec, "requests"), pod_total(spec, "limits")
            yield from _bounds_broken("it", item, requests, limits, least=False)


def _bounds_broken(who: str, item: Json, requests: Amounts, limits: Amounts, *, least: bool) -> Iterator[str]:
    asked = {"a request": requests, "a limit": limits}
    for resource, bound in _listed(item, "min"):
        for what, amounts in asked.items():
            if least and resource in amounts and amounts[resource] < bound:
                has, needs = _text(resource, amounts[resource]), _text(resource, bound)
                yield f"{who} has {what} of {has} {resource}, and at least {needs} is allowed"
    for resource, bound in _listed(item, "max"):
        for what, amounts in asked.items():
            if resource in amounts and amounts[resource] > bound:
                has, allowed = _text(resource, amounts[resource]), _text(resource, bound)
                yield f"{who} has {what} of {has} {resource}, and at most {allowed} is allowed"
    for resource, bound in _listed(item, "maxLimitRequestRatio"):
        request, limit = requests.get(resource), limits.get(resource)
        if request and limit and limit / request > bound:
            ratio = (limit / request).quantize(_RATIO).normalize()
            yield (
                f"{who} has a limit of {ratio:f} times its request of {resource}, and at most {bound.normalize():f} "
                "times is allowed"
            )


def _listed(item: Json, what: str) -> Iterator[tuple[str, Decimal]]:
    for resource, amount in sorted((item.get(what) or {}).items()):
        yield resource, parse(str(amount))


def _text(resource: str, amount: Decimal) -> str:
    return render(amount, binary=resource.endswith(("memory", "storage")))
