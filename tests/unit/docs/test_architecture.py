"""The packages of docs/architecture.md are those of the code, in the order that import-linter keeps."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[3]


def drawn() -> list[set[str]]:
    """The names of each line of the page's first block."""
    (block, *_) = re.findall(
        r"^```\n(.*?)^```", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return [set(re.split(r" +│ +", re.split(r"  +", line)[0])) for line in block.splitlines()]


def kept() -> list[set[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [set(layer.split(" | ")) for layer in contracts[0]["layers"]]


def test_each_line_has_packages_of_one_layer_and_all_are_there() -> None:
    assert set.union(*drawn()) == set.union(*kept())
    assert [line for line in drawn() if not any(line <= layer for layer in kept())] == []


def test_lines_come_in_the_order_of_the_layers() -> None:
    places = [next(place for place, layer in enumerate(kept()) if line & layer) for line in drawn()]
    assert all(before <= after for before, after in pairwise(places))
