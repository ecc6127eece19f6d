"""What an operator declares: clusters, pools of them, and ordered rules that say which work goes to which pool.

Names are those of the file and of the RoutingTable resource. What is declared is right only once `check` has seen it:
only a `Table` is ever decided by.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec


class State(enum.StrEnum):
    """What an operator lets a cluster take. It says nothing about the cluster's health."""

    ACTIVE = "active"
    """Takes new executions, and all attempts of those that it has."""

    CORDONED = "cordoned"
    """Takes no new executions; those that it has stay, with all their attempts."""

    DRAINING = "draining"
    """Takes nothing new: attempts that run there go on to their end, new attempts of their executions go elsewhere."""

    BAKE = "bake"
    """As active, but only for rules whose pool lists the cluster by its name: a selector does not select it, and no
    rule falls back to it.
    """


class _Declared(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """The base of what is declared."""


class SecretReference(_Declared, frozen=True):
    """A Secret of the control cluster that has a kubeconfig."""

    namespace: str
    name: str
    key: str = "kubeconfig"


class Access(_Declared, frozen=True):
    """How to connect: by a kubeconfig (its file, its context, or both), by a Secret, or as the cluster that the
    controller runs in. One of them.
    """

    kubeconfig: str = ""
    """A file; by default the usual one, if a context is named."""

    context: str = ""
    """By default the current one of the kubeconfig, or of that in the Secret."""

    secret: SecretReference | None = None
    in_cluster: bool = False


class Capacity(_Declared, frozen=True):
    """What a cluster takes at most; None for any number. It gets no new work while it has as many."""

    pods: int | None = None
    """Pods of attempts."""

    executions: int | None = None
    """Executions that are placed there and have not ended."""


class Cluster(_Declared, frozen=True):
    """A cluster that executions may run on."""

    name: str
    connection: Access
    state: State = State.ACTIVE

    weight: float = 1.0
    """Its share of new executions, relative to the clusters of the same pool and priority. 0: no new ones."""

    priority: int = 0
    """Of a pool's clusters those of the highest priority take all work, until none of them can."""

    labels: Mapping[str, str] = {}
    capacity: Capacity = Capacity()


class Pool(_Declared, frozen=True):
    """A set of clusters: by name, or by a label selector as Kubernetes writes it (`region=eu,tier in (a, b)`)."""

    name: str
    clusters: tuple[str, ...] = ()
    selector: str | None = None
    """"" selects all clusters."""


class Match(_Declared, frozen=True):
    """Which work a rule is for. A condition that is left out holds for everything; all that are given have to hold.

    Names are whole (`ml`), or begin with what stands before a `*` (`flows.train.*`); one of a list has to fit.
    """

    projects: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    launch_plans: tuple[str, ...] = ()

    labels: Mapping[str, str] = {}
    """Labels of the execution; if the rule is about tasks, those of the task count as well. All have to be there."""

    selector: str = ""
    """As for pools, on those labels."""

    task_types: tuple[str, ...] = ()
    """Flyte's, such as `python-task` or `spark`."""

    accelerators: tuple[str, ...] = ()
    """Kinds of GPU, as a task names them (flytekit's `accelerator`), such as `nvidia-tesla-a100`."""

    resources: Mapping[str, str | int | float] = {}
    """By name, such as `nvidia.com/gpu` or `memory`: the task requests at least so much."""

    interruptible: bool | None = None
    """Whether the task is."""

    @property
    def is_about_tasks(self) -> bool:
        """Whether it looks at what a task has, and an execution as a whole has not."""
        return bool(self.task_types or self.accelerators or self.resources) or self.interruptible is not None


class Rule(_Declared, frozen=True):
    """Where work goes for which it is the first rule that matches."""

    name: str
    pool: str
    match: Match = Match()

    isolate: bool = False
    """Whether its pool is for it alone: its work never goes elsewhere, and no other pool has the pool's clusters."""

    fallbacks: tuple[str, ...] = ()
    """Pools that are tried in this order when no cluster of the pool can take the work."""


class Declaration(_Declared, frozen=True):
    """A whole table."""

    clusters: tuple[Cluster, ...] = ()
    pools: tuple[Pool, ...] = ()
    rules: tuple[Rule, ...] = ()
