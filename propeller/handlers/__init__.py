"""What each node kind does: a pure step for `decide` and, where it needs I/O, an executor for `act`.

A new node kind is one module and one line in `STEPS`; a new effect one executor and one line in `EXECUTORS`.
"""

from collections.abc import Mapping

from propeller.handlers._act import EXECUTORS, Executor, Later, Tries, act, act_now
from propeller.handlers._at_once import at_once
from propeller.handlers._dynamic import plan_of_futures
from propeller.handlers._gates import Gates
from propeller.handlers._inputs import Inputs
from propeller.handlers._pods import is_given_up
from propeller.handlers._services import Services
from propeller.handlers._steps import step_array, step_branch, step_end, step_unsupported, step_workflow
from propeller.handlers._task import step_task
from propeller.handlers._time_limits import timed
from propeller.workflow import NodeKind, StepFunction

STEPS: Mapping[NodeKind, StepFunction] = {
    NodeKind.END: step_end,
    NodeKind.TASK: step_task,
    NodeKind.WORKFLOW: timed(step_workflow),
    NodeKind.BRANCH: timed(step_branch),
    NodeKind.ARRAY: timed(step_array),
    NodeKind.GATE: step_unsupported,
}

__all__ = [
    "EXECUTORS",
    "STEPS",
    "Executor",
    "Gates",
    "Inputs",
    "Later",
    "Services",
    "Tries",
    "act",
    "act_now",
    "at_once",
    "is_given_up",
    "plan_of_futures",
]
