"""Compile errors: Flyte's code, the node, and a sentence.

Guarantees
    Every error found is kept, once: `CompileErrors.errors` is sorted by code and node.
Source
    Codes and the node that each one names are Flyte's (flytepropeller/pkg/compiler/errors).
"""

from __future__ import annotations

import enum

import msgspec

from propeller.errors import Invalid

MAX_QUOTED = 3
"""Errors that a message of one line quotes; all of them are in `errors` and in `report`."""


class ErrorCode(enum.StrEnum):
    """Flyte's codes."""

    CYCLE_DETECTED = "CycleDetected"
    BRANCH_NODE_ID_NOT_FOUND = "BranchNodeIdNotFound"
    BRANCH_NODE_HAS_NO_CONDITION = "BranchNodeHasNoCondition"
    BRANCH_NODE_HAS_NO_DEFAULT = "BranchNodeHasNoDefault"
    VALUE_REQUIRED = "ValueRequired"
    INVALID_VALUE = "InvalidValue"
    NODE_REFERENCE_NOT_FOUND = "NodeReferenceNotFound"
    TASK_REFERENCE_NOT_FOUND = "TaskReferenceNotFound"
    WORKFLOW_REFERENCE_NOT_FOUND = "WorkflowReferenceNotFound"
    VARIABLE_NAME_NOT_FOUND = "VariableNameNotFound"
    DUPLICATE_ALIAS = "DuplicateAlias"
    DUPLICATE_ID = "DuplicateId"
    MISMATCHING_TYPES = "MismatchingTypes"
    MISMATCHING_BINDINGS = "MismatchingBindings"
    MISMATCHING_INTERFACES = "MismatchingInterfaces"
    INCONSISTENT_TYPES = "InconsistentTypes"
    PARAMETER_BOUND_MORE_THAN_ONCE = "ParameterBoundMoreThanOnce"
    PARAMETER_NOT_BOUND = "ParameterNotBound"
    NO_ENTRY_NODE_FOUND = "NoEntryNodeFound"
    UNREACHABLE_NODES = "UnreachableNodes"
    UNRECOGNIZED_VALUE = "UnrecognizedValue"
    WORKFLOW_BUILD_ERROR = "WorkflowBuildError"
    VALUE_COLLISION = "ValueCollision"
    SYNTAX_ERROR = "SyntaxError"
    NO_NODES_FOUND = "NoNodesFound"
    ILLEGAL_ENUM_VALUE = "IllegalEnumValue"
    AMBIGUOUS_BINDING_UNION_VALUE = "AmbiguousBindingUnionValue"
    INCOMPATIBLE_BINDING_UNION_VALUE = "IncompatibleBindingUnionValue"
    NO_CONDITION_FOUND = "NoConditionFound"
    FIELD_NOT_FOUND = "FieldNotFound"
    INVALID_LITERAL_TYPE = "InvalidLiteralType"


class CompileError(msgspec.Struct, frozen=True, order=True):
    """One error. `node_id` is "" if the error belongs to no node, `workflow` if it is not a sub-workflow's."""

    code: ErrorCode
    node_id: str
    message: str
    workflow: str = ""

    def __str__(self) -> str:
        where = [f"at {self.node_id}"] if self.node_id else []
        if self.workflow:
            where.append(f"of {self.workflow}" if where else f"in {self.workflow}")
        return " ".join([self.code, *where]) + f": {self.message}"


class CompileErrors(Invalid):
    """A workflow, task or set of inputs that is refused."""

    def __init__(self, errors: tuple[CompileError, ...]) -> None:
        self.errors = errors
        quoted = "; ".join(str(error) for error in errors[:MAX_QUOTED])
        more = f"; and {len(errors) - MAX_QUOTED} more" if len(errors) > MAX_QUOTED else ""
        super().__init__(f"the workflow does not compile: {quoted}{more}")

    def report(self) -> str:
        """Every error, one a line."""
        count = len(self.errors)
        return "\n".join([f"{count} error{'s' if count != 1 else ''}", *(f"  {error}" for error in self.errors)])


class Errors:
    """Collects errors. `count` grows with each, also with one seen before: a part of the compiler knows whether it
    added any by comparing it before and after.
    """

    __slots__ = ("_found", "count", "workflow")

    def __init__(self) -> None:
        self.count = 0
        self.workflow = ""  # name of the sub-workflow that is checked
        self._found: dict[CompileError, None] = {}

    def add(self, code: ErrorCode, node_id: str, message: str) -> None:
        self.count += 1
        self._found[CompileError(code, node_id, message, self.workflow)] = None

    def again(self) -> None:
        """Errors that are known already have been met once more."""
        self.count += 1

    def exception(self) -> CompileErrors:
        return CompileErrors(tuple(sorted(self._found)))

    def raise_if_any(self) -> None:
        if self.count:
            raise self.exception()
