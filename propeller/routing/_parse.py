"""From a file's text, or a resource's spec, to a table that may be in force.

Errors
    InvalidTable, with everything that is wrong, each with its line and column if it is of a text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.routing._checks import problems_of
from propeller.routing._problems import InvalidTable, Problem
from propeller.routing._reading import read
from propeller.routing._table import Table
from propeller.routing._yaml import Text

GROUP, VERSION, KIND = "propeller.dev", "v1alpha1", "RoutingTable"

MAX_SPEC_BYTES = 256 * 1024
"""Of a resource's spec as JSON. The status repeats it (`accepted`), and etcd refuses objects over 1.5 MiB. A file may
have more.
"""


def parse_table(content: bytes, source: str = "") -> Table:
    """The table of a text: clusters, pools and rules, or a RoutingTable resource with these in its spec."""
    text = Text(content, source)
    try:
        document, inside = _spec(text.document)
        return _table(document, inside, text.problems)
    except InvalidTable as error:
        raise error.located(text.positions, source) from None


def table_of(spec: Any) -> Table:
    """The table of a resource's spec, which is JSON."""
    size = len(msgspec.json.encode(spec))
    if size > MAX_SPEC_BYTES:
        text = f"has {size} bytes, more than {MAX_SPEC_BYTES}: a file (routing.file) may have more"
        raise InvalidTable([Problem(("spec",), text)])
    return _table(spec, ("spec",), [])


def _spec(document: Any) -> tuple[Any, tuple[str, ...]]:
    """What declares the table, and where it is in the document."""
    if isinstance(document, dict) and ("apiVersion" in document or "kind" in document):
        names = (document.get("apiVersion"), document.get("kind"))
        if names != (f"{GROUP}/{VERSION}", KIND):
            raise InvalidTable([Problem((), f"is no {KIND} of {GROUP}/{VERSION}")])
        return document.get("spec"), ("spec",)
    return document, ()


def _table(document: Any, inside: tuple[str, ...], known: list[Problem]) -> Table:
    declared, unread = read(document)
    found = problems_of(declared, [*_without(known, inside), *unread])
    if found:
        raise InvalidTable([Problem((*inside, *one.path), one.text, one.line, one.column) for one in found])
    return Table(declared, is_checked=True)


def _without(problems: list[Problem], inside: tuple[str, ...]) -> list[Problem]:
    """With paths from the spec on."""
    return [Problem(one.path[len(inside) :], one.text, one.line, one.column) for one in problems]
