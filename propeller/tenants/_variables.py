"""Variables of templates: `{{ name }}` in text, replaced once.

Guarantees
    A value is text wherever it stands: what it contains is never read as a variable, nor as YAML. In a template, a
    scalar without quotes that is one variable and no more has the type that a number or a boolean has in JSON, so that
    `pods: {{ maxPods }}` is a number; with quotes it is text.
Errors
    Invalid, naming the variable and those that there are.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

import yaml

from propeller.errors import Invalid
from propeller.redaction import place_of_yaml_error

MAX_VALUE = 64 * 1024
"""Characters of a value."""

_USE = re.compile(r"\{\{([^{}]*)\}\}")
_MARK = re.compile(r"(v[0-9a-f]{24}n)([0-9]{1,6})e")
_BOOL, _INT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int"
_TEXT_IN_KUBERNETES = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary"}
"""What YAML 1.1 has types for, and JSON has not; as is a number with colons."""

_TYPED = re.compile(r"-?(0|[1-9][0-9]{0,17})|true|false")


def filled(text: str, values: Mapping[str, str], what: str) -> str:
    """The text with each variable replaced; `what` it is, for messages. Raises Invalid."""
    return _USE.sub(lambda use: values[_named(use[1], values, what)], text)


def _named(name: str, values: Mapping[str, str], what: str) -> str:
    name = name.strip()
    if name not in values:
        known = ", ".join(sorted(values))
        raise Invalid(f"{what} uses {{{{ {name[:80]} }}}}, which is no variable; there are {known}")
    return name


class Template:
    """The documents of one file. Its YAML is read once, with a mark in the place of each variable."""

    def __init__(self, name: str, text: str) -> None:
        """`name` is for messages. Raises Invalid for what is no YAML."""
        self.name = name
        self._uses: list[str] = []
        self._begin = f"v{secrets.token_hex(12)}n"  # no text of the template, as nobody knows it before; see _MARK
        marked = _USE.sub(self._noted, text)
        try:
            self._nodes = list(yaml.compose_all(marked, yaml.SafeLoader))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise Invalid(f"template {name} does not parse: {place_of_yaml_error(error)}") from None

    def _noted(self, use: re.Match[str]) -> str:
        self._uses.append(use[1])
        lines = "\n" * use[0].count("\n")  # such that places in messages are right
        return f"{self._begin}{len(self._uses) - 1}e{lines}"

    def __len__(self) -> int:
        return len(self._nodes)

    def documents(self, values: Mapping[str, str]) -> list[Any]:
        """The documents with these values. Raises Invalid."""
        try:
            return [_Filling(self, values).construct_document(node) for node in self._nodes]
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise Invalid(f"template {self.name} does not parse: {place_of_yaml_error(error)}") from None

    def replaced(self, node: yaml.ScalarNode, values: Mapping[str, str]) -> tuple[str, str]:
        """The text of a scalar with its variables' values, and its tag."""
        text, tag = str(node.value), str(node.tag)
        if self._begin not in text:
            return text, tag
        what = f"template {self.name}"

        def value_of(mark: re.Match[str]) -> str:
            return values[_named(self._uses[int(mark[2])], values, what)] if mark[1] == self._begin else mark[0]

        replaced = _MARK.sub(value_of, text)
        if node.style is None and _MARK.fullmatch(text) and _TYPED.fullmatch(replaced):
            return replaced, _BOOL if replaced[-1] == "e" else _INT
        return replaced, tag


class _Filling(yaml.constructor.SafeConstructor):
    """Makes Python objects of a template's nodes, with values in the place of variables."""

    def __init__(self, template: Template, values: Mapping[str, str]) -> None:
        super().__init__()
        self._template = template
        self._values = values

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode):
            value, tag = self._template.replaced(node, self._values)
            if tag in _TEXT_IN_KUBERNETES or (tag == _INT and ":" in value):
                tag = "tag:yaml.org,2002:str"
            if (value, tag) != (node.value, node.tag):
                node = yaml.ScalarNode(tag, value, node.start_mark, node.end_mark, node.style)
        return super().construct_object(node, deep=True)
