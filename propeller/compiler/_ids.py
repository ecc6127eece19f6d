"""Identifiers as text. Flyte keys tasks and sub-workflows by the text form of their flyteidl.core.Identifier, and so do
resources.

Go writes one or two spaces between the fields, at random per build; here it is always one.
"""

from __future__ import annotations

import re

from flyteidl.core import identifier_pb2

START_NODE = "start-node"
END_NODE = "end-node"

NIL = "<nil>"
"""The text of an identifier that is not there."""

_UNSAFE = re.compile(r'[\x00-\x1f"\\\x7f-\x9f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TYPES = {value.number: value.name for value in identifier_pb2.ResourceType.DESCRIPTOR.values}
_FIELDS = ("project", "domain", "name", "version", "org")


def identifier_text(identifier: identifier_pb2.Identifier | None) -> str:
    """`resource_type:TASK project:"p" domain:"d" name:"n" version:"v"`, empty fields left out."""
    if identifier is None:
        return NIL
    number = identifier.resource_type
    parts = [f"resource_type:{_TYPES.get(number, number)}"] if number else []
    for field in _FIELDS:
        value = getattr(identifier, field)
        if value:
            parts.append(f'{field}:"{_UNSAFE.sub(_escape, value)}"')
    return " ".join(parts)


def order_of(identifier: identifier_pb2.Identifier) -> tuple[int, str, str, str, str]:
    """Sorts as Flyte lists requirements."""
    return identifier.resource_type, identifier.project, identifier.domain, identifier.name, identifier.version


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    short = _SHORT.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\u{code:04x}" if code >= 0x80 else f"\\x{code:02x}"
