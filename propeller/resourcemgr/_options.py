"""Limits and rules as settings: which tasks take tokens of which pools."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from propeller.bounds import NonNegativeFloat, PositiveFloat
from propeller.resourcemgr._limits import Limits, Pool, Tenant


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What attempts of some tasks take. A field that is empty matches all."""

    project: str = ""
    domain: str = ""
    task_type: str = ""
    """Flyte's, such as `python-task` or `container`."""

    labels: Mapping[str, str] = {}
    """Of the task or its execution: all of them have to be there."""

    pools: Mapping[str, int] = {}
    """Tokens of each pool."""

    resources: Mapping[str, str] = {}
    """By pool, a resource that the attempt's containers request, such as `nvidia.com/gpu`: so many tokens are taken.
    Of `cpu` a token is a thousandth of a core, of `memory` and `ephemeral-storage` a MiB, parts rounded up.
    """


class ResourceOptions(Limits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits on what runs at once, or begins in a second. Without pools nothing is limited, and nothing spent on it."""

    pools: tuple[Pool, ...] = ()
    """Tokens that tasks share."""

    tenants: tuple[Tenant, ...] = ()
    """Weights and limits of projects (`ml`) and their domains (`ml/production`)."""

    rules: tuple[Rule, ...] = ()
    """All that match count; of one pool, the amount of the last. A task's own annotation `propeller/pools` goes before
    them."""

    fair_queues: bool = True
    """Whether the limits of FairQueue resources are followed. It costs one watch, and a request a minute while the
    type is not installed or may not be read.
    """

    status_interval: PositiveFloat = 1.0
    """Seconds between two writes of a FairQueue's status, which is written only if it has changed. As often as people
    who watch it read; a write costs the API server a few ms.
    """

    unused_grant: NonNegativeFloat = 60.0
    """Seconds after which tokens come back that nothing is seen to use: the attempt was given up meanwhile, or the
    create of its pod had no answer. Longer than launches wait for their turn when thousands are granted at once, and
    than watches are late.
    """
