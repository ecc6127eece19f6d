"""Attempts that this process has begun of executions that it has to load again.

The status may be older than they are, and so may the cache of pods: what neither shows yet is remembered here. Without
it, an attempt whose pod somebody else deleted (its name is free) would be run again though the next one has been.
"""

from __future__ import annotations

from propeller.workflow import BackingOff, Execution, NodeKind, NodePhase, ObservedAttempt, State


class Begun:
    """By execution, from when it is dropped until it is loaded."""

    def __init__(self) -> None:
        self._attempts: dict[str, tuple[str, dict[str, ObservedAttempt]]] = {}
        """By key: the uid, and each node's last attempt."""

    def keep(self, execution: Execution) -> None:
        """Remember what was begun of an execution that is dropped."""
        self._attempts[execution.key] = (
            execution.info.uid,
            {
                execution.unique_id(node): ObservedAttempt(
                    execution.attempts[node], execution.system_failures.get(node, 0)
                )
                for node, phase in enumerate(execution.phases)
                if phase != NodePhase.NOT_STARTED
                and execution.view(node).spec.kind is NodeKind.TASK
                and not _waits_to_begin(execution.states.get(node))
            },
        )

    def hand_over(self, execution: Execution) -> None:
        """Let the execution that was loaded know it. What its pods prove is known already."""
        uid, begun = self._attempts.pop(execution.key, ("", {}))
        if uid != execution.info.uid:
            return
        known = execution.observed_attempts
        execution.recover_attempts(
            {node: one for node, one in begun.items() if node not in known or one.attempt > known[node].attempt}
        )

    def forget(self, key: str) -> None:
        """The execution is gone or has ended."""
        self._attempts.pop(key, None)

    def clear(self) -> None:
        """The server has forgotten some of it."""
        self._attempts.clear()


def _waits_to_begin(state: State | None) -> bool:
    """Whether no pod was asked for yet. One that was refused may be there: an answer may have been lost."""
    return isinstance(state, BackingOff) and not state.refusals.tries
