"""Read the result of an attempt that exited 0: futures.pb, otherwise error.pb, otherwise outputs.pb (Flyte's order).

The documents are read past the cache: another process has just written them, possibly over those of an earlier
execution of the same name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from flyteidl.core import errors_pb2, execution_pb2, tasks_pb2

from propeller.errors import CorruptBlob, ErrorKind, Invalid, MissingBlob, TooLargeBlob
from propeller.handlers.executors._dynamic import plan_of_futures
from propeller.handlers.executors._gather import gather
from propeller.handlers.executors._launch_plans import LaunchPlans
from propeller.storage import Storage, in_thread_if_large
from propeller.text import NAME_CHARACTERS, bounded
from propeller.wire import Literals, parse
from propeller.workflow import (
    EffectFailed,
    Failure,
    FuturesFound,
    NodeView,
    NotRecovered,
    OutputsFound,
    Recover,
    Recovered,
)

MAX_ERROR_MESSAGES = 100
"""Messages in an error.pb, which has three."""

MAX_NAMED = 20
"""Outputs that a message names."""

_DOCUMENTS = ("futures.pb", "error.pb", "outputs.pb")

_Ending = OutputsFound | FuturesFound | EffectFailed


async def collect(node: NodeView, attempt: int, storage: Storage, launch_plans: LaunchPlans) -> _Ending:
    """Read the three documents concurrently, and return what they mean together."""
    directory = node.execution.output_directory(node.number, attempt)
    try:
        futures, error, outputs = await _read_all(storage, directory)
    except TooLargeBlob as problem:
        return EffectFailed(attempt, Failure("OutputSizeExceeded", str(problem)))
    except CorruptBlob as problem:  # no regular file
        return EffectFailed(attempt, Failure("CorruptData", str(problem), recoverable=True))
    task = node.graph.plan.task(node.spec.task)
    if futures is not None:
        return await _futures(node, attempt, task, futures, storage.settings.max_messages, launch_plans)
    if error is not None:
        return EffectFailed(attempt, await in_thread_if_large(len(error), _error, error, f"{directory}/error.pb"))
    return outputs_found(attempt, task.interface.outputs.variables, outputs, f"{directory}/outputs.pb")


async def recover(
    node: NodeView, effect: Recover, declared: Collection[str], storage: Storage
) -> Recovered | NotRecovered:
    """Copy the outputs that an earlier execution left; `declared` are their names. Raises StorageError."""
    if not declared:
        return Recovered(effect.attempt)
    try:
        outputs = await storage.read(f"{effect.source}/outputs.pb", fresh=True)
    except (MissingBlob, CorruptBlob):
        return NotRecovered(effect.attempt)
    if not isinstance(outputs_found(effect.attempt, declared, outputs, effect.source), OutputsFound):
        return NotRecovered(effect.attempt)
    await storage.write(f"{node.execution.output_directory(node.number, effect.attempt)}/outputs.pb", outputs)
    return Recovered(effect.attempt)


async def has_ended(directory: str, storage: Storage) -> bool:
    """Whether an attempt with this output directory has left one of the documents. Raises StorageError."""
    try:
        found = await _read_all(storage, directory)
    except CorruptBlob:
        return True
    return any(data is not None for data in found)


async def _read_all(storage: Storage, directory: str) -> list[bytes | None]:
    reads = (storage.find(f"{directory}/{name}") for name in _DOCUMENTS)
    return await gather(reads, in_sequence=storage.is_local(directory))


async def _futures(
    node: NodeView, attempt: int, task: tasks_pb2.TaskTemplate, data: bytes, most: int, launch_plans: LaunchPlans
) -> FuturesFound | EffectFailed:
    await asyncio.sleep(0)  # who cannot wait turns back here, before a thread has begun
    try:
        plan = await plan_of_futures(node, task, data, most, launch_plans)
    except CorruptBlob as error:
        return EffectFailed(attempt, _corrupt(error))
    except Invalid as error:
        return EffectFailed(attempt, Failure("DynamicWorkflowBuildFailed", str(error)))
    return FuturesFound(attempt, plan.root)


def _error(data: bytes, uri: str) -> Failure:
    try:
        document = parse(errors_pb2.ErrorDocument, data, MAX_ERROR_MESSAGES, "error.pb")
    except CorruptBlob as error:
        return _corrupt(error)
    if not document.HasField("error"):
        return Failure("ErrorFileBadFormat", f"{uri} holds no error", ErrorKind.SYSTEM, recoverable=True)
    left = document.error
    system = left.origin == execution_pb2.ExecutionError.SYSTEM
    return Failure(
        bounded(left.code or "Unknown", NAME_CHARACTERS),
        bounded(left.message),
        ErrorKind.SYSTEM if system else ErrorKind.USER,
        recoverable=left.kind == errors_pb2.ContainerError.RECOVERABLE,
    )


def declared_outputs(node: NodeView) -> Collection[str]:
    """Names of the outputs of a task, or of a gate."""
    gate = node.spec.gate
    if gate is None:
        return node.graph.plan.task(node.spec.task).interface.outputs.variables.keys()
    if gate.signal is not None:
        return {gate.signal.output_variable_name}
    return {binding.var for binding in node.graph.bindings(node.graph_index)}


def outputs_found(attempt: int, declared: Collection[str], data: bytes | None, uri: str) -> OutputsFound | EffectFailed:
    """Check that a document has the outputs of these names."""
    if not declared:
        return OutputsFound(attempt)
    if data is None:
        message = f"the task ended well, but wrote no outputs to {uri}"
        return EffectFailed(attempt, Failure("OutputsNotFound", message, recoverable=True))
    try:
        found = Literals(data).raw.keys()
    except CorruptBlob as error:
        return EffectFailed(
            attempt, _corrupt(f"outputs.pb ({len(data)} bytes) is not a flyteidl.core.LiteralMap: {error}")
        )
    if missing := sorted(set(declared) - found):
        message = f"{uri} lacks the outputs {missing}; it has {_some(sorted(found))}"
        return EffectFailed(attempt, Failure("OutputsNotFound", message, recoverable=True))
    return OutputsFound(attempt)


def _some(names: list[str]) -> str:
    """Format names for a message, bounded in number and length."""
    shown = [bounded(name, NAME_CHARACTERS) for name in names[:MAX_NAMED]]
    return f"{shown}" + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")


def _corrupt(reason: CorruptBlob | str) -> Failure:
    return Failure("CorruptData", f"{reason}: the task wrote garbage", recoverable=True)
