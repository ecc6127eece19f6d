"""The worlds that CI runs, by their options: how many seeds of each, from the first on; and what they have reached."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.simulation.reached import Cell

SEEDS: Mapping[str, int] = {
    "": 500,
    "--plugged": 60,
    "--plugged --sharded": 30,
    "--sharded": 60,
    "--cached": 100,
    "--cached --sharded": 30,
    "--gated": 80,
    "--gated --sharded": 40,
    "--loaded": 60,
    "--loaded --sharded": 20,
    "--nested": 80,
    "--nested --sharded": 30,
    "--nested --cached": 20,
    "--nested --gated": 20,
    "--often restores": 40,
    "--often losses --sharded": 10,
    "--often moves --sharded": 10,
    "--often handovers --sharded": 10,
    "--often recoveries --nested --gated": 20,
    "--often recoveries --nested --sharded": 12,
    "--often recoveries --plugged": 20,
    "--often recoveries --loaded": 20,
    "--often namesakes --nested": 8,
    "--often recoveries --cached": 8,
    "--often reservations --cached": 20,
    "--often reservations --cached --sharded": 6,
    "--often failures": 10,
    "--often failures --sharded": 5,
    "--often holds": 5,
    "--often timeouts --gated": 10,
    "--often timeouts --gated --nested": 6,
}
"""Of `python -m tests.simulation`."""

FILE = Path(__file__).parent / "reached.json"
"""By options, how many of these seeds have reached each cell, when it was written."""


def reached() -> dict[str, Counter[Cell]]:
    return {options: of_json(cells) for options, cells in json.loads(FILE.read_text()).items()}


def of_json(cells: Mapping[str, Mapping[str, int]]) -> Counter[Cell]:
    return Counter({(kind, what): count for kind, row in cells.items() for what, count in row.items()})


def has_moved(found: Counter[Cell], known: Counter[Cell]) -> list[str]:
    """Return the cells that far more or far fewer seeds have reached than was written: a few do whenever a change of
    the controller moves what a seed meets. Rows and columns that were not counted yet are left out.
    """
    rows, columns = {kind for kind, _ in known}, {what for _, what in known}
    return [
        f"{kind} x {what}: {found[kind, what]} seeds, {known[kind, what]} are written"
        for kind, what in sorted(found | known)
        if kind in rows
        and what in columns
        and not known[kind, what] // 4 <= found[kind, what] <= 4 * known[kind, what] + 4
    ]
