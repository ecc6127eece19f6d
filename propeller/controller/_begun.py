"""Remember the attempts that this process has started of executions that it has to reload.

The status may be older than these attempts, and so may the cache of pods. Without this memory, an attempt whose pod was
deleted by another client, so that its name is free, would run again although the next attempt has run already.
"""

from __future__ import annotations

from propeller.workflow import (
    BackingOff,
    CacheStatus,
    Execution,
    Launching,
    NodePhase,
    ObservedAttempt,
    State,
)


class Begun:
    """Attempts by execution, from when it is dropped until it is loaded."""

    def __init__(self) -> None:
        self._attempts: dict[str, tuple[str, dict[str, ObservedAttempt]]] = {}
        """By key: the uid, and each node's last attempt."""

    def keep(self, execution: Execution) -> None:
        """Remember the attempts of an execution that is dropped."""
        started = {
            execution.unique_id(node): ObservedAttempt(execution.attempts[node], execution.system_failures.get(node, 0))
            for node, phase in enumerate(execution.phases)
            if phase != NodePhase.NOT_STARTED
            and execution.view(node).spec.has_attempts
            and not _waits_to_begin(execution.states.get(node))
            and execution.cache.of(node) is not CacheStatus.HIT
        }
        self._attempts[execution.key] = execution.info.uid, {**execution.observed_attempts, **started}

    def hand_over(self, execution: Execution) -> None:
        """Tell the loaded execution about its attempts, unless its pods show them already."""
        uid, begun = self._attempts.pop(execution.key, ("", {}))
        if uid != execution.info.uid:
            return
        known = execution.observed_attempts
        execution.recover_attempts(
            {node: one for node, one in begun.items() if node not in known or one.attempt > known[node].attempt}
        )

    def forget(self, key: str) -> None:
        """Forget an execution that was deleted or has ended."""
        self._attempts.pop(key, None)

    def clear(self) -> None:
        """Forget everything: the server was restored and may not know it."""
        self._attempts.clear()


def _waits_to_begin(state: State | None) -> bool:
    """Whether no create was sent for the attempt. A refused one may exist: its answer may have been lost."""
    return (isinstance(state, BackingOff) and not state.refusals.tries) or (
        isinstance(state, Launching) and state.lookup
    )
