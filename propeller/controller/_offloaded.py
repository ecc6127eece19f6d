"""A workflow's closure that was offloaded to the object store: the message that `workflowClosureReference` names."""

from __future__ import annotations

from typing import TypeVar

import orjson
from flyteidl.admin import workflow_pb2
from flyteidl.core import compiler_pb2
from google.protobuf.message import Message

from propeller.compiler import build_resource
from propeller.errors import CorruptBlob
from propeller.wire import TooManyMessages, parse

M = TypeVar("M", bound=Message)


def closure_of_message(data: bytes, uri: str, most: int) -> bytes:
    """The static part of the resource as JSON, for `parse_plan`. CPU-bound, for a thread.

    FlyteAdmin stores a flyteidl.admin.WorkflowClosure; a bare flyteidl.core.CompiledWorkflowClosure is read as well.
    Raises CorruptBlob for neither, and for one that holds more than `most` messages; CompileErrors for a workflow that
    has no resource.
    """
    closure = _of_admin(data, most, uri) or _bare(data, most, uri)
    if closure is None:
        raise CorruptBlob(
            f"{uri} is neither a flyteidl.admin.WorkflowClosure nor a flyteidl.core.CompiledWorkflowClosure of a "
            "workflow that has an id: register the workflow again, or mend workflowClosureReference"
        )
    resource = build_resource(closure, None, None, "")
    parts = {key: resource[key] for key in ("spec", "tasks", "subWorkflows") if key in resource}
    return orjson.dumps(
        parts, option=orjson.OPT_SORT_KEYS
    )  # maps of messages come in any order, and a plan has one digest


def _of_admin(data: bytes, most: int, uri: str) -> compiler_pb2.CompiledWorkflowClosure | None:
    closure = _parsed(workflow_pb2.WorkflowClosure, data, most, uri)
    return _identified(closure.compiled_workflow) if closure is not None else None


def _bare(data: bytes, most: int, uri: str) -> compiler_pb2.CompiledWorkflowClosure | None:
    closure = _parsed(compiler_pb2.CompiledWorkflowClosure, data, most, uri)
    return _identified(closure) if closure is not None else None


def _parsed(kind: type[M], data: bytes, most: int, uri: str) -> M | None:
    """The message; None if it is of another kind."""
    try:
        return parse(kind, data, most, uri, "storage.max_messages")
    except TooManyMessages:
        raise
    except CorruptBlob:
        return None


def _identified(closure: compiler_pb2.CompiledWorkflowClosure) -> compiler_pb2.CompiledWorkflowClosure | None:
    """The closure if its workflow has an id with a name.

    The id tells the two messages apart. A bare closure that is read as FlyteAdmin's has the bytes of an Identifier in
    the place of its template, and an Identifier's field 1 is a number, which no template's id can be. A closure of
    FlyteAdmin's that is read as a bare one has the fields of a template in the place of its id.
    """
    return closure if closure.primary.template.HasField("id") and closure.primary.template.id.name else None
