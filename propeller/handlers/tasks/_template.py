"""Flyte's command templates: `{{.input}}`, `{{.outputPrefix}}`, `{{.inputs.x}}` and their kin, in any letter case.

One pass over the text: what an input's value contains is never expanded again (FlytePropeller expands some of it; see
docs/differences.md). A task's texts are parsed once, and filled for each of its pods. Source of names and forms:
flyteplugins core/template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from propeller.errors import Invalid
from propeller.storage import literal_to_text
from propeller.wire import ByName

_TEMPLATE = re.compile(r"\{\{\s*+[.$](?:inputs\.(?P<input>[^{}\s]++)|(?P<name>[A-Za-z]++))\s*+\}\}", re.IGNORECASE)


class Place(NamedTuple):
    """A template in a text: the name of an input, or else a lower-case name of one of Flyte's own values."""

    name: str
    input: str
    written: str


Text = str | tuple[str | Place, ...]
"""A parsed text; one without templates is as it was."""


def parse(text: str) -> Text:
    """The text's pieces."""
    pieces: list[str | Place] = []
    done = 0
    for match in _TEMPLATE.finditer(text) if "{{" in text else ():
        pieces += [text[done : match.start()], Place((match["name"] or "").lower(), match["input"] or "", match[0])]
        done = match.end()
    return (*pieces, text[done:]) if pieces else text


def names_in(texts: Iterable[Text]) -> Iterator[str]:
    """Of Flyte's values, those that the texts name; there may be others that are none."""
    for text in texts:
        if not isinstance(text, str):
            yield from (piece.name for piece in text if isinstance(piece, Place) and piece.name)


def render(texts: Iterable[Text], values: Mapping[str, str], inputs: ByName) -> list[str]:
    """Fill templates: `values` by lower-case name, `{{.inputs.x}}` from `inputs`. Unknown names stay as they are.

    Raises Invalid where a template names an input that the task does not have.
    """
    return [
        text
        if isinstance(text, str)
        else "".join([piece if isinstance(piece, str) else _value(piece, values, inputs) for piece in text])
        for text in texts
    ]


def _value(place: Place, values: Mapping[str, str], inputs: ByName) -> str:
    if not place.input:
        return values.get(place.name, place.written)
    if place.input not in inputs.literals:
        raise Invalid(
            f"template {place.written!r} names input {place.input!r}; the inputs are {sorted(inputs.literals)}"
        )
    return literal_to_text(inputs.literals[place.input])
