"""The table of docs/failures.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[3] / "docs" / "failures.md"
_ROW = re.compile(
    r"^\| (?P<what>.+?) \| `(?P<code>[^`]+)` \| (?P<kind>USER|SYSTEM) \| (?P<retries>\w+) \|$", re.MULTILINE
)


class Row(NamedTuple):
    code: str
    kind: str
    retries: str


def failure_table() -> dict[str, Row]:
    """Return the rows by what happened."""
    found = _ROW.finditer(PAGE.read_text())
    return {row["what"]: Row(row["code"].replace("\\|", "|"), row["kind"], row["retries"]) for row in found}
