"""Launch plans as they are carried in a resource and kept in a registry: the plan, and its compiled workflow, as JSON.

Guarantees
    Nothing of the workflow is decoded here: the execution that it becomes is parsed as any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec
from flyteidl.core import literals_pb2

from propeller.errors import Invalid
from propeller.workflow._messages import decode_document, parse_message
from propeller.workflow._spec import EMPTY_OBJECT, NOTHING

if TYPE_CHECKING:
    from flyteidl.admin import launch_plan_pb2

MAX_PLAN_BYTES = 1024 * 1024
"""Of a launch plan's own JSON, without its workflow: its inputs' defaults and fixed values."""

MAX_NAMES = 20
"""Inputs that a message names."""


class LaunchPlanDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The parts of the document. `launch_plan` is a flyteidl.admin.LaunchPlan with closure; the others are those of the
    resource of an execution.
    """

    launch_plan: msgspec.Raw
    spec: msgspec.Raw
    tasks: msgspec.Raw = EMPTY_OBJECT
    sub_workflows: msgspec.Raw = NOTHING
    node_defaults: msgspec.Raw = msgspec.field(default=EMPTY_OBJECT, name="node-defaults")


_DOCUMENT = msgspec.json.Decoder(LaunchPlanDocument)


class LaunchPlan:
    """A launch plan, and the compiled workflow that it starts."""

    def __init__(self, document: LaunchPlanDocument, message: launch_plan_pb2.LaunchPlan) -> None:
        self.document = document
        self.message = message

    @property
    def name(self) -> str:
        return str(self.message.id.name)

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the outputs."""
        return frozenset(self.message.closure.expected_outputs.variables)

    @property
    def fixed(self) -> Mapping[str, literals_pb2.Literal]:
        return self.message.spec.fixed_inputs.literals

    @property
    def defaults(self) -> dict[str, literals_pb2.Literal]:
        """The values of inputs that a caller may leave out; without fixed ones."""
        parameters = self.message.closure.expected_inputs.parameters
        return {
            name: parameter.default
            for name, parameter in sorted(parameters.items())
            if parameter.HasField("default") and name not in self.fixed
        }

    def require_inputs(self, given: Iterable[str]) -> None:
        """Raise Invalid, with names, unless these are inputs of the plan, and all that it needs."""
        names, parameters = set(given), self.message.closure.expected_inputs.parameters
        if unknown := sorted(names - parameters.keys() - self.fixed.keys()):
            known = sorted(parameters.keys() | self.fixed.keys())[:MAX_NAMES]
            raise Invalid(f"launch plan {self.name} has no input {unknown[0]!r}: its inputs are {known}")
        if missing := sorted(
            name
            for name, parameter in parameters.items()
            if not parameter.HasField("default") and name not in self.fixed and name not in names
        ):
            raise Invalid(f"launch plan {self.name} needs a value for its input {missing[0]!r}")


def read_launch_plan(document: bytes, where: str) -> LaunchPlan:
    """Read a document; `where` is what has it, for messages. Raises Invalid."""
    from flyteidl.admin import launch_plan_pb2  # here, as few controllers need all that it imports

    parts = decode_document(_DOCUMENT, document, where)
    if (size := len(bytes(parts.launch_plan))) > MAX_PLAN_BYTES:
        raise Invalid(f"{where}: its launchPlan has {size} bytes, and may have {MAX_PLAN_BYTES}: make inputs smaller")
    message = parse_message(bytes(parts.launch_plan), launch_plan_pb2.LaunchPlan(), f"{where}: launchPlan")
    return LaunchPlan(parts, message)
