"""Decide whether an execution with a damaged status can be run again from its start, by what its pods show.

Pods and outputs show which attempts ran and how they ended, but not what was decided: timeouts, cancellations, failures
that a failure node handles, results of nodes without pods. So only the simplest workflows qualify, in which pods decide
everything (docs/consistency.md); any other waits until its status is repaired.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from propeller.controller._attempt_resources import AttemptResource
from propeller.handlers.plugins import claim_of
from propeller.workflow import NodeKind, NodeSpec, Plan, WorkflowPhase

FINE = frozenset({"queued", "running", "succeeded", "skipped"})
"""What the counts of a status may name."""


def why_not_again(name: str, plan: Plan, status: dict[str, Any], resources: Collection[AttemptResource]) -> str:
    """Return why the execution of that name cannot be run again, "" if it can."""
    counts = status.get("counts")
    if status.get("phase") != int(WorkflowPhase.RUNNING) or status.get("error") or not isinstance(counts, dict):
        return "its head does not say that all goes well"
    if any(count for name, count in counts.items() if name not in FINE):
        return "nodes of it have failed or were aborted"
    if status.get("jobs"):
        return "it has jobs of remote services, which no pod proves"
    for node in plan.root.nodes:
        if why := _decides(node):
            return f"node {node.id!r} {why}, which pods do not prove"
    nodes = {node.id for node in plan.root.nodes}
    claims = [(one, claim_of(one.obj, name)) for one in resources]
    if strange := [one.metadata.name for one, claim in claims if claim is None or claim.node not in nodes]:
        return f"it has pods that are none of its own nodes', {', '.join(sorted(strange)[:3])}"
    proven = {claim.node for one, claim in claims if claim is not None and one.has_succeeded}
    succeeded = counts.get("succeeded") or 0
    if not isinstance(succeeded, int) or succeeded > len(proven):
        return f"{succeeded} of its nodes had succeeded, and pods prove {len(proven)}"
    return ""


def _decides(node: NodeSpec) -> str:
    if node.kind is NodeKind.END:
        return ""
    if node.kind is not NodeKind.TASK:
        return f"is a {node.kind} node"
    return "has a time limit" if node.execution_deadline or node.active_deadline else ""
