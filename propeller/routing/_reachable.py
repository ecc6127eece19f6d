"""Rules that nothing can reach, as those before them match all that they match, or as they contradict themselves.

Guarantees
    What is said to be unreachable is. A rule is divided into cases (one name of a list, one value of a label, tasks
    that are interruptible and those that are not), each of which has to be matched by one rule before it; a rule that
    is unreachable only by other divisions (a prefix that several others make up together) is not found.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence

from propeller.errors import Invalid
from propeller.kube._selectors import Operator, Requirement
from propeller.routing._conditions import (
    AnyCondition,
    InterruptibleCondition,
    LabelCondition,
    NameCondition,
    conditions_of,
    covers,
)
from propeller.routing._declared import Rule
from propeller.routing._index import Index

MAX_CASES = 100
"""Of one rule. One with more is looked at as a whole."""

Conditions = Mapping[str, AnyCondition]


def unreachable(rules: Sequence[Rule], unread: Container[object]) -> Iterator[tuple[int, str]]:
    """The place of each such rule, and why. Rules of `unread`, and those whose conditions are none, are left out."""
    compiled: list[Conditions] = []
    places: list[int] = []
    for place, rule in enumerate(rules):
        if place not in unread:
            try:
                compiled.append(conditions_of(rule.match))
            except Invalid:
                continue
            places.append(place)
    index = Index(compiled)
    about_tasks = [rules[place].match.is_about_tasks for place in places]
    for number, place in enumerate(places):
        impossible = [
            one for one in compiled[number].values() if isinstance(one, LabelCondition) and not one.is_possible()
        ]
        if impossible:
            yield place, f"nothing can match it: label {impossible[0].key} cannot be all that is asked of it"
            continue
        hiding: list[int] = []
        for case in _cases(compiled[number], about_tasks[number]):
            before = (
                other
                for other in sorted(index.may_cover(case))
                if other < number and (about_tasks[number] or not about_tasks[other]) and _covers(compiled[other], case)
            )
            first = next(before, None)
            if first is None:
                break
            hiding.append(first)
        else:
            names = " and ".join(dict.fromkeys(repr(rules[places[other]].name) for other in hiding[:5]))
            which = "rule" if len(set(hiding)) == 1 else "rules"
            yield place, f"nothing reaches it: all that it matches is matched before by {which} {names}"


def _covers(before: Conditions, case: Conditions) -> bool:
    """Whether the conditions hold for all that the case's hold for."""
    return all(about in case and covers(condition, case[about]) for about, condition in before.items())


def _cases(conditions: Conditions, about_tasks: bool) -> Iterator[Conditions]:
    """The rule's conditions, divided."""
    divided: dict[str, list[AnyCondition]] = {about: _parts(one) for about, one in conditions.items()}
    if about_tasks and "interruptible" not in conditions:
        divided["interruptible"] = [InterruptibleCondition(True), InterruptibleCondition(False)]
    count = 1
    for parts in divided.values():
        count *= len(parts)
    if count > MAX_CASES:
        yield conditions
        return
    for chosen in itertools.product(*divided.values()):
        yield dict(zip(divided, chosen, strict=True))


def _parts(condition: AnyCondition) -> list[AnyCondition]:
    match condition:
        case NameCondition(about=field, exact=exact, prefixes=prefixes):
            return [NameCondition(field, (one,)) for one in (*sorted(exact), *(f"{prefix}*" for prefix in prefixes))]
        case LabelCondition(key=key, values=values, absent=False, of_task=of_task) if values:
            return [
                LabelCondition(key, [Requirement(key, Operator.IN, (value,))], of_task=of_task)
                for value in sorted(values)
            ]
        case _:
            return [condition]
