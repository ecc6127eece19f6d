"""Run a worker in the user's interpreter to read a file of workflows: flytekit is imported there, never here.

Errors
    Invalid for everything that is wrong with the file, the name or an input, with how to mend it; the part of a
    traceback that lies in the user's code is in `ImportFailed.detail`.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2

from propeller.cli._versioned import Versioned
from propeller.errors import Invalid

WORKER = Path(__file__).with_name("_worker.py")
LAPTOP = Path(__file__).with_name("_laptop.py")
"""The module that tasks of a local run preload."""


LAST_SECONDS = 5.0
"""After its time limit, in which the worker says where it is."""


class FileFailed(Invalid):
    """The user's file could not be imported or serialized; `detail` is the traceback within it."""

    def __init__(self, message: str, detail: str) -> None:
        super().__init__(message)
        self.detail = detail


class Entity(msgspec.Struct, frozen=True, array_like=True):
    """Something in a file that can be run: `kind` is workflow, task or launch plan."""

    name: str
    kind: str
    text: str


class Parameter(msgspec.Struct, frozen=True):
    """One input, as people see it."""

    name: str
    type: str
    required: bool
    default: str
    description: str
    choices: tuple[str, ...] = ()


class Reference(msgspec.Struct, frozen=True):
    """A registered entity that a file refers to, and the interface that the file declares for it."""

    id: identifier_pb2.Identifier
    interface: interface_pb2.TypedInterface


class Serialized(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow with everything that it uses, as flytekit wrote it, and its inputs."""

    name: str
    kind: str
    workflow: workflow_pb2.WorkflowSpec
    tasks: tuple[task_pb2.TaskSpec, ...]
    launch_plans: tuple[launch_plan_pb2.LaunchPlan, ...]
    workflows: tuple[workflow_pb2.WorkflowSpec, ...] = ()
    """Those that its launch plans start."""
    references: tuple[Reference, ...] = ()
    parameters: tuple[Parameter, ...]
    inputs: literals_pb2.LiteralMap

    @property
    def missing(self) -> tuple[Parameter, ...]:
        """Parameters that have neither a default nor a value."""
        return tuple(p for p in self.parameters if p.required and p.name not in self.inputs.literals)


class _Error(msgspec.Struct, frozen=True):
    what: str
    message: str
    detail: str = ""


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    error: _Error | None = None
    entities: tuple[Entity, ...] = ()
    name: str = ""
    kind: str = ""
    workflow: str = ""
    workflows: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    launch_plans: tuple[str, ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    inputs: str = ""


def interpreter(chosen: str = "") -> str:
    """The Python that has flytekit: the one named, else ours, else that of the active environment or the PATH."""
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise Invalid(f"--python {chosen}: there is no such interpreter")
        return os.path.abspath(found)  # noqa: PTH100 - an environment's python is a link, and must stay one
    if importlib.util.find_spec("flytekit") is not None:
        return sys.executable
    active = os.environ.get("VIRTUAL_ENV")
    return str(Path(active, "bin", "python")) if active else shutil.which("python3") or sys.executable


def root_of(file: Path) -> Path:
    """The directory from which the file's module is imported: above its topmost package."""
    root = file.parent
    while (root / "__init__.py").exists():
        root = root.parent
    return root


async def list_entities(python: str, file: Path, *, limit: int = 0) -> tuple[Entity, ...]:
    """List the entities of the file that can be run, in `limit` seconds; 0 is no limit. Raises Invalid."""
    return (await _ask(python, file, "", (), Versioned(), "", limit=limit)).entities


async def serialize(
    python: str,
    file: Path,
    entity: str,
    words: Sequence[str],
    versioned: Versioned,
    raw_output_prefix: str,
    *,
    options: Sequence[str] = (),
    values: Mapping[str, str] | None = None,
    limit: int = 0,
) -> Serialized:
    """Serialize one entity, and convert the arguments for its inputs to literals, in `limit` seconds; 0 is no limit.

    `values` are texts of inputs that `words` do not give. `options` are propeller's options among the arguments: one
    that is also the name of an input is refused. Raises Invalid.
    """
    answer = await _ask(
        python, file, entity, words, versioned, raw_output_prefix, options=options, values=values, limit=limit
    )
    return Serialized(
        name=answer.name,
        kind=answer.kind,
        workflow=_message(workflow_pb2.WorkflowSpec, answer.workflow),
        tasks=tuple(_message(task_pb2.TaskSpec, text) for text in answer.tasks),
        launch_plans=tuple(_message(launch_plan_pb2.LaunchPlan, text) for text in answer.launch_plans),
        workflows=tuple(_message(workflow_pb2.WorkflowSpec, text) for text in answer.workflows),
        references=tuple(
            Reference(_message(identifier_pb2.Identifier, one), _message(interface_pb2.TypedInterface, interface))
            for one, interface in answer.references
        ),
        parameters=answer.parameters,
        inputs=_message(literals_pb2.LiteralMap, answer.inputs),
    )


async def _ask(
    python: str,
    file: Path,
    entity: str,
    words: Sequence[str],
    versioned: Versioned,
    raw_output_prefix: str,
    *,
    options: Sequence[str] = (),
    values: Mapping[str, str] | None = None,
    limit: int = 0,
) -> _Answer:
    if not file.is_file():
        raise Invalid(f"{file}: there is no such file")
    if file.suffix != ".py":
        raise Invalid(f"{file} is not a Python file: its name must end with .py")
    with tempfile.TemporaryDirectory(prefix="propeller-") as directory:
        path = Path(directory, "answer.json")
        request = {
            "answer": str(path),
            "file": str(file.resolve()),
            "entity": entity,
            "words": list(words),
            "options": list(options),
            "values": dict(values or {}),
            "raw_output_prefix": raw_output_prefix,
            "limit": limit,
            **msgspec.structs.asdict(versioned),
        }
        try:
            async with asyncio.timeout(limit + LAST_SECONDS if limit else None):
                await _run(python, msgspec.json.encode(request))
        except TimeoutError:
            raise _refusal(_Error("time", ""), python, file, limit) from None
        if not path.exists():
            raise Invalid(f"{python} ended without an answer about {file}: is it a Python with flytekit?")
        answer = msgspec.json.decode(path.read_bytes(), type=_Answer)
    if answer.error is not None:
        raise _refusal(answer.error, python, file, limit)
    return answer


async def _run(python: str, request: bytes) -> None:
    """Run the worker to its end. Output of the user's module goes to standard error."""
    try:
        process = await asyncio.create_subprocess_exec(python, str(WORKER), stdin=asyncio.subprocess.PIPE, stdout=2)
    except OSError as error:
        raise Invalid(f"{python} cannot be started: {error.strerror}") from error
    try:
        await process.communicate(request)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _refusal(error: _Error, python: str, file: Path, limit: int) -> Invalid:
    match error.what:
        case "flytekit":
            return Invalid(
                f"{error.message}. Install it there ({python} -m pip install flytekit), or name another interpreter "
                "with --python"
            )
        case "import":
            return FileFailed(f"{file} cannot be imported: {error.message}", error.detail)
        case "time":
            at = f" (it is at {error.message})" if error.message else ""
            return FileFailed(
                f"{file}: flytekit has not read it after {limit} s{at}. What takes long, or waits, belongs into a "
                "task; --timeout SECONDS gives it more time, 0 any",
                error.detail,
            )
        case "serialize":
            return FileFailed(f"{file}: flytekit cannot serialize this: {error.message}", error.detail)
        case _:
            return Invalid(f"{file}: {error.message}")


def _message(type_: Any, text: str) -> Any:
    return type_.FromString(base64.b64decode(text))
