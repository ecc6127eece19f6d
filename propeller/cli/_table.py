"""Tables of text: columns below each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from propeller.text import one_line


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines. A cell is one line, whatever it has: it may be a stranger's text."""
    cells = [header, *([one_line(str(cell)) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def amounts(by_name: Mapping[str, int]) -> str:
    """`hive=40,api=2` for a cell, `-` for none."""
    return ",".join(f"{name}={amount}" for name, amount in by_name.items()) or "-"
