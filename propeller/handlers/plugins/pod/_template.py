"""Flyte's command templates: `{{.input}}`, `{{.outputPrefix}}`, `{{.inputs.x}}` and their kin, in any letter case.

One pass over the text: what an input's value contains is never expanded again, neither here (FlytePropeller expands
some of it; see docs/differences.md) nor by Kubernetes. A task's texts are parsed once, and filled for each of its pods.

Source of names and forms: flyteplugins core/template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from propeller.errors import Invalid
from propeller.handlers.plugins.pod._expansion import escape, escape_between
from propeller.storage import literal_to_text
from propeller.wire import ByName

_TEMPLATE = re.compile(r"\{\{\s*+[.$](?:inputs\.(?P<input>[^{}\s]++)|(?P<name>[A-Za-z]++))\s*+\}\}", re.IGNORECASE)


MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""Bytes of an argument, or of NAME=value in the environment, that execve takes: MAX_ARG_STRLEN, less the end's NUL."""


class Place(NamedTuple):
    """A template in a text: the name of an input, otherwise the lower-case name of one of Flyte's values."""

    name: str
    input: str
    written: str


Text = str | tuple[str | Place, ...]
"""A parsed text; one without templates is as it was."""


def parse(text: str) -> Text:
    """Split the text into pieces, escaped for Kubernetes' expansion."""
    places = list(_TEMPLATE.finditer(text)) if "{{" in text else []
    if not places:
        return text
    starts, ends = [0, *(match.end() for match in places)], [*(match.start() for match in places), len(text)]
    written = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    pieces: list[str | Place] = []
    for piece, match in zip(escape_between(written) if "$" in text else written, [*places, None], strict=True):
        pieces.append(piece)
        if match is not None:
            pieces.append(_place(match))
    return tuple(pieces)


def names_in(texts: Iterable[Text]) -> Iterator[str]:
    """Return the names of Flyte's values in the texts, possibly unknown ones."""
    for text in texts:
        if not isinstance(text, str):
            yield from (piece.name for piece in text if isinstance(piece, Place) and piece.name)


def render(texts: Iterable[Text], values: Mapping[str, str], inputs: ByName, field: str = "args") -> list[str]:
    """Fill templates: `values` by lower-case name, `{{.inputs.x}}` from `inputs`. Unknown names stay. The result is
    text for Kubernetes, which expands it for the process.

    Raises Invalid if a template names an input that the task does not have, or if a text cannot be passed to a process.
    """
    found = []
    for number, text in enumerate(texts):
        try:
            filled = (
                text
                if isinstance(text, str)
                else "".join([piece if isinstance(piece, str) else _value(piece, values, inputs) for piece in text])
            )
        except Invalid as error:
            raise Invalid(f"{field}[{number}]: {error}") from None
        if len(filled) > MAX_ARGUMENT_BYTES // 4 or "\0" in filled:
            check_argument(f"{field}[{number}]{_origin(text)}", filled)
        found.append(filled)
    return found


def fill(text: str, values: Mapping[str, str], inputs: ByName) -> str:
    """Fill templates as `render` does, in a text that Kubernetes does not read: nothing is escaped. Raises Invalid."""
    return _TEMPLATE.sub(lambda match: _unescaped(_place(match), values, inputs), text) if "{{" in text else text


def check_argument(where: str, text: str) -> None:
    """Raise Invalid if `text`, as Kubernetes expands it, cannot be passed to a process."""
    if "\0" in text:
        raise Invalid(f"{where} has a NUL character, which ends a text for a process: it cannot be given one")
    size = len(text.encode(errors="surrogatepass")) - text.count("$$")
    if size > MAX_ARGUMENT_BYTES:
        raise Invalid(
            f"{where} is {size} bytes long, and Linux gives a process at most {MAX_ARGUMENT_BYTES} in one: pass a "
            "value of this size in a file, or to a task that reads its inputs itself ({{.input}})"
        )


def _origin(text: Text) -> str:
    names = sorted({piece.input for piece in text if isinstance(piece, Place) and piece.input})
    return f", with input {', '.join(map(repr, names))}," if names else ""


def _place(match: re.Match[str]) -> Place:
    return Place((match["name"] or "").lower(), match["input"] or "", match[0])


def _value(place: Place, values: Mapping[str, str], inputs: ByName) -> str:
    return escape(_unescaped(place, values, inputs))


def _unescaped(place: Place, values: Mapping[str, str], inputs: ByName) -> str:
    if not place.input:
        return values.get(place.name, place.written)
    if place.input not in inputs.literals:
        raise Invalid(
            f"template {place.written!r} names input {place.input!r}; the inputs are {sorted(inputs.literals)}"
        )
    try:
        return literal_to_text(inputs.literals[place.input])
    except Invalid as error:
        raise Invalid(f"input {place.input!r}: {error}") from error
