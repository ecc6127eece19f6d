"""What gate nodes wait for: their conditions, and the annotations of the execution that answer them.

Guarantees
    The answer to a gate is an annotation of the FlyteWorkflow, named by the node's unique id, so that each gate of an
    execution has its own; anyone who may patch the object may write one.
Source
    flytepropeller/pkg/controller/nodes/gate/handler.go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from flyteidl.core import types_pb2

from propeller.errors import Invalid
from propeller.workflow._limits import parse_duration
from propeller.workflow._messages import parse_message
from propeller.workflow._spec import GateSpec

SIGNAL_ANNOTATION = "propeller/signal."
"""Begin of the names of annotations that answer gates; the node's unique id follows."""

APPROVE = "approve"
SIGNAL = "signal"
SLEEP = "sleep"

APPROVED = "true"
"""The answer that lets a gate pass on what it holds: in Flyte, its signal is of type boolean."""

REJECTED = "false"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,53}[A-Za-z0-9])?")
_BOOLEAN = types_pb2.LiteralType(simple=types_pb2.BOOLEAN)


def check_gate(gate: GateSpec | None, at: str) -> None:
    """Raise Invalid if the gate does not say what it waits for."""
    if gate is None:
        raise Invalid(f"{at} is missing, though the node's kind is gate")
    if gate.kind not in {APPROVE, SIGNAL, SLEEP}:
        raise Invalid(f"{at}.kind is {gate.kind[:100]!r}, and can be {APPROVE!r}, {SIGNAL!r} or {SLEEP!r}")
    if getattr(gate, gate.kind) is None:
        raise Invalid(f"{at}.{gate.kind} is missing, though the gate's kind is {gate.kind}")
    if gate.signal is not None:
        answer_type(gate, at)
        if not gate.signal.output_variable_name:
            raise Invalid(f"{at}.signal.outputVariableName is missing")
    if gate.sleep is not None:
        try:
            sleep_seconds(gate)
        except Invalid as error:
            raise Invalid(f"{at}.sleep.duration {error}") from None


def sleep_seconds(gate: GateSpec) -> float:
    """Seconds that the gate sleeps; 0 if it does not, and for a duration below 0, as in Flyte."""
    text = gate.sleep.duration if gate.sleep is not None else ""
    if text.startswith("-"):
        parse_duration(text[1:])
        return 0.0
    return parse_duration(text)


def answer_type(gate: GateSpec, at: str = "gate") -> types_pb2.LiteralType:
    """The type of the answer that the gate waits for. Raises Invalid for a malformed one."""
    if gate.kind != SIGNAL or gate.signal is None:
        return _BOOLEAN
    return parse_message(bytes(gate.signal.type), types_pb2.LiteralType(), f"{at}.signal.type")


def signal_id(gate: GateSpec) -> str:
    """The name that the workflow's author gave the gate; "" for a sleep."""
    condition = gate.signal if gate.kind == SIGNAL else gate.approve
    return condition.signal_id if condition is not None else ""


def signal_annotation(unique_id: str) -> str:
    """Name of the annotation that answers the gate with that unique id."""
    if _NAME.fullmatch(unique_id):
        return SIGNAL_ANNOTATION + unique_id
    return f"{SIGNAL_ANNOTATION}x{hashlib.blake2b(unique_id.encode(), digest_size=12).hexdigest()}"


def without_signals(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations but those that answer gates: pods and other executions do not get them."""
    return {key: text for key, text in annotations.items() if not key.startswith(SIGNAL_ANNOTATION)}
