"""A decision of the routing table: its cost with many rules and clusters, and what a change of the table moves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from loadtest._line import Line
from propeller.routing import (
    Access,
    Cluster,
    ClusterState,
    Declaration,
    Match,
    Placement,
    Pool,
    Rule,
    States,
    Subject,
    Table,
    Task,
    decide,
)

RULES, CLUSTERS = 1_000, 50
EXECUTIONS = 5_000
GPU = "nvidia.com/gpu"


def measure() -> Iterator[Line]:
    table, small = _table(RULES, CLUSTERS), _table(10, CLUSTERS)
    whole, attempts = _subjects(is_task=False), _subjects(is_task=True)
    healthy = {name: ClusterState(pods=10, executions=5) for name in table.clusters}
    half = {
        name: ClusterState(healthy=number % 2 == 0, reason="no answer") for number, name in enumerate(table.clusters)
    }
    many = _seconds(table, whole, healthy)
    yield Line(name="decision on an execution, 1,000 rules, 50 clusters", value=many * 1e6, unit="us", budget=20)
    yield Line(
        name="decision on an attempt of a task",
        value=_seconds(table, attempts, healthy) * 1e6,
        unit="us",
        budget=20,
    )
    yield Line(name="with half of the clusters down", value=_seconds(table, whole, half) / many, unit="x", budget=3)
    yield Line(name="1,000 rules to 10", value=many / _seconds(small, whole, healthy), unit="x", budget=2)
    placed = _placed(table, whole, healthy)
    gone = placed[whole[0].key]
    left = Declaration(
        clusters=tuple(one for one in table.declared.clusters if one.name != gone),
        pools=table.declared.pools,
        rules=table.declared.rules,
    )
    moved = sum(after != placed[key] for key, after in _placed(Table(left), whole, healthy).items())
    yield Line(
        name="executions that move when a cluster goes, to those it had",
        value=moved / Counter(placed.values())[gone],
        unit="x",
        budget=1,
        at_least=1,
    )
    began = time.process_time()
    Table(table.declared)
    yield Line(name="check and compile such a table", value=(time.process_time() - began) * 1e3, unit="ms", budget=500)


def _table(rules: int, clusters: int) -> Table:
    """Rules of all kinds, the last of which matches everything; clusters of unlike weights in one pool."""
    return Table(
        Declaration(
            clusters=tuple(
                Cluster(name=f"c{n}", connection=Access(context=f"c{n}"), weight=1 + n % 5) for n in range(clusters)
            ),
            pools=(Pool(name="all", selector=""),),
            rules=(*(_rule(number) for number in range(rules - 1)), Rule(name="any", pool="all")),
        )
    )


def _rule(number: int) -> Rule:
    match number % 4:
        case 0:
            match = Match(projects=(f"p{number}",), domains=("production", "staging"))
        case 1:
            match = Match(projects=(f"p{number % 50}",), workflows=(f"flows.w{number}.*",))
        case 2:
            match = Match(labels={"team": f"t{number}"}, selector="!legacy")
        case _:
            match = Match(projects=(f"p{number}",), resources={GPU: 1 + number % 8})
    return Rule(name=f"r{number}", pool="all", match=match)


def _subjects(*, is_task: bool) -> list[Subject]:
    task = Task(type="pytorch", requests={"cpu": Decimal(2), GPU: Decimal(4)}, interruptible=True) if is_task else None
    return [
        Subject(
            key=f"p{number % 1200}-production/execution-{number}",
            project=f"p{number % 1200}",
            domain="production",
            workflow=f"flows.w{number % 1200}.wf",
            labels={"team": f"t{number % 1200}", "execution-id": f"e{number}", "project": f"p{number % 1200}"},
            task=task,
        )
        for number in range(EXECUTIONS)
    ]


def _seconds(table: Table, subjects: Sequence[Subject], states: States) -> float:
    """Of CPU, for one decision, the best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for subject in subjects:
            decide(table, subject, states)
        best = min(best, (time.process_time() - began) / len(subjects))
    return best


def _placed(table: Table, subjects: Sequence[Subject], states: States) -> dict[str, str]:
    found = {subject.key: decide(table, subject, states) for subject in subjects}
    return {key: one.cluster for key, one in found.items() if isinstance(one, Placement)}
