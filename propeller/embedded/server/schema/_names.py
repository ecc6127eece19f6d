"""Rules for names, label keys, label values and finalizers (k8s.io/apimachinery/pkg/api/validate/content).

Each rule returns the error in kube-apiserver's words, "" if there is none. Results are cached: a controller writes the
same labels and names' prefixes thousands of times.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

NameRule = Callable[[str], str]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)
_QUALIFIED_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character"
)

_IS_LABEL = re.compile(_LABEL).fullmatch
_IS_SUBDOMAIN = re.compile(_SUBDOMAIN).fullmatch
_IS_QUALIFIED = re.compile(_QUALIFIED).fullmatch
_IS_VALUE = re.compile(_VALUE).fullmatch


def _pattern(rule: str, pattern: str, *examples: str) -> str:
    shown = ",  or ".join(f"'{example}'" for example in examples)
    return f"{rule} (e.g. {shown}, regex used for validation is '{pattern}')"


def _length(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def subdomain(name: str) -> str:
    """Names of most objects."""
    if len(name) > 253:
        return _length(253)
    return "" if _IS_SUBDOMAIN(name) else _pattern(_SUBDOMAIN_RULE, _SUBDOMAIN, "example.com")


def label(name: str) -> str:
    """Names of namespaces and containers."""
    if len(name) > 63:
        return _length(63)
    return "" if _IS_LABEL(name) else _pattern(_LABEL_RULE, _LABEL, "my-name", "123-abc")


def path_segment(name: str) -> str:
    """Names of roles: whatever a URL can hold."""
    if name in (".", ".."):
        return f"may not be '{name}'"
    return next((f"may not contain '{character}'" for character in "/%" if character in name), "")


def with_suffix(rule: NameRule) -> NameRule:
    """The rule for a prefix that a generated suffix will follow: it may end with a dash."""
    return lambda prefix: rule(f"{prefix[:-1]}a" if prefix.endswith("-") else prefix)


@functools.lru_cache(maxsize=10_000)
def qualified_name(name: str) -> str:
    """Label keys and finalizers: a name, perhaps after a domain and a slash."""
    prefix, slash, part = name.rpartition("/")
    if "/" in prefix:
        why = _pattern(_QUALIFIED_RULE, _QUALIFIED, "MyName", "my.name", "123-abc")
        return f"a valid label key {why} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
    if slash and not prefix:
        return "prefix part must be non-empty"
    if prefix and (why := subdomain(prefix)):
        return f"prefix part {why}"
    if not part:
        return "name part must be non-empty"
    if len(part) > 63:
        return f"name part {_length(63)}"
    if not _IS_QUALIFIED(part):
        return "name part " + _pattern(_QUALIFIED_RULE, _QUALIFIED, "MyName", "my.name", "123-abc")
    return ""


@functools.lru_cache(maxsize=10_000)
def label_value(value: str) -> str:
    if len(value) > 63:
        return _length(63)
    return "" if _IS_VALUE(value) else _pattern(_VALUE_RULE, _VALUE, "MyValue", "my_value", "12345")
