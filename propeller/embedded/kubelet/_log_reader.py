"""Reading a container's log: by lines from its end, by time, with times, and on as it is written.

Guarantees
    Nothing of the run that was asked for is left out or given twice, also if the file is begun again meanwhile.
Source: k8s.io/cri-client/pkg/logs: lines are counted from the end first, and those before `since` are left out then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from propeller.embedded.kubelet._log_index import LogIndex
from propeller.embedded.kubelet._logs import note_growth, older, open_regular

_CHUNK = 64 * 1024
_STAMPED = 16 * 1024  # bytes that are stamped between two turns of the loop: thousands of short lines
_POLL = 0.1  # seconds between two looks at a followed file: a reader does not notice less


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a log, and how. `bounds` are positions; an end of None is open. `since` is in epoch seconds."""

    bounds: tuple[int, int | None] = (0, None)
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False


async def read_log(
    path: Path, index: LogIndex, query: LogQuery, *, follow: Callable[[], bool], now: Callable[[], float]
) -> AsyncIterator[bytes]:
    """Yield the log in chunks: its current content, and while `follow()` is true, what is appended."""
    text, at = _kept(path, index, query.bounds, now())
    end, begin = at + len(text), _begin_of(text, at, index, query)
    stamper = Stamper(index) if query.timestamps else None
    for offset in range(begin, len(text), _STAMPED if stamper else _CHUNK):
        piece = text[offset : offset + (_STAMPED if stamper else _CHUNK)]
        yield stamper.stamp(piece, at + offset) if stamper else piece
        await asyncio.sleep(0)
    more = query.bounds[1] is None
    while more:
        more = follow()  # asked before the read, so that what was written until the end is read
        while found := _read_from(path, index, end, now()):
            piece, position = found
            end = position + len(piece)
            yield stamper.stamp(piece, position) if stamper else piece
        if more:
            await asyncio.sleep(_POLL)


class Stamper:
    """Puts times before lines, which may come in pieces."""

    def __init__(self, index: LogIndex) -> None:
        self._index = index
        self._line_begins = True

    def stamp(self, text: bytes, position: int) -> bytes:
        """The next piece of the log, which is at `position`."""
        found, at = [], 0
        while at < len(text):
            end = text.find(b"\n", at) + 1 or len(text)
            if self._line_begins:
                found.append(self._index.stamp(position + at))
            found.append(text[at:end])
            self._line_begins = text[end - 1 : end] == b"\n"
            at = end
        return b"".join(found)


def _kept(path: Path, index: LogIndex, bounds: tuple[int, int | None], now: float) -> tuple[bytes, int]:
    """Return what is kept of that part of the log, and its position."""
    note_growth(path, index, now)
    old, current = _content(older(path)), _content(path)
    first = index.start - len(old)
    begin, end = bounds
    text = old + current
    at = max(first, begin)
    return text[at - first : max(0, len(text) if end is None else end - first)], at


def _begin_of(text: bytes, position: int, index: LogIndex, query: LogQuery) -> int:
    """Return where the requested lines begin in `text`."""
    begin = 0 if query.tail is None else _tail(text, query.tail)
    if query.since is not None:
        at = index.first_since(query.since) - position
        if at > begin:
            begin = text.find(b"\n", at - 1) + 1 or len(text)
    return begin


def _tail(text: bytes, lines: int) -> int:
    """Return where the last `lines` lines begin."""
    if text.count(b"\n") < lines:
        return 0
    at = len(text)
    for _ in range(lines):
        at = text.rfind(b"\n", 0, max(0, at - 1)) + 1
    return at


def _content(path: Path) -> bytes:
    file = open_regular(path)
    if file is None:
        return b""
    with file:
        return file.read()


def _read_from(path: Path, index: LogIndex, position: int, now: float) -> tuple[bytes, int] | None:
    """Return the next chunk at `position` and its actual position, which is later if that part is not kept any more."""
    note_growth(path, index, now)
    if position < index.start:
        rest = _content(older(path))[-(index.start - position) :]
        if rest:
            return rest, index.start - len(rest)
        position = index.start
    file = open_regular(path)
    if file is None:
        return None
    with file:
        file.seek(position - index.start)
        chunk = file.read(_CHUNK)
    return (chunk, position) if chunk else None
