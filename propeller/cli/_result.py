"""How a run ended, for people and for programs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from flyteidl.core import literals_pb2
from rich.text import Text

from propeller.cli._console import console_on
from propeller.cli._exit_codes import SUCCEEDED, WORKFLOW_FAILED
from propeller.cli._output import say_json
from propeller.cli._traces import is_folded, readable
from propeller.cli._values import to_json
from propeller.storage import Storage, read_literals
from propeller.text import one_line, visible
from propeller.workflow import Execution, Failure, WorkflowPhase


async def report_end(
    execution: Execution, storage: Storage, *, as_json: bool, logs: Path, full_traceback: bool = False
) -> int:
    """Print outputs or the failure, and how to see the logs that are kept in `logs`; returns the exit code."""
    if execution.phase is WorkflowPhase.SUCCEEDED:
        _print_outputs(await outputs_of(execution, storage), as_json=as_json)
        return SUCCEEDED
    failure = execution.failure or Failure("Unknown", "the execution ended without saying why")
    if as_json:
        say_json({"error": error_json(execution, failure)})
    else:
        log = logs / f"{failed_pod(execution, failure)}.log"
        show = shlex.join(["cat", str(log)]) if log.exists() else ""
        print_failure(execution, failure, full_traceback=full_traceback, logs=show)
    return WORKFLOW_FAILED


async def outputs_of(execution: Execution, storage: Storage) -> dict[str, Any]:
    """Return the outputs of a succeeded execution. Raises what storage raises."""
    return to_json(await output_literals(execution, storage))


async def output_literals(execution: Execution, storage: Storage) -> literals_pb2.LiteralMap:
    """As `outputs_of`, with the literals themselves."""
    root = execution.frames[0]
    end = root.graph.end
    if end is None or not root.graph.nodes[end].input_bindings:
        return literals_pb2.LiteralMap()
    return await read_literals(storage, execution.frame_outputs_uri(root))


def error_json(execution: Execution, failure: Failure) -> dict[str, Any]:
    return {
        "code": failure.code,
        "kind": str(failure.kind),
        "message": failure.message,
        "node": failure.node or None,
        "task": task_name(execution, failure.node) or None,
        "attempt": failure.attempt + 1,
    }


def task_name(execution: Execution, unique_id: str) -> str:
    """Return the author's name for what the node runs; "" if the node is unknown."""
    node = _number_of(execution, unique_id)
    if node is None:
        return ""
    view = execution.view(node)
    spec = view.spec if not view.frame.items else execution.view(view.frame.parent).spec
    return spec.name or spec.id


def _number_of(execution: Execution, unique_id: str) -> int | None:
    return next((node for node in execution.user_nodes() if execution.unique_id(node) == unique_id), None)


def _print_outputs(outputs: dict[str, Any], *, as_json: bool) -> None:
    say_json(outputs, indented=not as_json and sys.stdout.isatty())


WITHOUT_POD = frozenset(
    {"BadTaskFormat", "BindingResolutionFailure", "EagerNeedsFlyteAdmin", "EntityTooLarge", "FailedToBuildResource"}
)
"""Codes of attempts that fail before their pod is created."""


def failed_pod(execution: Execution, failure: Failure) -> str:
    """The name of the pod whose attempt has failed the execution; "" if none has."""
    number = _number_of(execution, failure.node)
    if number is None or failure.code in WITHOUT_POD or not execution.view(number).spec.task:
        return ""
    return execution.pod_name(number, failure.attempt)


def failed_child(execution: Execution, failure: Failure) -> str:
    """The name of the launch plan's execution that has failed this one; "" if none has."""
    number = _number_of(execution, failure.node)
    if number is None or execution.view(number).spec.launch_plan is None:
        return ""
    return execution.pod_name(number, failure.attempt)


def print_failure(
    execution: Execution, failure: Failure, *, full_traceback: bool = False, logs: str = "", inside: str = ""
) -> None:
    """Print the failed task, the reason, and the commands that show the `logs`, or the execution `inside` that has
    failed, on standard error.
    """
    console = console_on(sys.stderr)
    word = "aborted" if execution.phase is WorkflowPhase.ABORTED else "failed"
    where = ""
    if failure.node:
        name = task_name(execution, failure.node)
        where = f" at node {failure.node}{f' ({name})' if name else ''}, attempt {failure.attempt + 1}"
    workflow = execution.plan.root.id.rpartition(":")[2]
    console.print(Text.assemble(("✘ ", "bold red"), one_line(f"{workflow} {word}{where}"), style="bold"))
    console.print(Text(one_line(f"{failure.kind} {failure.code}"), style="red"))
    console.print(Text(visible(readable(failure.message, whole=full_traceback))))
    if is_folded(failure.message) and not full_traceback:
        console.print(Text("all frames: the same with --full-traceback", style="dim"))
    if logs:
        console.print(Text(one_line(f"logs: {logs}"), style="dim"))
    if inside:
        console.print(Text(one_line(f"inside: {inside}"), style="dim"))
