"""Map an informer event of an attempt's resource (a pod, or another plugin's) to an event of its execution.

Guarantees
    Pure. Ignored are resources of an earlier execution with the same name, of an unknown node, of an impossible
    attempt, and of another plugin than the node's.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from propeller.controller._session import Running
from propeller.handlers.plugins import CHILD, AttemptObserver, Plugins, attempt_at, owner_of, parents_of
from propeller.informers import Change
from propeller.kube import KubeObject
from propeller.workflow import AttemptObserved, AttemptPhase, Execution, Launching, Remains
from propeller.workflow import Running as RunningState

T = TypeVar("T", bound=KubeObject)


class Seen(msgspec.Struct, frozen=True):
    """The observed state of the resource of a node's attempt."""

    node: int
    observed: AttemptObserved
    released: bool = False
    """Whether a queue has held the pod until now."""

    @property
    def is_waiting(self) -> str:
        """Return why it cannot start, such as an unschedulable pod; "" if that is not the case."""
        return self.observed.reason if self._is_pending else ""

    @property
    def is_news(self) -> bool:
        """Whether the execution needs the event: a pod that starts normally has two or three PENDING events."""
        seen = self.observed
        return not self._is_pending or seen.failure is not None or seen.gated or self.released

    @property
    def _is_pending(self) -> bool:
        return self.observed.phase is AttemptPhase.PENDING and self.observed.remains is not Remains.ENDING


class Vanished(msgspec.Struct, frozen=True):
    """The resource of an attempt was deleted, and its end was not observed."""

    node: int
    attempt: int


def attempt_ended(change: Change[T], plugin: AttemptObserver) -> bool:
    """Whether the resource of an attempt that ran has ended, or is gone."""
    old, new = change.old, change.new
    return old is not None and not plugin.has_ended(old) and (new is None or plugin.has_ended(new))


def attempt_event(
    change: Change[T], session: Running, plugin: AttemptObserver, plugins: Plugins
) -> Seen | Vanished | None:
    """Map an event of a resource of `plugin` to an event of a running execution; None if it is ignored."""
    obj = change.new or change.old
    assert obj is not None
    if session.uid not in (owner_uids(obj) if plugin is not CHILD else parents_of(obj.metadata)):
        return None  # that of an earlier execution of that name has the same name, too
    execution, node = session.execution, session.node_of(obj)
    if node is None or (attempt := attempt_at(execution, node, obj)) is None:
        return None
    if not plugins.runs(plugin, execution, node):
        return None
    seen = plugin.observe(obj, attempt)
    if seen is None:
        return None
    if change.new is None:
        seen = _last_news(obj, seen, plugin)
        if seen.phase is AttemptPhase.GONE and awaits_end(execution, node, attempt):
            return Vanished(node, attempt)
    if seen.phase is AttemptPhase.PENDING and not seen.gated:
        return Seen(node, seen, released=_was_held(session, node))
    if seen.gated:
        session.held.add(node)
    return Seen(node, seen)


def owner_uids(obj: KubeObject) -> tuple[str, ...]:
    owners = obj.metadata.owner_references
    if owners:
        return (owners[0].uid,) if len(owners) == 1 else tuple(owner.uid for owner in owners)
    owner = owner_of(obj)
    return () if owner is None else (owner.uid,)


def _was_held(session: Running, node: int) -> bool:
    """Whether a queue has held the node's pod, as far as the execution knows, or will know after its next reconcile."""
    state = session.execution.states.get(node)
    if node in session.held:
        session.held.remove(node)
        return True
    return isinstance(state, RunningState) and bool(state.waits_for)


def awaits_end(execution: Execution, node: int, attempt: int) -> bool:
    """Whether the attempt is the node's, and has not ended as far as the execution knows."""
    state = execution.states.get(node)
    return isinstance(state, Launching | RunningState) and state.attempt == attempt


def _last_news(obj: KubeObject, seen: AttemptObserved, plugin: AttemptObserver) -> AttemptObserved:
    """Return the last observed state of a deleted resource."""
    if seen.phase in {AttemptPhase.SUCCEEDED, AttemptPhase.FAILED}:
        return AttemptObserved(seen.attempt, seen.phase, seen.reason, seen.failure)
    return plugin.missing(obj.metadata.name, seen.attempt)
