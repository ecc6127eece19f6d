"""Say what a gate waits for, and how to answer it."""

from __future__ import annotations

import shlex

from propeller.clock import rfc3339
from propeller.errors import Invalid
from propeller.text import bounded
from propeller.wire import type_name
from propeller.workflow import APPROVE, SLEEP, AtGate, Execution, answer_type, signal_id, sleep_seconds

MAX_SIGNAL_ID_CHARACTERS = 100


def gate_wait(execution: Execution, node: int, state: AtGate) -> str:
    """A sentence without a subject: `waits for input title of type string: propeller signal ...`."""
    gate = execution.view(node).spec.gate
    if gate is None:
        return "waits"
    if gate.kind == SLEEP:
        return f"sleeps until {_time(state.since + sleep_seconds(gate))}"
    name, problem = bounded(signal_id(gate), MAX_SIGNAL_ID_CHARACTERS), state.problem
    who, where = shlex.quote(execution.unique_id(node)), execution.info.namespace
    if gate.kind == APPROVE:
        said = f"waits for approval {name}: propeller approve {execution.info.name} {who} -n {where}"
    else:
        said = f"waits for input {name} of type {_type(execution, node)}: "
        said += f"propeller signal {execution.info.name} {who} VALUE -n {where}"
    return f"{said}; {problem}" if problem else said


def _type(execution: Execution, node: int) -> str:
    gate = execution.view(node).spec.gate
    assert gate is not None
    try:
        return type_name(answer_type(gate))
    except Invalid:
        return "unknown"


def _time(seconds: float) -> str:
    try:
        return rfc3339(seconds)
    except (ValueError, OverflowError, OSError):
        return "the end of time"
