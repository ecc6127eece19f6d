"""Flyte's command templates: `{{.input}}`, `{{.outputPrefix}}`, `{{.inputs.x}}` and their kin, in any letter case.

One pass over the text: what an input's value contains is never expanded again (FlytePropeller expands some of it; see
docs/differences.md). Source of names and forms: flyteplugins core/template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flyteidl.core import literals_pb2

from propeller.errors import Invalid
from propeller.storage import literal_to_text

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEMPLATE = re.compile(r"\{\{\s*[.$](?:inputs\.(?P<input>[^}\s]+)|(?P<name>[A-Za-z]+))\s*\}\}", re.IGNORECASE)


def render(texts: Iterable[str], values: Mapping[str, str], inputs: literals_pb2.LiteralMap) -> list[str]:
    """Fill templates: `values` by lower-case name, `{{.inputs.x}}` from `inputs`. Unknown names stay as they are.

    Raises Invalid where a template names an input that the task does not have.
    """

    def value(match: re.Match[str]) -> str:
        if variable := match["input"]:
            if variable not in inputs.literals:
                raise Invalid(
                    f"template {match[0]!r} names input {variable!r}; the inputs are {sorted(inputs.literals)}"
                )
            return literal_to_text(inputs.literals[variable])
        return values.get(match["name"].lower(), match[0])

    return [_TEMPLATE.sub(value, text) if "{{" in text else text for text in texts]
