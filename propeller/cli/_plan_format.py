"""Bindings and conditions in a line each, for people."""

from __future__ import annotations

from typing import Any

import msgspec
from flyteidl.core import condition_pb2

from propeller.compiler import to_json
from propeller.workflow import decode_bindings, parse_message

MAX_ITEMS = 4
"""Items shown of a bound list."""

MAX_DEPTH = 3
"""Of lists in lists that are bound."""

MAX_CHARACTERS = 40
"""Characters shown of a literal."""

_OPERATORS = {"EQ": "==", "NEQ": "!=", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}


def binding_text(raw: msgspec.Raw) -> list[tuple[str, str, set[str]]]:
    """Return, for each binding, the input, its value, and the nodes that it depends on."""
    found = []
    for message in decode_bindings(raw):
        binding = to_json(message)
        data = binding.get("binding", {})
        found.append((str(binding.get("var", "")).lstrip("."), _data_text(data, MAX_DEPTH), _providers(data)))
    return found


def condition_text(raw: msgspec.Raw) -> str:
    """`x > 3 and n0.o0 == "red"`."""
    parts: list[str] = []
    condition = _condition(raw)
    stack: list[Any] = [condition]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            parts.append(part)
        elif "conjunction" in part:
            both = part["conjunction"]
            word = " or " if both.get("operator") == "OR" else " and "
            stack += [")", both.get("rightExpression", {}), word, both.get("leftExpression", {}), "("]
        else:
            comparison = part.get("comparison", {})
            operator = _OPERATORS.get(comparison.get("operator", "EQ"), "?")
            left, right = (_operand_text(comparison.get(side, {})) for side in ("leftValue", "rightValue"))
            parts.append(f"{left} {operator} {right}")
    text = "".join(parts)
    return text[1:-1] if "conjunction" in condition else text


def _condition(raw: msgspec.Raw) -> dict[str, Any]:
    return to_json(parse_message(bytes(raw), condition_pb2.BooleanExpression(), "a branch's condition"))


def _operand_text(operand: dict[str, Any]) -> str:
    if "var" in operand:
        return str(operand["var"]).lstrip(".")
    return _literal_text(operand.get("primitive", operand.get("scalar", {})))


def _data_text(data: dict[str, Any], depth: int) -> str:
    """Calls itself to `depth` at most."""
    if "promise" in data:
        promise = data["promise"]
        path = "".join(f".{step.get('stringValue', step.get('intValue', ''))}" for step in promise.get("attrPath", ()))
        return f"{_provider(promise)}.{promise.get('var', '')}{path}"
    if "collection" in data or "map" in data:
        if not depth:
            return "..."
        items = data.get("collection", {}).get("bindings", [])
        if "map" in data:
            named = data["map"].get("bindings", {})
            words = [f"{key}: {_data_text(named[key], depth - 1)}" for key in list(named)[:MAX_ITEMS]]
            return "{" + ", ".join(words + _more(len(named))) + "}"
        words = [_data_text(item, depth - 1) for item in items[:MAX_ITEMS]]
        return "[" + ", ".join(words + _more(len(items))) + "]"
    return _literal_text(data.get("scalar", {}))


def _more(count: int) -> list[str]:
    return [f"and {count - MAX_ITEMS} more"] if count > MAX_ITEMS else []


def _provider(promise: dict[str, Any]) -> str:
    node_id = str(promise.get("nodeId", ""))
    return "inputs" if node_id in {"", "start-node"} else node_id


def _providers(data: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    stack = [data]
    while stack:
        part = stack.pop()
        if "promise" in part:
            found.add(_provider(part["promise"]))
        stack.extend(part.get("collection", {}).get("bindings", ()))
        stack.extend(part.get("map", {}).get("bindings", {}).values())
    return found


def _literal_text(value: Any) -> str:
    while isinstance(value, dict) and len(value) == 1:
        (kind,) = value
        if kind == "noneType":
            return "none"
        value = value[kind]
        if kind == "union" and isinstance(value, dict):
            value = value.get("value", {})
        if kind == "stringValue":
            value = f'"{value}"'
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 3]}..."
