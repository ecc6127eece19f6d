"""Decode JSON that a stranger wrote into msgspec types, and say which fields are not of their type.

This is the slow path, for documents that msgspec's own decoder has refused: it decodes the members of an object one by
one, and looks inside only those that fail.

Guarantees
    A null stands for an absent value if Go's decoder takes it so (encoding/json, "null has no effect"): a field
    has its default, an element of a list or map the zero value of its type.
    A value of another type is a problem, reported with its field in the form of Kubernetes (`spec.nodes.n0.task`), the
    type found and the type expected; the value itself is not shown, for it may be a secret. All other fields are read.
    `msgspec.Raw` fields keep their bytes as they are, unless the document is nested deeper than `MAX_NESTING`.
    Fields that the type does not have are skipped, whatever their values.
    Time is bounded by `patience`, the number of values that are looked at beside those of msgspec's fast path.
Caveats
    At most `MAX_PROBLEMS` are looked for. Only types that this project uses are looked into: structs (objects, not
    arrays, without tags), maps with text keys, lists, unions; anything else is one value.
Errors
    Raises nothing: a document that is no JSON is a problem without a field.
"""

from __future__ import annotations

import enum
import functools
import re
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec

T = TypeVar("T")

UNDECODABLE = (ValueError, RecursionError)
"""What msgspec raises: its own errors and UnicodeDecodeError are ValueErrors. RecursionError comes at a depth that is
the interpreter's (some 1,000 levels until Python 3.12, 10,000 in 3.13): code that looks into values counts their depth.
"""

MAX_PROBLEMS = 5
"""Problems reported of one document: a message is for people, and goes into statuses of limited size."""

MAX_DEPTH = 100
"""Levels of nesting that `cut` keeps."""

MAX_NESTING = 500
"""Levels of nesting that `read` takes as they are. Deeper documents are cut."""

PATIENCE = 20_000
"""Values that are looked at one by one: some 20 ms."""

_MAX_PATH = 200
"""Characters of a field's path in a message."""

_TOO_DEEP = b'"\\u0000nested too deep to be read"'
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]++|[\]}]++', re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,63}")
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_NULL = b"null"
_FOUND = {
    b'"': "text",
    b"{": "an object",
    b"[": "a list",
    b"t": "true or false",
    b"f": "true or false",
    b"n": "null",
}


class Found(msgspec.Struct, Generic[T], frozen=True):
    """The readable part: `value` has the defaults of fields with problems, and is None if one of them has none."""

    value: T | None
    problems: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The problems in one line."""
        return "; ".join(self.problems)


class _Absent(enum.Enum):
    """The value of a field that could not be read."""

    ABSENT = 0


def read(type_: type[T], document: bytes, patience: int = PATIENCE) -> Found[T]:
    """Decode as `type_`; see the module's text."""
    if nests_deeper(document, MAX_NESTING):
        document = cut(document)
    reader = _Reader(is_cut(document), patience)
    value = reader.read_document(type_, document.strip())
    return Found(None if isinstance(value, _Absent) else value, tuple(reader.problems))


def nests_deeper(document: bytes, levels: int) -> bool:
    """Return whether JSON is nested in more than `levels` levels, on every interpreter alike.

    Costs two counts of bytes if the document has fewer brackets than that, else some 40 ns a byte.
    """
    if document.count(b"{") + document.count(b"[") <= levels:
        return False
    depth = 0
    for found in _BRACKETS.finditer(document):
        at, end = found.span()
        match document[at]:
            case 0x5B | 0x7B:  # [ {
                depth += end - at
                if depth > levels:
                    return True
            case 0x5D | 0x7D:  # ] }
                depth -= end - at
    return False


def cut(document: bytes) -> bytes:
    """A JSON document in which a mark replaces values that are nested deeper than `MAX_DEPTH`."""
    depth = start = done = 0
    parts: list[bytes] = []
    for found in _BRACKETS.finditer(document):
        at, end = found.span()
        match document[at]:
            case 0x5B | 0x7B:  # [ {
                if depth < MAX_DEPTH <= depth + end - at:
                    start = at + MAX_DEPTH - depth - 1
                depth += end - at
            case 0x5D | 0x7D:  # ] }
                if depth - (end - at) < MAX_DEPTH <= depth:
                    parts += [document[done:start], _TOO_DEEP]
                    done = at + depth - MAX_DEPTH + 1
                depth -= end - at
    return b"".join((*parts, document[done:])) if parts else document


def is_cut(document: bytes) -> bool:
    """Whether a document has a mark of `cut`."""
    return _TOO_DEEP in document


class _Reader:
    """Reads one document, and gathers its problems. `is_cut` says whether it holds marks of `cut`."""

    def __init__(self, is_cut: bool, patience: int) -> None:
        self.problems: list[str] = []
        self._is_cut = is_cut
        self._patience = patience

    def read_document(self, type_: Any, raw: bytes) -> Any:
        """As `read`; a document that is null is no absent value."""
        if raw == _NULL and not _takes_null(type_):
            return self._problem("", f"expected {_expected(type_)}, found null")
        return self.read(type_, raw, "", 0)

    def read(self, type_: Any, raw: bytes, path: str, depth: int) -> Any:
        """The value of a field, ABSENT if it has a problem and its type has no part that could be read."""
        if raw == _NULL and not _takes_null(type_):
            return self._zero(type_, path)
        if not (self._is_cut and _TOO_DEEP in raw):
            try:
                return _decoder(type_).decode(raw)
            except UNDECODABLE:
                pass
        if raw == _TOO_DEEP or depth > MAX_DEPTH:
            return self._problem(path, f"nested deeper than {MAX_DEPTH} levels")
        if len(self.problems) >= MAX_PROBLEMS:
            return _Absent.ABSENT
        return self._look_inside(type_, raw, path, depth)

    def _look_inside(self, type_: Any, raw: bytes, path: str, depth: int) -> Any:
        origin, arguments = get_origin(type_), get_args(type_)
        first = raw[:1]
        if type_ is dict:
            return self._look_inside(dict[str, Any], raw, path, depth)
        if origin is Annotated:
            return self._look_inside(arguments[0], raw, path, depth)
        if type_ is Any or type_ is msgspec.Raw:
            if first in b"{[" and first:
                inner: Any = dict[str, type_] if first == b"{" else list[type_]
                self._look_inside(inner, raw, path, depth)
                return _Absent.ABSENT
        elif origin in (Union, types.UnionType):
            options = [option for option in arguments if option is not type(None) and first in _first_bytes(option)]
            if len(options) == 1:
                return self._look_inside(options[0], raw, path, depth)
        elif first == b"{" and (members := _split(_MEMBERS, raw)) is not None:
            if _is_object(type_):
                return self._struct(type_, members, path, depth)
            if origin is dict:
                return self._map(arguments[1], members, path, depth)
        elif origin in (list, set, frozenset) or (origin is tuple and arguments[1:] == (...,)):
            elements = _split(_ELEMENTS, raw) if first == b"[" else None
            if elements is not None:
                return origin(self._elements(arguments[0], elements, path, depth))
        return self._problem(path, f"expected {_expected(type_)}, found {_found(raw, type_)}")

    def _struct(self, type_: Any, members: dict[str, msgspec.Raw], path: str, depth: int) -> Any:
        values: dict[str, Any] = {}
        lacks = False
        for field in _fields(type_):
            inner = f"{path}.{field.encode_name}" if path else field.encode_name
            raw = bytes(members[field.encode_name]) if field.encode_name in members else None
            if raw is None or (raw == _NULL and not field.required and not _takes_null(field.type)):
                if field.required:
                    self._problem(inner, f"missing, expected {_expected(field.type)}")
                    lacks = True
                continue
            value = self.read(field.type, raw, inner, depth + 1)
            if not isinstance(value, _Absent):
                values[field.name] = value
            elif field.required:
                lacks = True
        return _Absent.ABSENT if lacks else type_(**values)

    def _map(self, type_: Any, members: dict[str, msgspec.Raw], path: str, depth: int) -> dict[str, Any]:
        values = {}
        for key, raw in members.items():
            value = self._member(type_, raw, path, key, depth)
            if self._is_over(path):
                break
            if not isinstance(value, _Absent):
                values[key] = value
        return values

    def _elements(self, type_: Any, elements: list[msgspec.Raw], path: str, depth: int) -> Iterator[Any]:
        for number, raw in enumerate(elements):
            value = self._member(type_, raw, path, number, depth)
            if self._is_over(path):
                break
            if not isinstance(value, _Absent):
                yield value

    def _member(self, type_: Any, raw: msgspec.Raw, path: str, key: str | int, depth: int) -> Any:
        """As `read`, of a member of which there may be many: its path is made only when something is wrong with it."""
        content = bytes(raw)
        if content != _NULL and not (self._is_cut and _TOO_DEEP in content):
            try:
                return _decoder(type_).decode(content)
            except UNDECODABLE:
                pass
        return self.read(type_, content, _at(path, key), depth + 1)

    def _is_over(self, path: str) -> bool:
        """Count a value; whether no more are looked at."""
        self._patience -= 1
        if self._patience == 0:
            self._problem(path, "has too many values to say which of them is wrong")
        return self._patience <= 0 or len(self.problems) >= MAX_PROBLEMS

    def _zero(self, type_: Any, path: str) -> Any:
        """The value that Go gives for a null."""
        for empty in (b'""', b"0", b"false", b"{}", b"[]"):
            try:
                return _decoder(type_).decode(empty)
            except UNDECODABLE:
                continue
        return self._problem(path, f"expected {_expected(type_)}, found null")

    def _problem(self, path: str, text: str) -> _Absent:
        if len(self.problems) < MAX_PROBLEMS:
            shown = path if len(path) <= _MAX_PATH else f"{path[:_MAX_PATH]}..."
            self.problems.append(f"{shown}: {text}" if path else text)
        return _Absent.ABSENT


def _at(path: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    shown = "".join(character if " " <= character <= "~" else "?" for character in key[:63])
    return f"{path}[{shown}]"


def _split(decoder: msgspec.json.Decoder[T], raw: bytes) -> T | None:
    try:
        return decoder.decode(raw)
    except UNDECODABLE:
        return None


@functools.cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@functools.cache
def _takes_null(type_: Any) -> bool:
    try:
        _decoder(type_).decode(_NULL)
    except UNDECODABLE:
        return False
    return True


@functools.cache
def _fields(type_: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(type_)


def _is_object(type_: Any) -> bool:
    """Whether a type is a struct that is written as an object, by its fields' names."""
    if not isinstance(type_, type) or not issubclass(type_, msgspec.Struct):
        return False
    return not type_.__struct_config__.array_like and type_.__struct_config__.tag is None


def _expected(type_: Any) -> str:
    """The type of a field, for people."""
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return _expected(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_expected(option) for option in arguments if option is not type(None)))
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return f"one of {', '.join(str(member.value) for member in type_)}"
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return "an object"
    return _WORDS.get(origin or type_, "another value")


_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    tuple: "a list",
    set: "a list",
    frozenset: "a list",
    Any: "JSON",
    msgspec.Raw: "JSON",
}
_BEGINNINGS = {"text": b'"', "an object": b"{", "a list": b"[", "true or false": b"tf"}


def _first_bytes(type_: Any) -> bytes:
    """The bytes that JSON of a type may begin with."""
    return _BEGINNINGS.get(_expected(type_), b'"' if isinstance(type_, type) and issubclass(type_, enum.Enum) else b"")


def _found(raw: bytes, type_: Any) -> str:
    """The type of a JSON value, for people; or its fault if the type is not the problem."""
    if raw[:1] == b"n" and raw != _NULL:
        return "no JSON"
    kind = _FOUND.get(raw[:1], "a number" if raw[:1].isdigit() or raw[:1] == b"-" else "no JSON")
    wrong = _WRONG.get(kind)
    if wrong is None or (raw[:1] not in _first_bytes(type_) and type_ not in (Any, msgspec.Raw, int, float)):
        return kind
    return wrong(raw)


def _wrong_text(raw: bytes) -> str:
    return "text" if _split(_decoder(str), raw) is not None else "text that is not valid UTF-8"


def _wrong_number(raw: bytes) -> str:
    return "a number" if _split(_decoder(float), raw) is not None else "a number out of range"


def _wrong_collection(raw: bytes) -> str:
    kind = _FOUND[raw[:1]]
    whole = _split(_MEMBERS, raw) is not None or _split(_ELEMENTS, raw) is not None
    return kind if whole else f"{kind} that cannot be parsed"


_WRONG: dict[str, Callable[[bytes], str]] = {
    "text": _wrong_text,
    "a number": _wrong_number,
    "an object": _wrong_collection,
    "a list": _wrong_collection,
}
