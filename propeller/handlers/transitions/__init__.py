"""What an event does to a node, one module a node kind: pure, registered by kind, called by `workflow.decide`.

A transition is `(node, state, event, now) -> Step | None`. It may import no I/O; import-linter holds that.
"""

from collections.abc import Mapping

from propeller.handlers.transitions._array import step_array
from propeller.handlers.transitions._branch import step_branch
from propeller.handlers.transitions._end import step_end
from propeller.handlers.transitions._gate import step_unsupported
from propeller.handlers.transitions._subworkflow import step_workflow
from propeller.handlers.transitions._task import step_task
from propeller.handlers.transitions._time_limits import timed
from propeller.workflow import NodeKind, StepFunction

STEPS: Mapping[NodeKind, StepFunction] = {
    NodeKind.END: step_end,
    NodeKind.TASK: step_task,
    NodeKind.WORKFLOW: timed(step_workflow),
    NodeKind.BRANCH: timed(step_branch),
    NodeKind.ARRAY: timed(step_array),
    NodeKind.GATE: step_unsupported,
}

__all__ = ["STEPS"]
