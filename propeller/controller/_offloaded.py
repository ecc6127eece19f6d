"""A workflow's closure that was offloaded to the object store, where `workflowClosureReference` says.

It is a message of FlyteAdmin's, or the static part of a resource as JSON, which several executions of a launch plan
share (`handlers.ChildClosures`).
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
import orjson
from flyteidl.admin import workflow_pb2
from flyteidl.core import compiler_pb2
from google.protobuf.message import Message

from propeller.compiler import build_resource
from propeller.decoding import UNDECODABLE
from propeller.errors import CorruptBlob, LostBlob, MissingBlob
from propeller.storage import Storage, in_thread_if_large
from propeller.wire import TooManyMessages, parse
from propeller.workflow import is_content_of, is_shared_closure

M = TypeVar("M", bound=Message)

_FIELD = "workflowClosureReference"
_AGAIN = "recover or relaunch the execution that has started this one: that stores it again"


async def read_offloaded_closure(storage: Storage, uri: str) -> bytes:
    """Return the static part of the resource as JSON, for `parse_plan`. Raises Invalid, StorageError, MissingBlob,
    CorruptBlob; LostBlob if somebody has removed or changed one that executions share.
    """
    storage.require_readable(uri, _FIELD)
    most = storage.settings.max_messages
    if not is_shared_closure(uri):
        return await asyncio.to_thread(closure_of_message, await storage.read(uri), uri, most)
    try:
        data = await storage.read(uri)
    except MissingBlob as error:
        raise LostBlob(f"{_FIELD}: somebody has removed {uri}: {_AGAIN}") from error
    await in_thread_if_large(len(data), _check, uri, data, most)
    return data


def mean_the_same(one: bytes, other: bytes) -> bool:
    """Whether two closures are equal as JSON. CPU-bound, for a thread."""
    try:
        return bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except UNDECODABLE:
        return False


def _check(uri: str, data: bytes, most: int) -> None:
    """Raise LostBlob unless this is what was stored, CorruptBlob if it is too much to be decoded."""
    if not is_content_of(uri, data):
        raise LostBlob(f"{_FIELD}: somebody has changed {uri}, which is not what its name says: {_AGAIN}")
    if (objects := data.count(b"{")) > most:
        raise CorruptBlob(f"{uri} holds {objects} JSON objects, and may hold {most} (storage.max_messages)")


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
