"""From a FairQueue's spec to limits: the settings' own fields and checks.

Errors
    Invalid, naming field and value.
"""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.errors import Invalid
from propeller.resourcemgr import Pool, ResourceOptions, Rule, Tenant, check_options

MAX_BYTES = 256 * 1024
"""Of a spec as JSON. The status repeats it (`accepted`), and etcd refuses objects over 1.5 MiB."""


class _Rule(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule with the names of Kubernetes' style."""

    task_type: str = msgspec.field(default="", name="taskType")


class _Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pools: tuple[Pool, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    rules: tuple[_Rule, ...] = ()


class Declaration(msgspec.Struct, frozen=True):
    """What a FairQueue declares, checked by itself; `weighted` are the tenants to which it gives a weight."""

    pools: tuple[Pool, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    rules: tuple[Rule, ...] = ()
    weighted: frozenset[str] = frozenset()


def decode(spec: Any) -> Declaration:
    """What a spec declares. Raises Invalid."""
    if len(msgspec.json.encode(spec)) > MAX_BYTES:
        raise Invalid(f"the spec has more than {MAX_BYTES} bytes: spread it over several FairQueues")
    try:
        found = msgspec.convert(spec, _Spec)
    except msgspec.ValidationError as error:
        raise Invalid(f"spec: {error}") from error
    rules = tuple(Rule(**msgspec.structs.asdict(rule)) for rule in found.rules)
    check_options(ResourceOptions(pools=found.pools, tenants=found.tenants, rules=rules))
    weighted = frozenset(tenant["name"] for tenant in spec.get("tenants", ()) if "weight" in tenant)
    return Declaration(found.pools, found.tenants, rules, weighted)
