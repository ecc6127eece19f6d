"""A terminal of a given width, as far as the CLI uses one: what is on it after a text was written."""

from __future__ import annotations

import re

from rich.cells import cell_len

_PIECE = re.compile(r"\x1b\[(?P<arguments>[?0-9;]*)(?P<command>[A-Za-z])|(?P<control>[\r\n])|(?P<text>[^\x1b\r\n]+)")


class Screen:
    """`lines` are what has been written, top to bottom; the scroll-back is part of it. A line that is full goes on in
    the next one, as on any terminal. Raises ValueError for a control sequence that it does not know.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0
        self.wrapped = 0
        """Lines that went on in the next one."""

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._rows]

    def write(self, text: str) -> None:
        position = 0
        while position < len(text):
            piece = _PIECE.match(text, position)
            if piece is None:
                raise ValueError(f"unknown control sequence: {text[position : position + 10]!r}")
            position = piece.end()
            if piece["text"]:
                self._print(piece["text"])
            elif piece["control"] == "\r":
                self._column = 0
            elif piece["control"] == "\n":
                self._down()
                self._column = 0
            else:
                self._control(piece["command"], piece["arguments"])

    def _print(self, text: str) -> None:
        for character in text:
            if self._column + cell_len(character) > self._columns:
                self.wrapped += 1
                self._down()
                self._column = 0
            row = self._rows[self._row]
            row.extend(" " * (self._column - len(row)))
            row[self._column : self._column + 1] = [character]
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])

    def _control(self, command: str, arguments: str) -> None:
        match command, arguments:
            case "A", count:
                self._row -= min(self._row, int(count or 1))
            case "K", "2":
                self._rows[self._row].clear()
            case ("m", _) | (("h" | "l"), "?25"):
                pass  # colours; the cursor shown or hidden
            case _:
                raise ValueError(f"unknown control sequence: {command} {arguments}")
