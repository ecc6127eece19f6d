"""Builders of small workflows, and a driver that answers every effect as a well-behaved cluster would."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from flyteidl.core import literals_pb2

from propeller.handlers import TRANSITIONS
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    BranchEvaluated,
    Collect,
    Decision,
    Effect,
    EvaluateBranch,
    Execution,
    ExecutionInfo,
    ExecutionSpec,
    Expire,
    Expired,
    GatherOutputs,
    InputsWritten,
    Launch,
    Launched,
    NodeEvent,
    NodePhase,
    ObserveAttempt,
    OutputsFound,
    OutputsWritten,
    Plan,
    StopAttempt,
    Stopped,
    WriteInputs,
    WriteOutputs,
    begin,
    decide,
    parse_plan,
)

Answer = Callable[[Execution, Effect], Iterable[NodeEvent] | None]
"""A test's own answer to an effect; None leaves it to the driver."""

TASK = {"id": {"name": "t"}, "type": "python-task", "container": {"image": "i"}}


def task(node_id: str, **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "task", "task": "t", **fields}


def graph(*nodes: dict[str, Any], edges: Iterable[tuple[str, str]] = (), **fields: Any) -> dict[str, Any]:
    """A graph of nodes; those without successor lead to the end node, those without predecessor follow the start."""
    edges = list(edges)
    cases = {target for node in nodes if "branch" in node for target in _targets(node["branch"])}
    upstream: dict[str, list[str]] = {}
    for before, after in edges:
        upstream.setdefault(after, []).append(before)
    sources = {before for before, _ in edges}
    for node in nodes:
        upstream.setdefault(node["id"], ["start-node"])
        if node["id"] not in sources and node["id"] not in cases:
            upstream.setdefault("end-node", []).append(node["id"])
    everything = [*nodes, {"id": "end-node", "kind": "end"}, {"id": "start-node", "kind": "start"}]
    return {"id": "w", "nodes": {n["id"]: n for n in everything}, "edges": {"upstream": upstream}, **fields}


def _targets(branch: dict[str, Any]) -> Iterable[str]:
    yield from (case["then"] for case in [branch["if"], *branch.get("elseIf", [])])
    yield from [branch["else"]] if "else" in branch else []


def plan(root: dict[str, Any], **sub_workflows: dict[str, Any]) -> Plan:
    closure = {"spec": root, "tasks": {"t": TASK}, "subWorkflows": sub_workflows}
    return parse_plan(json.dumps(closure).encode(), "digest")


def execution(of: Plan, spec: ExecutionSpec = ExecutionSpec()) -> Execution:  # noqa: B008 - frozen
    info = ExecutionInfo(
        name="e", namespace="ns", uid="u", directory="memory://m/e", inputs=literals_pb2.LiteralMap(), spec=spec
    )
    return Execution(info, of, now=1000.0)


class Driver:
    """Decides until nothing is left to do. `launched` lists each (unique id, attempt) that was launched, in order."""

    def __init__(self, of: Execution, answer: Answer = lambda execution, effect: None) -> None:
        self.execution = of
        self.answer = answer
        self.now = 1000.0
        self.launched: list[tuple[str, int]] = []
        self.stopped: list[tuple[str, int]] = []
        self.at_once = 0

    def run(self) -> Execution:
        self.carry_on(begin(self.execution, TRANSITIONS, self.now))
        return self.execution

    def carry_on(self, decision: Decision) -> None:
        while True:
            events = [(effect.node, event) for effect in decision.effects for event in self.events_of(effect)]
            self.at_once = max(self.at_once, sum(state.holds_slot for state in self.execution.states.values()))
            if not events and not decision.more:
                if decision.wake is None or self.execution.phase.ended:
                    return
                self.now = max(self.now, decision.wake)
            decision = decide(self.execution, events, self.now, TRANSITIONS)

    def events_of(self, effect: Effect) -> Iterable[NodeEvent]:
        unique_id = self.execution.unique_id(effect.node)
        if isinstance(effect, Launch):
            self.launched.append((unique_id, effect.attempt))
        if isinstance(effect, StopAttempt):
            self.stopped.append((unique_id, effect.attempt))
        own = self.answer(self.execution, effect)
        return self.well_behaved(effect) if own is None else own

    def well_behaved(self, effect: Effect) -> Iterable[NodeEvent]:
        match effect:
            case Launch(attempt=attempt) | ObserveAttempt(attempt=attempt):
                return (Launched(attempt), AttemptObserved(attempt, AttemptPhase.SUCCEEDED))
            case Collect(attempt=attempt):
                return (OutputsFound(attempt),)
            case WriteInputs():
                return (InputsWritten(),)
            case WriteOutputs() | GatherOutputs():
                return (OutputsWritten(),)
            case Expire(attempt=attempt):
                return (Expired(attempt),)
            case StopAttempt(attempt=attempt):
                return (Stopped(attempt),)
            case EvaluateBranch(node=node):
                branch = self.execution.view(node).spec.branch
                assert branch is not None
                return (BranchEvaluated(branch.if_.then),)
            case _:
                return ()

    def phase_of(self, unique_id: str) -> NodePhase:
        for node in range(len(self.execution.phases)):
            if self.execution.unique_id(node) == unique_id:
                return NodePhase(self.execution.phases[node])
        raise LookupError(unique_id)
