"""What an event of a pod means to the execution that owns it.

Guarantees
    Pure. The pod of an earlier execution of the same name, of an unknown node, or of an attempt that cannot be, means
    nothing.
"""

from __future__ import annotations

import msgspec

from propeller.controller._session import Running
from propeller.handlers.plugins.pod import attempt_at, gone, report
from propeller.informers import Change
from propeller.kube import Pod
from propeller.workflow import AttemptObserved, AttemptPhase, Execution, Launching, Remains
from propeller.workflow import Running as RunningState


class Seen(msgspec.Struct, frozen=True):
    """What the pod of a node shows."""

    node: int
    fact: AttemptObserved

    @property
    def is_waiting(self) -> str:
        """Why the pod cannot start, "" if it is not so: no machine has room for it, or its image does not come."""
        return self.fact.reason if self._is_pending else ""

    @property
    def is_news(self) -> bool:
        """Whether the execution has to know. A pod that waits as it should says so two or three times."""
        return not self._is_pending or self.fact.failure is not None

    @property
    def _is_pending(self) -> bool:
        return self.fact.phase is AttemptPhase.PENDING and self.fact.remains is not Remains.ENDING


class Vanished(msgspec.Struct, frozen=True):
    """The pod of an attempt is gone, and nobody saw how it ended."""

    node: int
    attempt: int


def pod_event(change: Change[Pod], session: Running) -> Seen | Vanished | None:
    """What a pod's event means to an execution that runs; None if nothing."""
    pod = change.new or change.old
    assert pod is not None
    if session.uid not in owner_uids(pod):
        return None  # the pod of an earlier execution of that name has the same name, too
    execution, node = session.execution, session.node_of(pod)
    if node is None or (attempt := attempt_at(execution, node, pod)) is None:
        return None
    seen = report(pod, attempt)
    if change.new is None:
        seen = _last_news(pod, seen)
        if seen.phase is AttemptPhase.GONE and _awaits_end(execution, node, attempt):
            return Vanished(node, attempt)
    return Seen(node, seen)


def owner_uids(pod: Pod) -> tuple[str, ...]:
    return tuple(owner.uid for owner in pod.metadata.owner_references)


def execution_key(pod: Pod) -> str:
    """The key of the execution that owns a pod, "" if none does."""
    for owner in pod.metadata.owner_references:
        if owner.kind.lower() == "flyteworkflow":
            return f"{pod.metadata.namespace}/{owner.name}"
    return ""


def _awaits_end(execution: Execution, node: int, attempt: int) -> bool:
    state = execution.states.get(node)
    return isinstance(state, Launching | RunningState) and state.attempt == attempt


def _last_news(pod: Pod, seen: AttemptObserved) -> AttemptObserved:
    """How a pod that is gone ended, as it was seen last."""
    if seen.phase in {AttemptPhase.SUCCEEDED, AttemptPhase.FAILED}:
        return AttemptObserved(seen.attempt, seen.phase, seen.reason, seen.failure)
    return gone(seen.attempt, pod.metadata.name)
