"""Compare the interface that a file declares for a registered entity with the registered one.

Flyte compares bindings alone: it accepts a declaration that says more than nodes use, and the execution fails later.
"""

from __future__ import annotations

from collections.abc import Collection

from flyteidl.core import interface_pb2

from propeller.compiler._types import Type, Types
from propeller.text import bounded

_MAX_INTERFACE_CHARACTERS = 600


def find_interface_fault(
    declared: interface_pb2.TypedInterface, registered: interface_pb2.TypedInterface, optional: Collection[str] = ()
) -> str:
    """Return what is wrong with a declared interface, with both; "" if every call by it fits the registered one.

    Inputs in `optional` have values of their own, so that a caller need not know them.
    """
    types = Types()
    wanted, known = _variables(types, declared.inputs), _variables(types, registered.inputs)
    faults = [f"input {name!r} is not there" for name in wanted if name not in known and name not in optional]
    faults += [
        f"input {name!r} is {kind} here, and {known[name]} there"
        for name, kind in wanted.items()
        if name in known and not types.castable(kind, known[name])
    ]
    faults += [
        f"input {name!r} is needed there, and not declared here"
        for name, kind in known.items()
        if name not in wanted and name not in optional and not kind.is_optional
    ]
    promised, given = _variables(types, declared.outputs), _variables(types, registered.outputs)
    faults += [f"output {name!r} is not there" for name in promised if name not in given]
    faults += [
        f"output {name!r} is {kind} here, and {given[name]} there"
        for name, kind in promised.items()
        if name in given and not types.castable(given[name], kind)
    ]
    if not faults:
        return ""
    both = f"declared here: {_shown(wanted, promised)}; registered: {_shown(known, given)}"
    return f"{bounded('; '.join(faults), _MAX_INTERFACE_CHARACTERS)} ({both})"


def _variables(types: Types, message: interface_pb2.VariableMap) -> dict[str, Type]:
    return {name: types.of(variable.type) for name, variable in sorted(message.variables.items())}


def _shown(inputs: dict[str, Type], outputs: dict[str, Type]) -> str:
    sides = (", ".join(f"{name}: {kind}" for name, kind in side.items()) for side in (inputs, outputs))
    given, returned = (bounded(side, _MAX_INTERFACE_CHARACTERS) for side in sides)
    return f"({given}) -> ({returned})"
