"""Echo tasks: their inputs are their outputs."""

from __future__ import annotations

import pytest
from flyteidl.core import literals_pb2, tasks_pb2, types_pb2

from propeller.errors import Invalid
from propeller.handlers.executors._echo import echoed, is_echo
from propeller.wire import Literals


def echo_task(**types: types_pb2.SimpleType) -> tasks_pb2.TaskTemplate:
    task = tasks_pb2.TaskTemplate(type="echo")
    for number, (name, simple) in enumerate(types.items()):
        task.interface.inputs.variables[name].type.simple = simple
        task.interface.outputs.variables[f"o{number}"].type.simple = simple
    return task


def values(**numbers: int) -> Literals:
    literals = literals_pb2.LiteralMap()
    for name, number in numbers.items():
        literals.literals[name].scalar.primitive.integer = number
    return Literals(literals.SerializeToString())


def test_inputs_become_the_outputs_of_their_types() -> None:
    task = echo_task(x=types_pb2.INTEGER, flag=types_pb2.BOOLEAN)
    outputs = literals_pb2.LiteralMap.FromString(echoed(task, values(x=1, flag=2)).encode().require(1000, "").tobytes())
    assert {name: outputs.literals[name].scalar.primitive.integer for name in outputs.literals} == {"o0": 1, "o1": 2}


def test_inputs_of_one_type_are_not_guessed_at() -> None:
    with pytest.raises(Invalid, match="2 inputs have the type of output 'o0'"):
        echoed(echo_task(x=types_pb2.INTEGER, y=types_pb2.INTEGER), values(x=1, y=2))


def test_a_task_of_that_type_with_a_container_is_a_pod() -> None:
    assert is_echo(echo_task(x=types_pb2.INTEGER))
    assert not is_echo(tasks_pb2.TaskTemplate(type="echo", container=tasks_pb2.Container(image="i")))
