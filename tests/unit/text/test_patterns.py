"""What a stranger's text costs grows with its length, and not with its square: every pattern and every parser."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from propeller.cli._plan_text import short_name
from propeller.decoding import cut
from propeller.embedded.kubelet._environment import expand
from propeller.embedded.server.schema._jsonpath import BadPath, find
from propeller.errors import PropellerError
from propeller.handlers.plugins.pod._template import parse
from propeller.kube import parse_field_selector, parse_label_selector
from propeller.quantity import canonical
from propeller.redaction import redact
from propeller.text import bounded, one_line, visible, visible_json
from propeller.workflow import label_value, parse_duration
from tests.unit.growth import grows_beyond
from tests.unit.text.patterns import Found, calls_of_re, hostile_texts, patterns

SMALL, LARGE = 1_500, 12_000
MAX_GROWTH = (LARGE / SMALL) ** 1.6
"""How much more the large text may cost: linear is 8 times, quadratic 64, and between is room for a busy machine."""

GUARDED = {
    "propeller.quantity._QUANTITY": "texts of a bounded length alone are read",
    "propeller.quantity._SCANNED": "texts of a bounded length alone are read",
    "propeller.embedded.kubelet._environment._REFERENCE": "what follows the last bracket is not searched",
}
"""Patterns whose functions see to it; these are tested below."""

EVERYTHING = patterns()


def grows_too_fast(action: Callable[[Any], object], small: Any, large: Any) -> bool:
    return grows_beyond(MAX_GROWTH, lambda: action(small), lambda: action(large))


def _uses(found: Found) -> list[Callable[[Any], object]]:
    """What the package does with the pattern."""
    nothing: Any = "" if isinstance(found.pattern.pattern, str) else b""
    special: dict[str, Callable[[Any], object]] = {
        "sub": lambda text: found.pattern.sub(nothing, text),
        "finditer": lambda text: list(found.pattern.finditer(text)),
    }
    return [special.get(method) or getattr(found.pattern, method) for method in sorted(found.methods)]


@pytest.mark.parametrize("found", EVERYTHING, ids=[found.place for found in EVERYTHING])
def test_a_pattern_costs_time_in_proportion_to_the_text(found: Found) -> None:
    if found.place in GUARDED:
        pytest.skip(GUARDED[found.place])
    assert found.methods, "nothing in the package calls it by this name: how is it used?"
    for action in _uses(found):
        for small, large in zip(hostile_texts(found.pattern, SMALL), hostile_texts(found.pattern, LARGE), strict=True):
            assert not grows_too_fast(action, small, large), f"{found.place}: {small[:60]!r}..."


def test_every_pattern_is_held_by_a_module_so_that_it_is_tested() -> None:
    """Except those that the author of a CRD gives for an API server of their own, the fields of a time in a query,
    each of which repeats one class of characters, and the paths of a container's volumes, which repeat nothing."""
    others = {(str(path), pattern) for path, _, pattern in calls_of_re()}
    assert others == {
        ("embedded/kubelet/_placed.py", "any_of_them"),
        ("embedded/server/registry/_strategies/_definitions.py", "schema['pattern']"),
        ("embedded/server/schema/_structural.py", "text"),
    }


@pytest.mark.parametrize(
    "quadratic",
    [r"(?:password|secret)\w*\s*=", r"\beyJ[\w-]{8,}\.", r"(\d+)(?:ms|s)", r"\{\{\.([^}\s]+)\}\}", r"\$\(([^)]*)\)"],
)
def test_the_texts_are_hostile_enough_to_find_a_pattern_that_is_quadratic(quadratic: str) -> None:
    pattern = re.compile(quadratic)
    texts = zip(hostile_texts(pattern, SMALL), hostile_texts(pattern, LARGE), strict=True)
    assert any(grows_too_fast(lambda text: list(pattern.finditer(text)), small, large) for small, large in texts)


def _refused(function: Callable[[Any], object]) -> Callable[[Any], object]:
    def call(text: Any) -> object:
        try:
            return function(text)
        except (PropellerError, BadPath) as error:
            return str(error)

    return call


FUNCTIONS: dict[str, Callable[[Any], object]] = {
    "redact": redact,
    "visible": visible,
    "one_line": one_line,
    "bounded": bounded,
    "parse_duration": _refused(parse_duration),
    "canonical": _refused(canonical),
    "parse": parse,
    "label_value": label_value,
    "parse_label_selector": _refused(parse_label_selector),
    "parse_field_selector": _refused(parse_field_selector),
    "find": _refused(lambda text: list(find({}, text))),
    "expand": lambda text: expand(text, {}),
    "short_name": short_name,
    "visible_json": lambda text: visible_json(text.encode()),
    "cut": lambda text: cut(text.encode()),
}

PUMPS = (
    *("password", "password=", "token: ", 'token="', "token='\"", "authorization:", "Bearer ", "eyJ", "eyJ-", "eyJa."),
    *("://", "://a:", "://a@", "a://b:c", "AKIA", "-----BEGIN PRIVATE KEY-----", "-----", "ghp_", '\\"', "=", "a="),
    *(
        "{{",
        "{{.inputs.",
        "{{ ",
        "{{.a",
        "$(",
        "$$",
        "$",
        "1",
        "1h",
        "1.",
        "9e",
        "=,",
        "!",
        "a,",
        "a in (",
        "[?(@",
        "['",
    ),
    *(
        'name:"',
        'name:"\\',
        "[",
        "]",
        "{}",
        "[],",
        '"',
        '"\\',
        "\x1b",
        "\n",
        " ",
        "\u202e",
        "-",
        ".",
        "a.",
        "(",
        ")",
        "\\",
    ),
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_parser_costs_time_in_proportion_to_the_text(name: str) -> None:
    for pump in PUMPS:
        for begin, end in (("", ""), ("", "\0"), ('"', ""), ("[?(@", "")):
            small, large = (begin + pump * (size // len(pump)) + end for size in (SMALL, LARGE))
            assert not grows_too_fast(FUNCTIONS[name], small, large), f"{name}({begin + pump!r}...)"
