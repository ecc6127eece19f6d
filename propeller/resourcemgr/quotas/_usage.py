"""How much of a quota a pod uses (k8s.io/kubernetes/pkg/quota/v1/evaluator/core; component-helpers' PodRequests).

Guarantees
    Pure. Amounts are exact. A pod is counted as the API server counts it at its creation: containers and sidecars
    together, or one init container with the sidecars before it; what the pod asks for as a whole goes before that; and
    its overhead.
Assumptions
    Defaults were applied: `with_defaults` applies those of the API server, `limit_ranges` those of the namespace.
Errors
    NotAQuantity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from propeller.quantity import parse, render

Amounts = dict[str, Decimal]
Json = Mapping[str, Any]

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_CONSTRAINED = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
_MEMORY_NAMES = ("memory", "ephemeral-storage")
_HUGE_PAGES = "hugepages-"


def pod_usage(pod: Json) -> Amounts:
    """What a pod that has not ended uses of each thing that can be limited, besides `count/pods`."""
    spec = pod.get("spec") or {}
    requests, limits = pod_total(spec, "requests"), pod_total(spec, "limits")
    used = {"pods": Decimal(1)}
    used |= {f"limits.{name}": amount for name, amount in limits.items() if name in _COMPUTE}
    used |= {f"requests.{name}": amount for name, amount in requests.items()}
    used |= {name: amount for name, amount in requests.items() if name in _COMPUTE or name.startswith(_HUGE_PAGES)}
    return used


def missing_constraints(pod: Json, hard: Iterable[str]) -> str:
    """Return what a pod must specify because a quota limits it, "" if it does. Every container has to."""
    wanted = _CONSTRAINED.intersection(hard)
    missing: dict[str, set[str]] = {}
    for container in containers_of(pod.get("spec") or {}):
        resources = container.get("resources") or {}
        given = {f"limits.{name}" for name in resources.get("limits") or ()}
        for name in resources.get("requests") or ():
            given |= {name, f"requests.{name}"}
        for name in wanted - given:
            missing.setdefault(name, set()).add(container.get("name", ""))
    texts = (f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
    return f"must specify {'; '.join(texts)}" if missing else ""


def written(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    """Amounts as quantities."""
    return {name: render(amount, binary=name.endswith(_MEMORY_NAMES)) for name, amount in amounts.items()}


def containers_of(spec: Json) -> Iterator[Json]:
    """A pod's containers, then its init containers."""
    yield from spec.get("containers") or ()
    yield from spec.get("initContainers") or ()


def is_best_effort(spec: Json) -> bool:
    """Whether the pod's QoS class is BestEffort: nothing in it asks for CPU or memory."""
    asking = (spec, *containers_of(spec))
    return not any(
        parse(str((one.get("resources") or {}).get(what, {}).get(name, "0")))
        for one in asking
        for what in ("requests", "limits")
        for name in ("cpu", "memory")
    )


def with_defaults(container: Json) -> dict[str, Any]:
    """The container with requests where it has only limits, as the API server fills them in."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return {**container, "resources": {**resources, "limits": limits, "requests": {**limits, **requests}}}


def pod_total(spec: Json, what: str) -> Amounts:
    """The `requests` or `limits` of a pod as a whole. Raises NotAQuantity."""
    running: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = amounts_of(container, what)
        if container.get("restartPolicy") == "Always":
            running = _sum(running, own)
            peak = _largest(peak, running)
        else:
            peak = _largest(peak, _sum(running, own))
    for container in spec.get("containers") or ():
        running = _sum(running, amounts_of(container, what))
    as_a_whole = {
        name: amount
        for name, amount in amounts_of(spec, what).items()
        if name in ("cpu", "memory") or name.startswith(_HUGE_PAGES)
    }
    overhead = {name: parse(str(amount)) for name, amount in (spec.get("overhead") or {}).items()}
    return _sum({**_largest(peak, running), **as_a_whole}, overhead)


def amounts_of(asking: Json, what: str) -> Amounts:
    """The `requests` or `limits` of a container. Raises NotAQuantity."""
    listed = (asking.get("resources") or {}).get(what) or {}
    return {name: parse(str(amount)) for name, amount in listed.items()}


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, Decimal(0)) + other.get(name, Decimal(0)) for name in {**one, **other}}


def _largest(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {**one, **other}}
