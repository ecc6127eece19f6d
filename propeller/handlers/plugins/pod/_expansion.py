"""Kubernetes expands `$(NAME)` in command, args and env, and folds `$$` to `$`: what that may do with a pod's texts.

Guarantees
    What an author wrote means what it means in Kubernetes. What a value brings (an input's text, a path, a name, a
    variable of the execution) reaches the process as it is, whatever stands around it: `$$` is always folded to `$`, so
    each `$` of a value is doubled, and a `$` or `$(` of the author's that a value could complete is doubled as well.
Caveats
    A reference whose name a value would complete, `$(A{{.inputs.x}})`, is none: the process gets it as text.
Source
    third_party/forked/golang/expansion of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Sequence


def escape(value: str) -> str:
    """The text that Kubernetes turns into `value`."""
    return value.replace("$", "$$") if "$" in value else value


def escape_between(pieces: Sequence[str]) -> list[str]:
    """An author's text around values: its pieces, so that no value changes their meaning. Between two is a value."""
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
