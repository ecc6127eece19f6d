"""A table's text: YAML or JSON, bounded, with the place of everything in it.

Guarantees
    Time and memory are in proportion to the text: aliases are refused once what they stand for would be more than
    MAX_NODES values, nesting over MAX_DEPTH is refused, and so is a text over MAX_BYTES.
    A key that is there twice is a problem. Text that YAML 1.1 has other types for than JSON (dates, binary, 1:30) is
    text.
"""

from __future__ import annotations

from typing import Any

import yaml

from propeller.redaction import place_of_yaml_error
from propeller.routing._problems import MAX_PROBLEMS, InvalidTable, Path, Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
MAX_NODES = 100_000

_TEXT = "tag:yaml.org,2002:str"
_JSON = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str")}


class Text:
    """The document of a text. `positions` has line and column of each field's name and list's item, by its path."""

    def __init__(self, content: bytes, source: str) -> None:
        """`source` is named in messages. Raises InvalidTable for what is no YAML."""
        self.problems: list[Problem] = []
        self.positions: dict[Path, tuple[int, int]] = {}
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()
        self._source = source
        if len(content) > MAX_BYTES:
            raise self._error(Problem((), f"the text has {len(content)} bytes, more than {MAX_BYTES}"))
        try:
            self.document = self._value(_Composer(content).document(), ())
        except (yaml.YAMLError, ValueError) as error:  # not chained: its text quotes the file's
            raise self._error(_syntax(error)) from None

    def _error(self, problem: Problem) -> InvalidTable:
        return InvalidTable([problem], self._source)

    def _value(self, node: Any, path: Path) -> Any:
        if node is None:
            return None
        mark = node.start_mark
        self._nodes += 1
        if self._nodes > MAX_NODES:
            text = f"the text stands for more than {MAX_NODES} values: aliases (*) repeat what they name; write less"
            raise self._error(Problem(path, text, mark.line + 1, mark.column + 1))
        if len(path) > MAX_DEPTH:  # by an alias, maybe of itself
            raise _TooDeepError(mark)
        self.positions.setdefault(path, (mark.line + 1, mark.column + 1))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, place)) for place, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            mark = key.start_mark
            place = (mark.line + 1, mark.column + 1)
            if not isinstance(key, yaml.ScalarNode):
                self._problem(Problem(path, "a field's name has to be text", *place))
                continue
            name = str(key.value)
            if key.tag == "tag:yaml.org,2002:merge":
                self._problem(Problem(path, "merge keys (<<) are not read: write the fields out", *place))
                continue
            if name in found:
                self._problem(Problem((*path, name), "is there twice: remove one", *place))
                continue
            self.positions[(*path, name)] = place
            found[name] = self._value(value, (*path, name))
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        tag = node.tag if node.tag in _JSON and ":" not in text else _TEXT
        try:
            return self._scalars.construct_object(yaml.ScalarNode(tag, text, node.start_mark, node.end_mark))
        except ValueError:  # an integer of more digits than Python reads
            return text

    def _problem(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


class _Composer:
    """Makes nodes of a text's events as they come, so that a text which is nested too deep is left after its begin:
    PyYAML's own composers recurse, that of libyaml until the process dies.
    """

    def __init__(self, content: bytes) -> None:
        self._events = yaml.parse(content, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
        self._resolver: Any = yaml.resolver.Resolver()
        self._anchors: dict[str, yaml.Node] = {}

    def document(self) -> yaml.Node | None:
        """The only document; None if there is none."""
        next(self._events)  # the stream's begin
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self._events), 0)
        next(self._events)  # the document's end
        after: Any = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise yaml.composer.ComposerError(None, None, "a second document begins", after.start_mark)
        return root

    def _node(self, event: Any, depth: int) -> yaml.Node:
        mark, end = event.start_mark, event.end_mark
        if depth > MAX_DEPTH:
            raise _TooDeepError(mark)
        node: yaml.Node
        match event:
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise yaml.composer.ComposerError(None, None, "an alias of nothing", mark)
                return self._anchors[event.anchor]
            case yaml.ScalarEvent():
                tag = event.tag
                if tag is None or tag == "!":
                    tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
                node = self._anchored(event, yaml.ScalarNode(tag, event.value, mark, end))
            case yaml.SequenceStartEvent():
                node = self._anchored(event, yaml.SequenceNode("", [], mark))
                while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                    node.value.append(self._node(item, depth + 1))
            case _:
                node = self._anchored(event, yaml.MappingNode("", [], mark))
                while not isinstance(key := next(self._events), yaml.MappingEndEvent):
                    name = self._node(key, depth + 1)
                    node.value.append((name, self._node(next(self._events), depth + 1)))
        return node

    def _anchored(self, event: Any, node: yaml.Node) -> yaml.Node:
        """The node, which later aliases may name: those within itself, too."""
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node


class _TooDeepError(yaml.MarkedYAMLError):
    def __init__(self, mark: Any) -> None:
        super().__init__(None, None, f"it is nested deeper than {MAX_DEPTH} levels", mark)


def _syntax(error: BaseException) -> Problem:
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    text = place_of_yaml_error(error).removeprefix(f"line {line}, column {column}: ")
    return Problem((), f"the text cannot be read: {text}", line, column)
