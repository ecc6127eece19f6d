"""Find the line of each field in a settings file, by section and field.

Caveats
    TOML is read line by line, in its usual form: `[section]` and `field = value`, or `section.field = value`. Other
    forms (inline tables, quoted keys) have no line.
"""

from __future__ import annotations

import re
from typing import Any

Lines = dict[tuple[str, str], int]

_HEADER = re.compile(r"\s*\[\s*(\w+)\s*\]\s*(?:#.*)?")
_FIELD = re.compile(r"\s*(?:(\w+)\s*\.\s*)?(\w+)\s*=")


def lines_of_toml(text: str) -> Lines:
    found: Lines = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            section = header[1]
        elif field := _FIELD.match(line):
            found.setdefault((section or field[1] or "", field[2]), number)
    return found


def lines_of_yaml(content: bytes) -> Lines:
    """Return the lines of a document that parses."""
    import yaml  # here, as few have settings in YAML

    root = yaml.compose(content, Loader=yaml.SafeLoader)
    return {
        (section.value, field.value): field.start_mark.line + 1
        for section, fields in _pairs(root)
        for field, _ in _pairs(fields)
    }


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    value = getattr(node, "value", None)
    return value if isinstance(value, list) else []
