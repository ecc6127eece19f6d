"""Answers as a server may send them, with what a client should make of each; for hypothesis."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import strategies as st

_EMPTY = (204, 304)
_INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nretry-after: 9\r\n\r\n",
]


@dataclass(frozen=True)
class Sent:
    """One answer on the wire, and what it says."""

    wire: bytes
    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool
    """Whether the connection may be used again."""
    until_close: bool
    """Whether the body ends with the connection."""
    head: int
    """Bytes before the body, answers of 1xx included."""


@st.composite
def answers(draw: st.DrawFn) -> Sent:
    status = draw(st.sampled_from([200, 201, 404, 429, 500, *_EMPTY]))
    content = b"" if status in _EMPTY else draw(st.binary(max_size=120))
    headers = {f"x-{number}": value for number, value in enumerate(draw(st.lists(_VALUES, max_size=3)))}
    framing = "none" if status in _EMPTY else draw(st.sampled_from(["length", "chunked", "close"]))
    asks_to_close = draw(st.booleans())
    framed = headers | ({"connection": draw(st.sampled_from(["close", "Close"]))} if asks_to_close else {})
    if framing == "length":
        framed["content-length"] = str(len(content))
    elif framing == "chunked":
        framed["transfer-encoding"] = "chunked"
    interim = b"".join(draw(st.lists(st.sampled_from(_INTERIM), max_size=2)))
    lines = "".join(f"{_case(draw, name)}: {value}\r\n" for name, value in framed.items())
    head = interim + f"HTTP/1.1 {status} Some Reason\r\n{lines}\r\n".encode("latin-1")
    wire = head + (draw(_chunked(content)) if framing == "chunked" else content)
    return Sent(
        wire=wire,
        status=status,
        headers=framed,
        body=content,
        reusable=not asks_to_close and framing != "close",
        until_close=framing == "close",
        head=len(head),
    )


_VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)


def _case(draw: st.DrawFn, name: str) -> str:
    return draw(st.sampled_from([name, name.upper(), name.title()]))


@st.composite
def _chunked(draw: st.DrawFn, content: bytes) -> bytes:
    parts = cut(content, draw(st.sets(st.integers(0, 120), max_size=4)))
    extension = draw(st.sampled_from([b"", b";a", b";a=b", b';a="b c"']))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    trailers = draw(st.sampled_from([b"", b"x-0: late\r\n", b"retry-after: 9\r\nx-trailer: y\r\n"]))
    return chunks + b"0" + extension + b"\r\n" + trailers + b"\r\n"


def cut(data: bytes, places: set[int]) -> list[bytes]:
    """The bytes in parts, none empty; `places` beyond the end wrap around."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges) if end > start]
