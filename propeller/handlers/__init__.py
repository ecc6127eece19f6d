"""What each node kind does: a pure transition for `decide` and, if it needs I/O, an executor for `act`.

`transitions` is pure; `executors` does the I/O; `plugins` make the resources of attempts. A new node kind is one module
and one line in `transitions.STEPS`; a new effect is one executor and one line in `executors.EXECUTORS`.
"""

from propeller.handlers.executors import (
    EXECUTORS,
    Executor,
    Gates,
    Inputs,
    Later,
    Services,
    Tries,
    act,
    act_now,
    at_once,
    is_given_up,
    plan_of_futures,
    refusals_of,
)
from propeller.handlers.transitions import STEPS

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
    "refusals_of",
]
