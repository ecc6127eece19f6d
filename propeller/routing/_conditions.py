"""The conditions of a rule, compiled: whether one holds for a subject, in words, and which includes which.

Guarantees
    Pure. A match is the conjunction of its conditions. `covers` is exact for two conditions on the same thing: it
    returns whether everything that the other holds for is held for by this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from operator import attrgetter

from propeller.kube._selectors import Operator, Requirement, parse_label_selector
from propeller.quantity import parse, render
from propeller.routing._declared import Match
from propeller.routing._subject import Subject
from propeller.text import bounded, one_line

NAMES: Mapping[str, tuple[str, Callable[[Subject], str]]] = {
    "projects": ("project", attrgetter("project")),
    "domains": ("domain", attrgetter("domain")),
    "workflows": ("workflow", attrgetter("workflow")),
    "launch_plans": ("launch plan", attrgetter("launch_plan")),
    "task_types": ("task type", lambda subject: subject.task.type if subject.task is not None else ""),
    "accelerators": ("accelerator", lambda subject: subject.task.accelerator if subject.task is not None else ""),
}
"""By field of a match: what it is called, and where a subject has it."""

MAX_SHOWN = 100
"""Characters of a subject's value in a message: it is a stranger's."""


class NameCondition:
    """A name is one of some, or begins with one of some prefixes."""

    __slots__ = ("_get", "_what", "about", "exact", "prefixes")

    def __init__(self, field: str, patterns: tuple[str, ...]) -> None:
        self.about = field
        self._what, self._get = NAMES[field]
        self.exact = frozenset(one for one in patterns if not one.endswith("*"))
        self.prefixes = tuple(one[:-1] for one in patterns if one.endswith("*"))

    def holds(self, subject: Subject) -> bool:
        value = self._get(subject)
        return value in self.exact or value.startswith(self.prefixes)

    def covers(self, other: NameCondition) -> bool:
        return all(value in self.exact or value.startswith(self.prefixes) for value in other.exact) and all(
            prefix.startswith(self.prefixes) for prefix in other.prefixes
        )

    def found(self, subject: Subject) -> str:
        value = self._get(subject)
        return f"{self._what} {one_line(bounded(value, MAX_SHOWN))}" if value else f"{self._what} not known"

    def __str__(self) -> str:
        patterns = [*sorted(self.exact), *(f"{prefix}*" for prefix in self.prefixes)]
        return f"{self._what} {' or '.join(patterns)}"


class LabelCondition:
    """What a label may be: any value but `excluded` if `values` is None; whether it may be absent. `of_task` is whether
    it is one of a task, among whose labels are those of its execution, or of an execution.
    """

    __slots__ = ("about", "absent", "excluded", "key", "of_task", "values")

    def __init__(self, key: str, requirements: list[Requirement], *, of_task: bool) -> None:
        self.key = key
        self.of_task = of_task
        self.about = f"label {key} of a task" if of_task else f"label {key}"
        self.absent = all(one.operator in (Operator.ABSENT, Operator.NOT_IN) for one in requirements)
        wanted = [frozenset(one.values) for one in requirements if one.operator is Operator.IN]
        if any(one.operator is Operator.ABSENT for one in requirements):
            wanted.append(frozenset())
        self.excluded = frozenset(
            value for one in requirements if one.operator is Operator.NOT_IN for value in one.values
        )
        self.values = frozenset.intersection(*wanted) - self.excluded if wanted else None

    def is_possible(self) -> bool:
        return self.absent or self.values is None or bool(self.values)

    def _value(self, subject: Subject) -> str | None:
        labels = subject.task.labels if self.of_task and subject.task is not None else subject.labels
        return labels.get(self.key)

    def holds(self, subject: Subject) -> bool:
        value = self._value(subject)
        return self.absent if value is None else self._takes(value)

    def _takes(self, value: str) -> bool:
        return value not in self.excluded if self.values is None else value in self.values

    def covers(self, other: LabelCondition) -> bool:
        if other.absent and not self.absent:
            return False
        if other.values is not None:
            return all(map(self._takes, other.values))
        return self.values is None and self.excluded <= other.excluded

    def found(self, subject: Subject) -> str:
        value = self._value(subject)
        return f"no label {self.key}" if value is None else f"label {self.key}={one_line(bounded(value, MAX_SHOWN))}"

    def __str__(self) -> str:
        if self.values is not None:
            named = f"label {self.key}={' or '.join(sorted(self.values))}" if self.values else ""
            return " or ".join(filter(None, [named, f"no label {self.key}" if self.absent else ""]))
        wanted = f"label {self.key}" + (f" not {' or '.join(sorted(self.excluded))}" if self.excluded else "")
        return f"{wanted} or none" if self.absent else wanted


class ResourceCondition:
    """A task requests at least so much of a resource."""

    __slots__ = ("about", "least", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.about = f"resource {name}"
        self.least = parse(text)

    def holds(self, subject: Subject) -> bool:
        return subject.task is not None and subject.task.requests.get(self.name, _NONE) >= self.least

    def covers(self, other: ResourceCondition) -> bool:
        return self.least <= other.least

    def found(self, subject: Subject) -> str:
        requested = _NONE if subject.task is None else subject.task.requests.get(self.name, _NONE)
        return f"{self.name} {render(requested)}"

    def __str__(self) -> str:
        return f"{self.name} at least {self.text}"


class InterruptibleCondition:
    """A task is interruptible, or is not."""

    __slots__ = ("about", "wanted")

    def __init__(self, wanted: bool) -> None:
        self.about = "interruptible"
        self.wanted = wanted

    def holds(self, subject: Subject) -> bool:
        return subject.task is not None and subject.task.interruptible is self.wanted

    def covers(self, other: InterruptibleCondition) -> bool:
        return self.wanted is other.wanted

    def found(self, subject: Subject) -> str:
        return _interruptible(subject.task is not None and subject.task.interruptible)

    def __str__(self) -> str:
        return _interruptible(self.wanted)


def _interruptible(is_it: bool) -> str:
    return "interruptible" if is_it else "not interruptible"


_NONE = Decimal(0)

AnyCondition = NameCondition | LabelCondition | ResourceCondition | InterruptibleCondition


def conditions_of(match: Match) -> dict[str, AnyCondition]:
    """By what each is about. Raises Invalid for a selector or a quantity that is none."""
    return {condition.about: condition for condition in _conditions(match)}


def _conditions(match: Match) -> Iterator[AnyCondition]:
    for field in NAMES:
        patterns = getattr(match, field)
        if patterns and "*" not in patterns:  # which holds for everything
            yield NameCondition(field, patterns)
    requirements = [Requirement(key, Operator.IN, (value,)) for key, value in match.labels.items()]
    by_key: dict[str, list[Requirement]] = {}
    for requirement in (*requirements, *parse_label_selector(match.selector).requirements):
        by_key.setdefault(requirement.key, []).append(requirement)
    for key, found in by_key.items():
        yield LabelCondition(key, found, of_task=match.is_about_tasks)
    for name, amount in match.resources.items():
        yield ResourceCondition(name, str(amount))
    if match.interruptible is not None:
        yield InterruptibleCondition(match.interruptible)


def covers(one: AnyCondition, other: AnyCondition) -> bool:
    """Whether `one` holds wherever `other` does; both are about the same thing."""
    match one, other:
        case NameCondition(), NameCondition():
            return one.covers(other)
        case LabelCondition(), LabelCondition():
            return one.covers(other)
        case ResourceCondition(), ResourceCondition():
            return one.covers(other)
        case InterruptibleCondition(), InterruptibleCondition():
            return one.covers(other)
        case _:
            return False
