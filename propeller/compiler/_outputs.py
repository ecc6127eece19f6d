"""Outputs of a node under their aliases."""

from __future__ import annotations

from propeller.compiler._errors import ErrorCode, Errors
from propeller.compiler._scope import Node
from propeller.compiler._types import Type


def outputs_of(node: Node, errors: Errors) -> dict[str, Type] | None:
    """Return the outputs that other nodes may bind to; an alias replaces the name. Empty if the node's interface is
    unknown, None if the aliases are wrong, which is reported each time.
    """
    if node.interface is None:
        outputs, faults = _apply_aliases(node)
    else:
        if node.outputs is None:
            node.outputs, node.faults = _apply_aliases(node)
        outputs, faults = node.outputs, node.faults
    for code, message in faults:
        errors.add(code, node.id, message)
    return None if faults else outputs


def _apply_aliases(node: Node) -> tuple[dict[str, Type], tuple[tuple[ErrorCode, str], ...]]:
    outputs = node.interface.outputs if node.interface is not None else {}
    if not node.core.output_aliases:
        return outputs, ()
    faults: list[tuple[ErrorCode, str]] = []
    aliases: dict[str, str] = {}
    for alias in node.core.output_aliases:
        if alias.var in aliases:
            faults.append((ErrorCode.DUPLICATE_ALIAS, f"output {alias.var!r} has a second alias, {alias.alias!r}"))
        else:
            aliases[alias.var] = alias.alias
    if node.interface is None:
        return {}, tuple(faults)
    named = {aliases.pop(name, name): kind for name, kind in outputs.items()}
    faults += [
        (ErrorCode.PARAMETER_NOT_BOUND, f"alias {alias!r} is for output {name!r}, which the node does not have")
        for name, alias in aliases.items()
    ]
    return named, tuple(faults)
