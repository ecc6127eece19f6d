"""The glossary speaks of the code as it is: files that exist, and names that stand in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROWS = [
    (names, places)
    for names, _, places in re.findall(
        r"^\| (.+?) \| (.+?) \| (.+?) \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE
    )
    if "`" in names and "`" in places
]


def _text(place: str) -> str:
    found = next((path for path in (ROOT / "propeller" / place, ROOT / place) if path.exists()), None)
    assert found is not None, f"{place} does not exist"
    return "".join(path.read_text() for path in ([found] if found.is_file() else sorted(found.glob("*.py"))))


def test_the_glossary_has_rows() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize(("names", "places"), ROWS, ids=[names for names, _ in ROWS])
def test_a_term_stands_in_the_files_that_its_row_names(names: str, places: str) -> None:
    text = "".join(map(_text, re.findall(r"`([^`]+)`", places)))
    for name in re.findall(r"`(\w+)`", names):
        assert re.search(rf"\b{name}\b", text), f"{name} is in none of {places}"
