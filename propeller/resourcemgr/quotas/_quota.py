"""A ResourceQuota as counting needs it: whole numbers, and which pods it is about.

Guarantees
    Pure. An amount that is no quantity limits nothing here: the API server stays the judge. Used and needed amounts are
    rounded up, limits down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from propeller.errors import Invalid
from propeller.quantity import parse, render
from propeller.resourcemgr.quotas._scopes import is_about

_REFUSAL = re.compile(
    r'[\w.-]{1,253} "[^"]{0,253}" is forbidden: exceeded quota: (?P<quota>[a-z0-9.-]{1,253}), '
    r"requested: (?P<requested>[^ ]{1,900}), used: (?P<used>[^ ]{1,900}), limited: (?P<limited>[^ ]{1,900})"
)
"""kube-apiserver's words (apiserver/pkg/admission/plugin/resourcequota/controller.go)."""

_OF_EVERY_POD = ("pods", "count/pods", "cpu", "memory")


def is_of_every_pod(resource: str) -> bool:
    """Whether each pod takes of a resource, once a quota has it: the API server requires requests for it then."""
    return resource.removeprefix("requests.").removeprefix("limits.") in _OF_EVERY_POD


Whole = Mapping[str, int]


class Quota(msgspec.Struct, frozen=True):
    """One object. `hard` is what admission enforces (`status.hard`), `wanted` what will be (`spec.hard`)."""

    name: str
    uid: str
    version: int
    """The resourceVersion as a number; 0 if it is none."""
    spec: Mapping[str, Any]
    hard: Whole
    wanted: Whole
    used: Whole

    def is_about(self, pod: Mapping[str, Any]) -> bool:
        return is_about(self.spec, pod)

    def most(self, resource: str) -> int | None:
        """The largest amount that a single pod may ever have; None if it is paused, by a limit of 0 on what every pod
        takes. That is how a namespace is closed for a while; a limit of 0 on GPUs is for good.
        """
        most = max(self.hard[resource], self.wanted.get(resource, self.hard[resource]))
        paused = most == 0 and is_of_every_pod(resource)
        return None if paused else most


class Refusal(msgspec.Struct, frozen=True):
    """What the API server has said about an exceeded quota."""

    quota: str
    requested: Whole
    used: Whole


def quota_of(obj: Mapping[str, Any]) -> Quota:
    """The quota of a ResourceQuota."""
    metadata, spec, status = (obj.get(part) or {} for part in ("metadata", "spec", "status"))
    version = str(metadata.get("resourceVersion", ""))
    return Quota(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        version=int(version) if version.isdecimal() else 0,
        spec={name: spec[name] for name in ("scopes", "scopeSelector") if spec.get(name)},
        hard=_whole(status.get("hard"), math.floor),
        wanted=_whole(spec.get("hard"), math.floor),
        used=_whole(status.get("used"), math.ceil),
    )


def refusal_of(message: str) -> Refusal | None:
    """The numbers of a refusal; None if it is not about an exceeded quota."""
    found = _REFUSAL.search(message)
    if found is None:
        return None
    requested, used = (_whole(_listed(found[name]), math.ceil) for name in ("requested", "used"))
    return Refusal(found["quota"], requested, used) if requested else None


def whole(resource: str, amount: Decimal) -> int:
    """An amount that a pod needs: of CPU thousandths of a core, of anything else units."""
    return math.ceil(amount * _unit(resource))


def text(resource: str, amount: int) -> str:
    """The amount as Kubernetes writes it."""
    return render(Decimal(amount) / _unit(resource), binary=resource.endswith(("memory", "storage")))


def _listed(listed: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in listed.split(","))
    return {name: amount for name, _, amount in pairs if name and amount}


def _whole(listed: Any, rounded: Any) -> Whole:
    found: dict[str, int] = {}
    for resource, amount in (listed or {}).items():
        try:
            found[resource] = rounded(parse(str(amount)) * _unit(resource))
        except Invalid:
            continue
    return found


def _unit(resource: str) -> int:
    return 1000 if resource.endswith("cpu") else 1
