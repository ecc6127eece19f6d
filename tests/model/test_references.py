"""The functions that the model says it models exist, where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

MODEL = Path(__file__).parent
PROPELLER = MODEL.parents[1] / "propeller"
REFERENCE = re.compile(r"((?:\w+/)+_\w+\.py): (\w+)((?:(?:,| and| or) \w+)*)")


def references() -> list[tuple[str, str]]:
    """Pairs of a file and a name in it, as texts like `workflow/_decide.py: begin, resume and decide` give them."""
    found: set[tuple[str, str]] = set()
    for module in MODEL.rglob("*.py"):
        for path, first, others in REFERENCE.findall(module.read_text()):
            names = [first, *re.findall(r"(?:,|and|or) (_\w+)", others)]
            found.update((path, name) for name in names)
    return sorted(found)


def test_the_model_names_the_functions_that_it_models() -> None:
    assert len(references()) > 30


@pytest.mark.parametrize(("path", "name"), references())
def test_a_function_that_the_model_names_exists(path: str, name: str) -> None:
    text = (PROPELLER / path).read_text()
    assert re.search(rf"^ *(?:(?:async )?def|class) {name}\b|^ *(?:self\.)?{name}\b[^=\n]* = ", text, re.MULTILINE)
