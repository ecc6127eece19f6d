"""The I/O of effects: inputs, outputs, pods of attempts. One executor an effect, registered in `EXECUTORS`."""

from propeller.handlers.executors._at_once import at_once
from propeller.handlers.executors._attempts import is_given_up
from propeller.handlers.executors._dynamic import plan_of_futures
from propeller.handlers.executors._gates import Gates, refusals_of
from propeller.handlers.executors._inputs import Inputs
from propeller.handlers.executors._run import EXECUTORS, Executor, Later, Tries, act, act_now
from propeller.handlers.executors._services import Services

__all__ = [
    "EXECUTORS",
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
