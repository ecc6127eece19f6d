"""Finds the rules that may match a subject, without a look at all of them.

Each rule is filed under one of its conditions: the one that the fewest other rules share. A subject's own values then
find the rules that may match; those without such a condition are always looked at.

Guarantees
    No rule that matches is left out. A lookup costs the number of the subject's values, and of the rules found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from propeller.routing._conditions import NAMES, AnyCondition, LabelCondition, NameCondition, ResourceCondition
from propeller.routing._subject import Subject

Entry = tuple[str, ...]
"""("=", field, name), ("^", field, prefix), ("label", key, value) or ("resource", name)."""


class Index:
    """Of rules by their numbers, which are their places in the table."""

    def __init__(self, rules: Sequence[Mapping[str, AnyCondition]]) -> None:
        self._names: dict[str, dict[str, list[int]]] = {}
        """By field and name."""
        self._prefixes: dict[str, dict[str, list[int]]] = {}
        self._labels: dict[tuple[str, str], list[int]] = {}
        self._resources: dict[str, list[int]] = {}
        self._others: list[int] = []
        shared = Counter(entry for rule in rules for condition in rule.values() for entry in _entries(condition))
        for number, rule in enumerate(rules):
            ways = [entries for condition in rule.values() if (entries := _entries(condition))]
            if not ways:
                self._others.append(number)
                continue
            for entry in min(ways, key=lambda entries: max(shared[one] for one in entries)):
                self._file(entry, number)
        self._names_of = [(NAMES[field][1], table) for field, table in self._names.items()]
        self._prefixes_of = [
            (NAMES[field][1], sorted({len(prefix) for prefix in table}), table)
            for field, table in self._prefixes.items()
        ]

    def _file(self, entry: Entry, number: int) -> None:
        match entry:
            case ("=", field, name):
                self._names.setdefault(field, {}).setdefault(name, []).append(number)
            case ("^", field, prefix):
                self._prefixes.setdefault(field, {}).setdefault(prefix, []).append(number)
            case ("label", key, value):
                self._labels.setdefault((key, value), []).append(number)
            case (_, name):
                self._resources.setdefault(name, []).append(number)

    def candidates(self, subject: Subject) -> tuple[Sequence[int], Sequence[int]]:
        """Two sequences of ascending numbers: rules that the subject's values find, and those without such a value."""
        found: list[int] = []
        for get, table in self._names_of:
            found += table.get(get(subject), ())
        for get, lengths, table in self._prefixes_of:
            value = get(subject)
            for length in lengths:
                if length > len(value):
                    break
                found += table.get(value[:length], ())
        if self._labels:
            for label in (
                subject.labels if subject.task is None else {**subject.labels, **subject.task.labels}
            ).items():
                found += self._labels.get(label, ())
        if self._resources and subject.task is not None:
            for name in subject.task.requests:
                found += self._resources.get(name, ())
        found.sort()
        return found, self._others

    def may_cover(self, conditions: Mapping[str, AnyCondition]) -> Iterable[int]:
        """Rules, in any order, among which are all that hold for whatever these conditions hold for."""
        found = list(self._others)
        for condition in conditions.values():
            match condition:
                case NameCondition(about=field):
                    values = condition.exact or condition.prefixes[:1]
                    value = next(iter(values))  # what covers all of them covers this one
                    if condition.exact:
                        found += self._names.get(field, {}).get(value, ())
                    for length in range(len(value) + 1):
                        found += self._prefixes.get(field, {}).get(value[:length], ())
                case LabelCondition(key=key, values=some) if some:
                    found += self._labels.get((key, next(iter(some))), ())
                case ResourceCondition(name=name):
                    found += self._resources.get(name, ())
                case _:
                    pass
        return found


def _entries(condition: AnyCondition) -> Collection[Entry]:
    """What a condition can be filed under: one of these is found for every subject that it holds for. None if there is
    no such thing.
    """
    match condition:
        case NameCondition(about=field):
            return [("=", field, name) for name in sorted(condition.exact)] + [
                ("^", field, prefix) for prefix in condition.prefixes
            ]
        case LabelCondition(key=key, values=values, absent=absent):
            return [] if absent or values is None else [("label", key, value) for value in sorted(values)]
        case ResourceCondition(name=name):
            return [("resource", name)]
        case _:
            return []
