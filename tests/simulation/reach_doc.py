"""`python -m tests.simulation.reach_doc` runs CI's seeds and writes what they reach: reached.json and its table."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.simulation.command import Simulation
from tests.simulation.reached import BEFALLS, REFUSED, WATCHES_CUT, Cell, as_rows, table_of
from tests.simulation.remote_worlds import JOB_WORLDS
from tests.simulation.worlds import FILE, SEEDS, reached

DOC = Path(__file__).parents[2] / "docs" / "testing.md"
BEGIN, END = "<!-- reached: begin, by tests/simulation/reach_doc.py -->\n", "<!-- reached: end -->\n"


def section() -> str:
    """Return what docs/testing.md says of what the seeds of CI have reached."""
    known = reached()
    total: Counter[Cell] = Counter()
    for counts in known.values():
        total.update(counts)
    befalls = "".join(f"- **{name}**: {what}.\n" for name, what in BEFALLS.items())
    rows = [(f"`{options}`" if options else "no option", options, number) for options, number in SEEDS.items()]
    rows += [(f"{name} (`test_remote.py`)", name, worlds.seeds) for name, worlds in JOB_WORLDS.items()]
    worlds = "\n".join(f"| {shown} | {number} | {_counted(known.get(name))} |" for shown, name, number in rows)
    return f"{table_of(total)}\n\n{befalls}\n| worlds | seeds of CI | counted |\n|---|---|---|\n{worlds}\n"


def _counted(cells: Counter[Cell] | None) -> str:
    """Say what was counted in some worlds: columns that came later need their seeds once more."""
    if cells is None:
        return "no"
    later = [what for what in (REFUSED, WATCHES_CUT) if what not in {what for _, what in cells}]
    return "yes" if len(later) < 2 else f"without {' and '.join(later)}"


def written() -> str:
    """Return what it says now."""
    return DOC.read_text().partition(BEGIN)[2].partition(END)[0]


def measure(only: str) -> None:
    """Count anew, and write after each of the worlds."""
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    simulation = Simulation("tests.simulation")
    for options, seeds in SEEDS.items():
        if only in options:
            output = simulation.breaks_nothing(seeds, *options.split(), "--processes", "0", "--reached")
            found[options] = json.loads(output.splitlines()[-1])
            _write(found)
            print(f"{options}: {output.splitlines()[0]}", flush=True)
    for name, worlds in JOB_WORLDS.items():
        if only in name:
            lived = worlds.live()
            assert not lived.broken, lived.broken
            found[name] = as_rows(lived.reached)
            _write(found)
            print(f"{name}: {worlds.seeds} seeds", flush=True)


def _write(found: Mapping[str, Any]) -> None:
    FILE.write_text(json.dumps({name: found[name] for name in (*SEEDS, *JOB_WORLDS) if name in found}, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.reach_doc", description=__doc__)
    parser.add_argument("--only", default="", help="worlds whose options have this in them")
    arguments = parser.parse_args()
    measure(arguments.only)
    text = DOC.read_text()
    before, _, rest = text.partition(BEGIN)
    DOC.write_text(before + BEGIN + section() + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
