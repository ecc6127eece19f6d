"""Run echo tasks (flytekit's `Echo`) without a pod: their inputs are their outputs (flyteplugins testing/echo.go)."""

from __future__ import annotations

from flyteidl.core import tasks_pb2

from propeller.errors import Invalid
from propeller.wire import Literals

ECHO = "echo"


def is_echo(task: tasks_pb2.TaskTemplate) -> bool:
    return task.type == ECHO and task.WhichOneof("target") is None


def echoed(task: tasks_pb2.TaskTemplate, inputs: Literals) -> Literals:
    """Return the outputs. Raises Invalid if it is ambiguous which input an output is: FlytePropeller takes a single
    input, propeller tells several apart by type.
    """
    names = {output: _input_of(task, output) for output in sorted(task.interface.outputs.variables)}
    if len(names) != len(task.interface.inputs.variables):
        raise Invalid(f"echo task {task.id.name} has not as many outputs as inputs")
    return Literals({output: inputs.raw[name] for output, name in names.items() if name in inputs.raw})


def _input_of(task: tasks_pb2.TaskTemplate, output: str) -> str:
    wanted = task.interface.outputs.variables[output].type
    found = [name for name, variable in task.interface.inputs.variables.items() if variable.type == wanted]
    if len(found) != 1:
        raise Invalid(
            f"echo task {task.id.name}: {len(found)} inputs have the type of output {output!r}, so that it is not "
            "clear which one it is: give each of its inputs a type of its own, or use one echo task for each"
        )
    return found[0]
