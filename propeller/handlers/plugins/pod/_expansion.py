"""Escape values against Kubernetes' expansion of `$(NAME)` and `$$` in command, args and env.

Guarantees
    The author's text keeps its meaning in Kubernetes. A value (an input's text, a path, a name, a variable of the
    execution) reaches the process unchanged: `$$` is always folded to `$`, so each `$` of a value is doubled, and so is
    a `$` or `$(` of the author that a value could complete.
Caveats
    A reference whose name contains a value, `$(A{{.inputs.x}})`, is not expanded: the process gets it as text.
Source
    third_party/forked/golang/expansion of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Sequence


def escape(value: str) -> str:
    """Return the text that Kubernetes turns into `value`."""
    return value.replace("$", "$$") if "$" in value else value


def escape_between(pieces: Sequence[str]) -> list[str]:
    """Escape the pieces of an author's text so that the values between them cannot change their meaning."""
    last = len(pieces) - 1
    last_closing = max((number for number, piece in enumerate(pieces) if ")" in piece), default=-1)
    found: list[str] = []
    is_open = False
    for number, piece in enumerate(pieces):
        done = ""
        if is_open:  # within a reference that is none: nothing is folded or expanded up to its end
            inside, end, piece = piece.partition(")")
            done = escape(inside) + end
            is_open = not end
        if not is_open:
            rest, is_open = _outside(piece, is_last=number == last, closes=last_closing > number)
            done += rest
        found.append(done)
    return found


def _outside(piece: str, *, is_last: bool, closes: bool) -> tuple[str, bool]:
    """A piece that begins outside of references; whether it ends within one, which a later piece `closes`."""
    done: list[str] = []
    at, last_closing = 0, piece.rfind(")")
    while (dollar := piece.find("$", at)) >= 0:
        done.append(piece[at:dollar])
        follows = piece[dollar + 1 : dollar + 2]
        at = dollar + 2
        if follows == "$":
            done.append("$$")
        elif follows == "(" and dollar < last_closing:
            at = piece.index(")", dollar) + 1
            done.append(piece[dollar:at])
        elif follows == "(" and closes:
            return "".join([*done, "$$(", escape(piece[at:])]), True
        elif follows in {"(", ""} and not is_last:
            done.append("$$" + follows)
        else:
            done.append("$" + follows)
    return "".join([*done, piece[at:]]), False
