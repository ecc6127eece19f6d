"""Inputs of an execution: all there, and of the right types.

Source: flytepropeller/pkg/compiler/transformers/k8s/inputs.go.
"""

from __future__ import annotations

from flyteidl.core import literals_pb2, workflow_pb2
from google.protobuf.message import DecodeError

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import START_NODE
from propeller.compiler._literals import type_of_literal
from propeller.compiler._types import Types


def validate_inputs(template: workflow_pb2.WorkflowTemplate, inputs: literals_pb2.LiteralMap, errors: Errors) -> None:
    if not template.HasField("interface") or not template.interface.HasField("inputs"):
        errors.add(ErrorCode.VALUE_REQUIRED, START_NODE, "the workflow has no interface")
        return
    try:
        literals_pb2.LiteralMap.FromString(inputs.SerializeToString())
    except DecodeError:
        errors.add(ErrorCode.INVALID_VALUE, START_NODE, "an input is nested deeper than protobuf's 100 levels")
        return
    types = Types()
    variables = template.interface.inputs.variables
    bound: set[str] = set()
    for name in inputs.literals:
        if name not in variables:
            known = ", ".join(sorted(variables)) or "none"
            errors.add(ErrorCode.VARIABLE_NAME_NOT_FOUND, START_NODE, f"there is no input {name!r}; there are: {known}")
            continue
        given = type_of_literal(types, inputs.literals[name])
        if given is None:
            errors.add(ErrorCode.INVALID_LITERAL_TYPE, START_NODE, f"input {name!r} has a value of no known type")
            continue
        variable = variables[name]
        expected = types.of(variable.type) if variable.HasField("type") else types.missing
        if not types.castable(given, expected):
            message = f"input {name!r} is of type {expected}, and its value of type {given}"
            errors.add(ErrorCode.MISMATCHING_TYPES, START_NODE, message)
            continue
        bound.add(name)
    for name in variables:
        if name not in bound:
            errors.add(ErrorCode.PARAMETER_NOT_BOUND, START_NODE, f"input {name!r} has no value of its type")
