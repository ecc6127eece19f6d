"""What is placed, what is known of clusters meanwhile, and what a decision says."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What rules can ask about a task."""

    type: str = ""
    accelerator: str = ""
    requests: Mapping[str, Decimal] = {}
    """Of its containers together: cores, bytes or a count, by the resource's name."""

    interruptible: bool = False

    labels: Mapping[str, str] = {}
    """Its own and those of its execution, which go first: only rules about tasks see them."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """An execution, or one of its tasks' attempts, that needs a cluster."""

    key: str
    """What is hashed: `namespace/name` of the execution, for its attempts as well."""

    project: str = ""
    domain: str = ""
    workflow: str = ""
    launch_plan: str = ""
    """"" if it is not known: a rule that asks for one does not match then."""

    labels: Mapping[str, str] = {}
    """Of the execution."""

    task: Task | None = None
    """None places the execution as a whole: rules about tasks are passed over."""


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a cluster at the moment of a decision."""

    healthy: bool = True
    reason: str = ""
    """Why it is not, for people."""

    pods: int = 0
    """Of attempts, that have not ended."""

    executions: int = 0
    """That are placed there and have not ended."""

    full: str = ""
    """Why it has no room for this subject though it is healthy and below its capacity, such as a quota; "" if it has.
    """


NOTHING_KNOWN = ClusterState()
"""Of a cluster without a state: healthy, with nothing on it."""


class Placement(msgspec.Struct, frozen=True):
    """Where it goes. `rule` and `pool` are the names of those that said so."""

    cluster: str
    pool: str
    rule: str
    reason: str
    """A sentence."""

    fallback: bool = False
    """Whether the pool is one of the rule's fallbacks."""

    kept: bool = False
    """Whether it stays where its execution is."""


class Waiting(msgspec.Struct, frozen=True):
    """No cluster may take it now. `rule` is the one that matches, "" if none does."""

    reason: str
    rule: str = ""
