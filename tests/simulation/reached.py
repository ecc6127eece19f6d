"""Which kinds of nodes and tasks were under way when something befell an execution: counted for docs/testing.md.

A seed that finds no broken promise says something of a kind only if that kind was at work at the time: its pod ran, its
gate waited, its execution was under way. A node inside of others counts for them, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import orjson

from propeller.kube import Request
from tests.simulation.oracle import NODE, Oracle, PodRecord, Workflow

KILLED, ABORTED, RECOVERED, DIVIDED, STORE_DOWN = "kill -9", "abort", "recovery", "two controllers", "store down"
REFUSED, WATCHES_CUT = "request lost", "watch cut"

BEFALLS = {
    KILLED: "the process of its controller is killed, between any two awaits",
    ABORTED: "a user deletes its workflow",
    RECOVERED: "the execution has failed, and another one that takes over what it has left is created",
    DIVIDED: "a second controller begins beside the first, or its shard goes from one controller to another",
    STORE_DOWN: "the object store goes away",
    REFUSED: "a write of its status, or the create of its pod, is refused (409, 429, 500, 504), or its answer is lost",
    WATCHES_CUT: "watches are cut, their history is compacted, or the API server cannot be reached for a while",
}
"""What may befall an execution, in the order of the table."""

OF_KINDS = (
    "task",
    "map task",
    "dynamic task",
    "branch",
    "sub-workflow",
    "sleep",
    "signal",
    "approval",
    "launch plan",
    "map over launch plans",
    "failure node",
    "raw container",
    "operator object",
    "connector job",
    "cached task",
    "reservation",
    "held pod",
)
"""Kinds of nodes and tasks, in the order of the table."""

Cell = tuple[str, str]
"""A kind, and what befell it."""


class Reached:
    """What one world has reached. It draws nothing and tells nothing, so that a world is the same without it."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.cells: set[Cell] = set()

    def befalls(self, what: str, workflows: Iterable[Workflow] | None = None) -> None:
        """Something befalls these executions; None: all."""
        everybody = (*self._oracle.workflows.values(), *self._oracle.children.values())
        for workflow in everybody if workflows is None else workflows:
            self.cells.update((kind, what) for kind in self._under_way(workflow))

    def request_failed(self, request: Request) -> None:
        """A request of a controller has failed, as far as that one knows."""
        match request.method, request.path.split("/"):
            case "POST", [*_, "pods"]:
                metadata = orjson.loads(request.body)["metadata"]
                workflow = self._oracle.find(metadata["ownerReferences"][0]["uid"])
                if workflow is not None:
                    kinds = self._oracle.kinds_of_pods | _kinds_of_node(workflow, metadata["annotations"][NODE])
                    self.cells.update((kind, REFUSED) for kind in kinds)
            case "POST", [*_, "flyteworkflows"] if owners := orjson.loads(request.body)["metadata"].get(
                "ownerReferences"
            ):
                parent = self._oracle.find(owners[0]["uid"])
                node = orjson.loads(request.body)["metadata"]["annotations"][NODE]
                if parent is not None and (child := parent.prediction.children.get(node)) is not None:
                    self.cells.update((kind, REFUSED) for kind in child.kinds)
            case "PATCH", [*_, "flyteworkflows", name] | [*_, "flyteworkflows", name, "status"]:
                everybody = (*self._oracle.workflows.values(), *self._oracle.children.values())
                self.befalls(REFUSED, [one for one in everybody if one.name == name])

    def recovers(self, earlier: Workflow) -> None:
        """An execution that has failed is recovered: all that had begun of it counts."""
        begun = [_kinds_of(earlier, pod) for pod in earlier.pods]
        begun += [earlier.prediction.children[child.node].kinds for child in earlier.children]
        begun += [gate.kinds for node, gate in earlier.prediction.gates.items() if node in earlier.answers]
        self.cells.update((kind, RECOVERED) for kind in frozenset[str]().union(*begun))
        for child in earlier.children:
            self.recovers(child)

    def _under_way(self, workflow: Workflow) -> frozenset[str]:
        if workflow.deleted or workflow.collected or workflow.ended:
            return frozenset()
        found = [_kinds_of(workflow, pod) for pod in workflow.pods if pod.live]
        found += [workflow.prediction.children[one.node].kinds for one in workflow.children if not one.ended]
        proven = workflow.done | workflow.recovered
        for node, gate in workflow.prediction.gates.items():
            if workflow.status and node not in workflow.answers and gate.after <= proven:
                found.append(gate.kinds)
        return frozenset[str]().union(*found)


def _kinds_of(workflow: Workflow, pod: PodRecord) -> frozenset[str]:
    return pod.kinds | _kinds_of_node(workflow, pod.node)


def _kinds_of_node(workflow: Workflow, node: str) -> frozenset[str]:
    expected = workflow.prediction.tasks.get(node)
    if expected is None:
        return frozenset()
    is_reserved = getattr(workflow.flow, "serialize", False) and not expected.is_inner
    return expected.kinds | (frozenset({"reservation"}) if is_reserved else frozenset())


def table_of(counts: Counter[Cell], kinds: Iterable[str] = OF_KINDS) -> str:
    """Return the table of how many seeds have reached each cell, in Markdown."""
    lines = ["| | " + " | ".join(BEFALLS) + " |", "|---|" + "---|" * len(BEFALLS)]
    lines += [f"| {kind} | " + " | ".join(str(counts[kind, what]) for what in BEFALLS) + " |" for kind in kinds]
    return "\n".join(lines)


def as_rows(counts: Counter[Cell]) -> dict[str, dict[str, int]]:
    """Return the cells that were reached, by kind and by what befell it, in the order of the table."""
    rows = {kind: {what: counts[kind, what] for what in BEFALLS if counts[kind, what]} for kind in OF_KINDS}
    return {kind: row for kind, row in rows.items() if row}
