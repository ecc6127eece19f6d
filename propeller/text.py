"""Text of others (workflows, tasks, servers, plugins) made fit for terminals, logs and statuses.

Guarantees
    What `visible` and `one_line` return moves no cursor, sets no title, changes no direction and hides nothing: control
    characters (but newline and tab), format and invisible characters, and lone surrogates are shown as Python writes
    them (`\\x1b`, `\\u202e`). `one_line` shows newlines and tabs in that form, too.
    `bounded` returns at most `limit` characters: a text that is longer keeps its begin and its end.
    All of it takes time in proportion to the text's length.
Caveats
    The zero-width joiners of emoji and of some scripts are shown as well, for they hide text just as others do.
Source
    Unicode 15.1: categories Cc, Cf, Cs, Zl and Zp, and Default_Ignorable_Code_Point (DerivedCoreProperties.txt) but for
    the selector of emoji presentation, U+FE0F.
"""

from __future__ import annotations

import re

from propeller.redaction import redact

MESSAGE_CHARACTERS = 16 * 1024
"""Of a failure's or an error's message: room for any traceback that people read, and small beside a status."""

NAME_CHARACTERS = 512
"""Of a code or a name within a message: names of Kubernetes have 253 at most."""

OVERLAP = 8 * 1024
"""Characters before a cut that are looked at for secrets, as half a secret has no known form: more than any key."""

_CUT = "\n... {} characters left out ...\n"
_CUT_ROOM = len(_CUT) + 20

_HIDDEN = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_NOT_VISIBLE = re.compile(f"[{_HIDDEN}]")
_NOT_ON_A_LINE = re.compile(rf"[{_HIDDEN}\t\n]")


def visible(text: str) -> str:
    """`text` with what acts or hides shown as an escape; its lines stay lines."""
    return _NOT_VISIBLE.sub(_shown, text)


def one_line(text: str) -> str:
    """As `visible`, in one line: a newline is shown as `\\n`."""
    return _NOT_ON_A_LINE.sub(_shown, text)


def visible_json(document: bytes) -> bytes:
    """A JSON document of the same value whose text is visible: such characters stand in strings only, and JSON has
    escapes for all of them.
    """
    return document if document.isascii() and b"\x7f" not in document else _visible_json(document.decode()).encode()


def bounded(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """`text`, or its begin and its end with the number of characters between them that are left out.

    What looks like a secret is masked in a text that is cut. A `limit` under 128 keeps the begin alone.
    """
    if len(text) <= limit:
        return text
    if limit < 2 * _CUT_ROOM:
        return _begin(text, limit)
    half = (limit - _CUT_ROOM) // 2
    begin = redact(text[: half + OVERLAP])[:half]
    end = redact(text[max(half, len(text) - half - OVERLAP) :])[-half:]
    return begin + _CUT.format(len(text) - 2 * half) + end


def headline(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """The line of an error's text that says what went wrong: the first, or what a traceback ends in, which flytekit
    writes below `Message:`. Of a longer line its begin, with what looks like a secret masked.
    """
    _, found, message = text.rpartition("\nMessage:\n")
    lines = (message if found else text).splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    where, traced, _ = first.partition("Traceback (most recent call last)")
    if traced or first == "Trace:":
        first = (where if traced else "") + next(line.strip() for line in reversed(lines) if line.strip())
    return first if len(first) <= limit else _begin(first, limit)


def _begin(text: str, limit: int) -> str:
    return redact(text[: limit + OVERLAP])[: max(limit - 3, 0)] + "..."[:limit]


def _shown(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def _visible_json(text: str) -> str:
    return _NOT_VISIBLE.sub(_json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
