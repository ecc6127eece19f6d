"""Bindings of a node's inputs: do they exist, are they of the right type, and which nodes must end first.

Source: flytepropeller/pkg/compiler/validators/bindings.go.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from flyteidl.core import literals_pb2, types_pb2

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._ids import START_NODE
from propeller.compiler._literals import type_of_scalar
from propeller.compiler._outputs import outputs_of
from propeller.compiler._scope import Node, Workflow
from propeller.compiler._trampoline import Trampoline, run
from propeller.compiler._types import Type

DROPPED_CALL = (
    "if the workflow has then(f(x=g())): flytekit drops the call g() there. Call it before the conditional, or in a "
    "workflow of its own"
)
"""A mistake that flytekit's local runs forgive: the binding keeps an id that is nobody's, or the branch's."""

_VARIABLE = re.compile(r"(?:\[(\d+)\]\.)?(\w+)", re.ASCII)
_MAX_INDEX = 2**63 - 1


class Direction(enum.Enum):
    """Which edges a binding adds. A case of a branch and a failure node are in no one's downstream: the branch, or the
    failure, starts them.
    """

    BOTH = enum.auto()
    UPSTREAM = enum.auto()


class _Bound(NamedTuple):
    """A valid binding: its type (None if it has none), and the nodes that it takes values from."""

    type: Type | None
    providers: tuple[str, ...]


def validate_bindings(
    workflow: Workflow,
    node: Node,
    bindings: Iterable[literals_pb2.Binding],
    parameters: dict[str, Type],
    errors: Errors,
    direction: Direction,
    *,
    check_types: bool = True,
) -> dict[str, Type]:
    """Check a node's bindings against its parameters and add their edges; return the types of the valid ones, by name.

    Without `check_types` any name and any type is valid: the bindings define the parameters.
    """
    resolved: dict[str, Type] = {}
    provided: set[str] = set()
    types = workflow.compilation.types
    for binding in bindings:
        name = binding.var
        expected = parameters.get(name)
        if expected is None and check_types:
            errors.add(ErrorCode.VARIABLE_NAME_NOT_FOUND, node.id, f"there is no input {name!r} to bind")
        elif not binding.HasField("binding"):
            errors.add(ErrorCode.VALUE_REQUIRED, node.id, f"the binding of input {name!r} is empty")
        elif name in provided:
            errors.add(ErrorCode.PARAMETER_BOUND_MORE_THAN_ONCE, node.id, f"input {name!r} is bound more than once")
        else:
            provided.add(name)
            at = _Location(workflow, node, name, check_types, direction is Direction.UPSTREAM)
            bound = _validate(at, binding.binding, expected or types.none, errors)
            if bound is None:
                continue
            for provider in bound.providers:
                workflow.add_upstream(provider, node.id)
                if direction is Direction.BOTH:
                    workflow.add_downstream(provider, node.id)
            resolved[name] = bound.type or types.missing
    if len(provided) < len(parameters):
        for name, kind in parameters.items():
            if name not in provided and not kind.is_optional:
                errors.add(ErrorCode.PARAMETER_NOT_BOUND, node.id, f"input {name!r} of type {kind} is not bound")
    return resolved


class _Location(NamedTuple):
    """The location of a binding: the node and the input that it is for; and whether nothing else starts that node than
    its branch, or the failure of the workflow.
    """

    workflow: Workflow
    node: Node
    name: str
    check_types: bool
    is_inside: bool


def _validate(at: _Location, data: literals_pb2.BindingData, expected: Type, errors: Errors) -> _Bound | None:
    match data.WhichOneof("value"):
        case "promise":
            return _validate_promise(at, data.promise, expected, errors)
        case "scalar":
            return _validate_scalar(at, data.scalar, expected, errors)
        case _:
            return run(_validate_nested(at, data, expected, errors))


def _validate_nested(
    at: _Location, data: literals_pb2.BindingData, expected: Type, errors: Errors
) -> Trampoline[_Bound | None]:
    kind = data.WhichOneof("value")
    if kind in {"promise", "scalar"}:
        return _validate(at, data, expected, errors)
    if expected.kind == "union_type":
        found: _Bound | None = yield _validate_variants(at, data, expected, errors)
        return found
    if kind == "collection" and expected.kind == "collection_type":
        items: Iterable[literals_pb2.BindingData] = data.collection.bindings
    elif kind == "map" and expected.kind == "map_value_type":
        bindings = data.map.bindings
        items = [bindings[key] for key in bindings]
    else:
        errors.add(
            ErrorCode.MISMATCHING_BINDINGS,
            at.node.id,
            f"input {at.name!r} of type {expected} cannot be bound to {_KINDS.get(kind or '', kind)}",
        )
        return None
    assert expected.inner is not None
    before = errors.count
    inner: Type | None = None
    providers: list[str] = []
    for item in items:
        bound = yield _validate_nested(at, item, expected.inner, errors)
        if bound is not None:
            inner = bound.type
            providers.extend(bound.providers)
    if errors.count != before:
        return None
    types = at.workflow.compilation.types
    return _Bound(types.holder(expected.kind, inner or types.missing), tuple(providers))


_KINDS = {"": "nothing", "collection": "a list", "map": "a map", "offloaded_metadata": "an offloaded literal"}


def _validate_variants(
    at: _Location, data: literals_pb2.BindingData, expected: Type, errors: Errors
) -> Trampoline[_Bound | None]:
    """A list or map that is bound to a union must fit exactly one of its variants."""
    found: _Bound | None = None
    matching: Type | None = None
    for variant in expected.variants:
        bound = yield _validate_nested(at, data, variant, Errors())
        if bound is None:
            continue
        if found is not None:
            errors.add(
                ErrorCode.AMBIGUOUS_BINDING_UNION_VALUE,
                at.node.id,
                f"what is bound to input {at.name!r} fits two variants of {expected}: {matching} and {variant}",
            )
            return None
        found, matching = bound, variant
    if found is None:
        errors.add(
            ErrorCode.INCOMPATIBLE_BINDING_UNION_VALUE,
            at.node.id,
            f"what is bound to input {at.name!r} fits no variant of {expected}",
        )
    return found


def _validate_promise(
    at: _Location, promise: types_pb2.OutputReference, expected: Type, errors: Errors
) -> _Bound | None:
    workflow, node, name, check_types, is_inside = at
    provider_id = promise.node_id or START_NODE
    provider = workflow.nodes.get(provider_id)
    if provider is None:
        errors.add(ErrorCode.NODE_REFERENCE_NOT_FOUND, provider_id, f"there is no node {provider_id!r} to bind to")
        hint = f"; {DROPPED_CALL}" if is_inside else ""
        errors.add(ErrorCode.PARAMETER_NOT_BOUND, node.id, f"input {name!r} is bound to an unknown node{hint}")
        return None
    variable = promise.var
    parsed = _parse_variable(variable)
    if parsed is None:
        errors.add(
            ErrorCode.SYNTAX_ERROR,
            node.id,
            f"input {name!r} is bound to {variable!r}, which is no name of an output: write `name` or `[index].name`",
        )
        return None
    output, is_indexed = parsed
    outputs = outputs_of(provider, errors)
    given = outputs.get(output) if outputs is not None else None
    if given is None:
        if outputs is not None:
            errors.add(ErrorCode.VARIABLE_NAME_NOT_FOUND, provider.id, f"there is no output {output!r}")
        errors.add(ErrorCode.PARAMETER_NOT_BOUND, node.id, f"input {name!r} is bound to an output that is not there")
        return None
    source = given
    if is_indexed:
        if given.kind != "collection_type":
            _mismatch(at, provider, variable, given, expected, errors)
        else:
            source = given.inner or given
    for attribute in promise.attr_path:
        if source.inner is not None:
            source = source.inner
        elif source.fields:
            field = source.fields.get(attribute.string_value)
            if field is None:
                errors.add(
                    ErrorCode.FIELD_NOT_FOUND,
                    node.id,
                    f"input {name!r} is bound to field {attribute.string_value!r} of {variable!r}, which has only"
                    f" {', '.join(sorted(source.fields))}",
                )
                return None
            source = field
    if check_types and not workflow.compilation.types.castable(source, expected):
        _mismatch(at, provider, variable, source, expected, errors)
        return None
    if not promise.node_id:
        promise.node_id = START_NODE
    return _Bound(given, (provider_id,))


def _mismatch(at: _Location, provider: Node, variable: str, source: Type, expected: Type, errors: Errors) -> None:
    errors.add(
        ErrorCode.MISMATCHING_TYPES,
        at.node.id,
        f"input {at.name!r} of type {expected} is bound to output {variable!r} of {provider.id!r}, of type {source}",
    )


def _validate_scalar(at: _Location, scalar: literals_pb2.Scalar, expected: Type, errors: Errors) -> _Bound | None:
    workflow, node, name, check_types, _ = at
    types = workflow.compilation.types
    before = errors.count
    given = type_of_scalar(types, scalar)
    if given is None:
        errors.add(ErrorCode.UNRECOGNIZED_VALUE, node.id, f"input {name!r} is bound to a value of no known type")
    elif check_types and not types.castable(given, expected):
        message = f"input {name!r} of type {expected} is bound to a value of type {given}"
        errors.add(ErrorCode.MISMATCHING_TYPES, node.id, message)
    if expected.kind == "enum_type":
        value, values = scalar.primitive.string_value, expected.message.enum_type.values
        if value not in values:
            message = f"input {name!r} must be one of {', '.join(values)}, and is {value!r}"
            errors.add(ErrorCode.ILLEGAL_ENUM_VALUE, node.id, message)
    return _Bound(given, ()) if errors.count == before else None


@lru_cache(maxsize=4096)
def _parse_variable(text: str) -> tuple[str, bool] | None:
    """Return the output's name, and whether the binding refers to one of its items; None if it is neither."""
    matches = _VARIABLE.findall(text)
    if len(matches) != 1:
        return None
    index, name = matches[0]
    if index and int(index.lstrip("0")[:20] or "0") > _MAX_INDEX:
        return None
    return name, bool(index)
