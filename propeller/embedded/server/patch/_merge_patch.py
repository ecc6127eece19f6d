"""Patches without a schema: JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

Guarantees
    The document is not changed; unchanged parts are shared with the result.
"""

from __future__ import annotations

import copy
from typing import Any

MAX_OPERATIONS = 10_000
"""kube-apiserver's limit for one JSON patch."""


class DoesNotApply(Exception):
    """The document lacks something that the patch needs; the text says what."""


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(document: Any, operations: list[Any]) -> Any:
    """RFC 6902: all operations in order, or DoesNotApply."""
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise DoesNotApply(f"{operation!r} is no operation with a path")
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    path = _tokens(operation["path"])
    match operation.get("op"):
        case "add":
            return _add(document, path, _value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _value(operation) if not path else _add(_remove(document, path), path, _value(operation))
        case "move":
            source = _tokens(operation.get("from", ""))
            if path[: len(source)] == source and path != source:
                raise DoesNotApply("a value cannot be moved into itself")
            moved = _get(document, source)
            return _add(_remove(document, source), path, moved)
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, _tokens(operation.get("from", "")))))
        case "test":
            if not _same(_get(document, path), _value(operation)):
                raise DoesNotApply(f"testing path {operation['path']} failed")
            return document
        case other:
            raise DoesNotApply(f"unexpected kind: {other}")


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise DoesNotApply(f"{operation.get('op')} needs a value")
    return operation["value"]


def _tokens(pointer: Any) -> tuple[str, ...]:
    """The parts of a JSON pointer (RFC 6901)."""
    if pointer == "":
        return ()
    if not isinstance(pointer, str) or not pointer.startswith("/"):
        raise DoesNotApply(f"{pointer!r} is no JSON pointer")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def _get(value: Any, path: tuple[str, ...]) -> Any:
    for token in path:
        match value:
            case dict() if token in value:
                value = value[token]
            case list():
                value = value[_index(token, len(value) - 1)]
            case _:
                raise DoesNotApply(f"there is nothing at {token!r}")
    return value


def _add(document: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    head, *rest = path
    match document:
        case dict():
            if rest and head not in document:
                raise DoesNotApply(f"there is nothing at {head!r}")
            return {**document, head: _add(document[head], tuple(rest), value) if rest else value}
        case list():
            if rest:
                index = _index(head, len(document) - 1)
                return [*document[:index], _add(document[index], tuple(rest), value), *document[index + 1 :]]
            index = len(document) if head == "-" else _index(head, len(document))
            return [*document[:index], value, *document[index:]]
        case _:
            raise DoesNotApply(f"there is nothing that could hold {head!r}")


def _remove(document: Any, path: tuple[str, ...]) -> Any:
    if not path:
        raise DoesNotApply("the whole document cannot be removed")
    head, *rest = path
    match document:
        case dict() if head in document:
            if rest:
                return {**document, head: _remove(document[head], tuple(rest))}
            return {name: value for name, value in document.items() if name != head}
        case list():
            index = _index(head, len(document) - 1)
            replaced = [_remove(document[index], tuple(rest))] if rest else []
            return [*document[:index], *replaced, *document[index + 1 :]]
        case _:
            raise DoesNotApply(f"there is nothing at {head!r} to remove")


def _index(token: str, last: int) -> int:
    if not token.isdecimal() or (len(token) > 1 and token[0] == "0"):
        raise DoesNotApply(f"{token!r} is no index")
    if int(token) > last:
        raise DoesNotApply(f"index {token} is out of bounds")
    return int(token)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: numbers by value, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
