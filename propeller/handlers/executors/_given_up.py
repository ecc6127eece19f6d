"""Whether an attempt is still wanted, which may change while one of its effects runs."""

from __future__ import annotations

from propeller.workflow import NodePhase, NodeView

_GIVEN_UP = (NodePhase.ABORTED, NodePhase.FAILED)


def is_given_up(node: NodeView, attempt: int) -> bool:
    """Whether the attempt was given up, which may happen while one of its effects runs."""
    execution, number = node.execution, node.number
    given_up = execution.dropped or execution.phases[number] in _GIVEN_UP
    return given_up or execution.attempts[number] != attempt
