"""What an event does to a node, one module a node kind: pure, registered by kind, called by `workflow.decide`.

A transition function is `(node, state, event, now) -> Transition | None`. It imports no I/O; import-linter holds that.
"""

from collections.abc import Mapping

from propeller.handlers.transitions._array import array_transition
from propeller.handlers.transitions._branch import branch_transition
from propeller.handlers.transitions._end import end_transition
from propeller.handlers.transitions._gate import gate_transition
from propeller.handlers.transitions._subworkflow import workflow_transition
from propeller.handlers.transitions._task import task_transition
from propeller.handlers.transitions._time_limits import timed
from propeller.workflow import NodeKind, TransitionFunction

TRANSITIONS: Mapping[NodeKind, TransitionFunction] = {
    NodeKind.END: end_transition,
    NodeKind.TASK: task_transition,
    NodeKind.WORKFLOW: workflow_transition,
    NodeKind.BRANCH: timed(branch_transition),
    NodeKind.ARRAY: timed(array_transition),
    NodeKind.GATE: gate_transition,
}

__all__ = ["TRANSITIONS"]
