"""Label and field selectors: parsed, matched and written, as the API server understands them.

Grammar: k8s.io/apimachinery/pkg/labels and pkg/fields. Keys and values of labels are checked as the server checks them.
Values are compared as text; the numeric operators (`>`, `<`) that only node affinity uses are refused.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

import msgspec

from propeller.errors import Invalid
from propeller.names import DNS_SUBDOMAIN

_WORD = r"[^\s!=,()<>]+"
_REQUIREMENT = re.compile(
    rf"""\s*(?:
        (?P<not>!)\s*(?P<absent>{_WORD})
      | (?P<key>{_WORD})(?:
            \s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)
          | \s*(?P<operator>==|=|!=)\s*(?P<value>(?:{_WORD})?)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:(?=.{{1,253}}/){DNS_SUBDOMAIN}/)?{_NAME}")
_VALUE = re.compile(rf"(?:{_NAME})?")

_TERM = re.compile(r"(.+?)(!=|==|=)(.*)", re.DOTALL)
_PART = re.compile(r"(?:[^\\,]|\\.?)+", re.DOTALL)
_SPECIAL = re.compile(r"([\\,=])")
_ESCAPED = re.compile(r"\\([\\,=])|([\\,=])")


class Operator(enum.StrEnum):
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "!"


class Requirement(msgspec.Struct, frozen=True):
    """One condition. A label that is absent is not in any set of values, so NOT_IN holds for it."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.ABSENT:
                return self.key not in labels

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.ABSENT:
                return f"!{self.key}"
            case Operator.IN if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case Operator.NOT_IN if len(self.values) == 1:
                return f"{self.key}!={self.values[0]}"
            case _:
                return f"{self.key} {self.operator} ({','.join(self.values)})"


class LabelSelector(msgspec.Struct, frozen=True):
    """All requirements must hold; none at all selects everything. `str` writes it as the API takes it."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        return all(requirement.matches(labels or {}) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


class FieldSelector(msgspec.Struct, frozen=True):
    """`(path, equal, value)` conditions on fields by dotted path; all must hold."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """`fields` gives the text of each selectable field by its path; an absent one counts as empty."""
        return all((fields.get(path, "") == value) is equal for path, equal, value in self.terms)

    def __str__(self) -> str:
        return ",".join(f"{path}{'=' if equal else '!='}{_escape(value)}" for path, equal, value in self.terms)


def is_label(key: str, value: str) -> bool:
    """Whether the API server takes this key (`[prefix/]name`) and value as a label."""
    return _KEY.fullmatch(key) is not None and _VALUE.fullmatch(value) is not None


def parse_label_selector(text: str) -> LabelSelector:
    """Parse `a=b,c!=d,e in (f,g),h,!i`; raises Invalid with the position that does not parse."""
    requirements: list[Requirement] = []
    position, text = 0, text.strip()
    while position < len(text):
        found = _REQUIREMENT.match(text, position)
        if found is None or found.end() == position:
            raise Invalid(f"label selector {text!r} does not parse from {text[position:]!r} on")
        requirements.append(_requirement(found, text))
        position = found.end()
    if text.endswith(","):
        raise Invalid(f"label selector {text!r} ends with a comma: a requirement is missing")
    return LabelSelector(tuple(requirements))


def parse_field_selector(text: str) -> FieldSelector:
    """Parse `metadata.name=x,status.phase!=Running` with backslash escapes; raises Invalid."""
    terms: list[tuple[str, bool, str]] = []
    for part in _PART.findall(text):
        found = _TERM.fullmatch(part)
        if found is None:
            raise Invalid(f"field selector {text!r}: {part!r} is not of the form path=value or path!=value")
        terms.append((found[1], found[2] != "!=", _unescape(found[3], text)))
    return FieldSelector(tuple(terms))


def _requirement(found: re.Match[str], text: str) -> Requirement:
    if found["absent"]:
        requirement = Requirement(found["absent"], Operator.ABSENT)
    elif found["set"]:
        values = tuple(sorted({value.strip() for value in found["values"].split(",")}))
        requirement = Requirement(found["key"], Operator(found["set"]), values)
    elif found["operator"]:
        operator = Operator.NOT_IN if found["operator"] == "!=" else Operator.IN
        requirement = Requirement(found["key"], operator, (found["value"],))
    else:
        requirement = Requirement(found["key"], Operator.EXISTS)
    if not _KEY.fullmatch(requirement.key):
        raise Invalid(f"label selector {text!r}: {requirement.key!r} is no label key ([prefix/]name)")
    for value in requirement.values:
        if not _VALUE.fullmatch(value):
            raise Invalid(
                f"label selector {text!r}: {value!r} is no label value (at most 63 letters, digits, '-', '_', '.')"
            )
    return requirement


def _escape(value: str) -> str:
    return _SPECIAL.sub(r"\\\1", value)


def _unescape(value: str, text: str) -> str:
    """Undo `_escape`; raises Invalid if a character lacks its backslash, or a backslash is not needed."""

    def undo(found: re.Match[str]) -> str:
        if found[1] is None:
            raise Invalid(f"field selector {text!r}: {found[2]!r} in {value!r} needs a backslash before it")
        return found[1]

    return _ESCAPED.sub(undo, value)
