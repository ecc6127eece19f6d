"""A file of expectations: what is to go where, against which a table is checked before it is in force.

Errors
    InvalidTable for a file that cannot be read, with line and column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from propeller.errors import Invalid
from propeller.quantity import parse
from propeller.routing._decide import decide
from propeller.routing._problems import InvalidTable, Problem
from propeller.routing._reading import read_as
from propeller.routing._simulate import Running
from propeller.routing._subject import ClusterState, Placement, Subject, Task, Waiting
from propeller.routing._table import Table
from propeller.routing._yaml import Text

KEYS = 200
"""Executions that are placed for an expectation without a `key`: all of them have to go where it says."""


class _Written(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The base of what is written in the file."""


class ExecutionText(_Written, frozen=True):
    """An execution, as people write it. `cluster` is the one that it has already."""

    key: str = ""
    project: str = ""
    domain: str = ""
    workflow: str = ""
    launch_plan: str = ""
    labels: Mapping[str, str] = {}
    cluster: str = ""


class TaskText(_Written, frozen=True):
    """A task of it."""

    type: str = ""
    accelerator: str = ""
    resources: Mapping[str, str | int | float] = {}
    interruptible: bool = False
    labels: Mapping[str, str] = {}


class Outcome(_Written, frozen=True):
    """What is expected: all that is given has to hold. `clusters` are those that it may go to."""

    clusters: tuple[str, ...] = ()
    pool: str = ""
    rule: str = ""
    waits: bool = False


class Expectation(_Written, frozen=True):
    """One of a file. `down` are clusters that are unhealthy meanwhile."""

    expect: Outcome
    execution: ExecutionText = ExecutionText()
    task: TaskText | None = None
    down: tuple[str, ...] = ()
    name: str = ""


class Expectations(_Written, frozen=True):
    """The file."""

    expectations: tuple[Expectation, ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """An expectation that a table does not meet; `number` is from 1."""

    number: int
    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"expectation {self.number}{name}: expected {self.expected}; {self.found}"


def parse_expectations(content: bytes, source: str) -> tuple[Expectation, ...]:
    """The expectations of a text, YAML or JSON."""
    text = Text(content, source)
    found, problems = read_as(Expectations, text.document)
    problems = [*text.problems, *problems]
    if not problems:
        problems += _problems(found)
    if problems:
        raise InvalidTable(problems).located(text.positions, source)
    return found.expectations


def _problems(found: Expectations) -> Iterator[Problem]:
    if not found.expectations:
        yield Problem((), "there are no expectations")
    for place, one in enumerate(found.expectations):
        path = ("expectations", place)
        if one.expect == Outcome():
            yield Problem((*path, "expect"), "says nothing: name clusters, pool, rule, or waits: true")
        if one.expect.waits and (one.expect.clusters or one.expect.pool):
            yield Problem((*path, "expect"), "says that it waits, and where it goes: one of them")
        for name, amount in one.task.resources.items() if one.task is not None else ():
            try:
                parse(str(amount))
            except Invalid as error:
                yield Problem((*path, "task", "resources", name), str(error))


def subject_of(execution: ExecutionText, task: TaskText | None = None) -> Subject:
    """What `decide` takes. Raises Invalid for a request that is no quantity."""
    return Subject(
        key=execution.key,
        project=execution.project,
        domain=execution.domain,
        workflow=execution.workflow,
        launch_plan=execution.launch_plan,
        labels=execution.labels,
        task=None
        if task is None
        else Task(
            type=task.type,
            accelerator=task.accelerator,
            requests={name: parse(str(amount)) for name, amount in task.resources.items()},
            interruptible=task.interruptible,
            labels={**task.labels, **execution.labels},
        ),
    )


def differences(table: Table, expectations: Sequence[Expectation]) -> Iterator[Difference]:
    """The expectations that the table does not meet."""
    for number, one in enumerate(expectations, 1):
        subject = subject_of(one.execution, one.task)
        keys = [subject.key] if subject.key else [f"expected/{key}" for key in range(KEYS)]
        states = {name: ClusterState(healthy=False, reason="it is named in `down`") for name in one.down}
        for name in (*one.down, *one.expect.clusters, *([one.execution.cluster] if one.execution.cluster else ())):
            if name not in table.clusters:
                yield Difference(number, one.name, f"cluster {name}", "the table has no such cluster")
                break
        else:
            for key in keys:
                found = decide(table, msgspec.structs.replace(subject, key=key), states, one.execution.cluster)
                if not _meets(found, one.expect):
                    yield Difference(number, one.name, _shown(one.expect), found.reason)
                    break


def _meets(found: Placement | Waiting, expected: Outcome) -> bool:
    if expected.rule and found.rule != expected.rule:
        return False
    if isinstance(found, Waiting):
        return expected.waits or not (expected.clusters or expected.pool)
    if expected.waits:
        return False
    return (not expected.clusters or found.cluster in expected.clusters) and expected.pool in ("", found.pool)


def _shown(expected: Outcome) -> str:
    parts = [f"cluster {' or '.join(expected.clusters)}"] if expected.clusters else []
    parts += [f"pool {expected.pool}"] if expected.pool else []
    parts += ["to wait"] if expected.waits else []
    parts += [f"rule {expected.rule}"] if expected.rule else []
    return ", ".join(parts)


class _RunningTexts(_Written, frozen=True):
    executions: tuple[ExecutionText, ...] = ()


def parse_running(content: bytes, source: str) -> tuple[Running, ...]:
    """The executions of a text: a list `executions`. Raises InvalidTable."""
    text = Text(content, source)
    found, problems = read_as(_RunningTexts, text.document)
    problems = [*text.problems, *problems]
    for place, one in enumerate(found.executions):
        if not one.key:
            problems.append(Problem(("executions", place), "key is missing: the execution's namespace/name"))
    if problems:
        raise InvalidTable(problems).located(text.positions, source)
    return tuple(Running(subject_of(one), one.cluster) for one in found.executions)
