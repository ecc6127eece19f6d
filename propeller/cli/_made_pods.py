"""The pods of an attempt that is no pod itself: an operator's job makes them, or the resource of another plugin."""

from __future__ import annotations

from propeller.errors import Invalid, NotFound, PropellerError
from propeller.handlers.plugins import (
    OWN_TYPES,
    AttemptObserver,
    MadePod,
    PluginFailed,
    installed_plugins,
    made_pods,
    owner_of,
)
from propeller.handlers.plugins.operators import OPERATORS
from propeller.kube import Client, KubeObject
from propeller.workflow import NodeView

MAX_NAMES = 20
"""Pods that a message names: a job may have thousands."""


async def pods_of_attempt(view: NodeView, name: str, client: Client) -> list[MadePod] | None:
    """Return the pods that the resource of an attempt has made, those in trouble first; None if the attempt runs as a
    pod, or if its resource is gone. Raises PropellerError if there are none.
    """
    observer = _observer(view)
    if observer is None:
        return None
    info = view.execution.info
    try:
        obj: KubeObject = await client.get(observer.resource, name, info.namespace)
    except NotFound:
        return None
    if (owner := owner_of(obj)) is None or owner.uid != info.uid:
        return None
    if found := await made_pods(observer, obj, client):
        return found
    raise PropellerError(
        f"{observer.resource.kind} {info.namespace}/{name} has no pods: its operator has made none yet, or has deleted "
        "them"
    )


def chosen(found: list[MadePod], name: str) -> MadePod:
    """Return the pod of that name, the first one if it is "". Raises Invalid if there is none."""
    for one in found:
        if name in {"", one.name}:
            return one
    raise Invalid(f"--pod {name}: the attempt's pods are {names_of(found)}")


def names_of(found: list[MadePod]) -> str:
    """Name the pods, as far as people read."""
    names = [one.name for one in found]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _observer(view: NodeView) -> AttemptObserver | None:
    """Return what reads the resource of the node's attempts; None for a pod, and for a plugin that is not here."""
    task_type = view.graph.plan.task(view.spec.task).type
    if task_type in OWN_TYPES:
        return None
    if (operator := OPERATORS.get(task_type)) is not None:  # type: ignore[call-overload]  # of any task
        found: AttemptObserver = operator
        return found
    plugins = installed_plugins()
    if plugins.is_pod(task_type) or task_type in plugins.remote:
        return None
    try:
        return plugins.of(view)
    except PluginFailed:
        return None
