"""Whether an execution whose status is damaged can be walked again from its beginning, by what its pods prove.

Pods and outputs prove which attempts were run and how they ended, but not what was decided: time-outs, cancellations,
failures that a failure node follows, results of nodes that have no pod. So it is done for the plainest of workflows
alone, of which nothing but pods decides (docs/consistency.md); any other waits for somebody who mends its status.
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
    """What forbids to walk the execution of that name again; "" if nothing does."""
    counts = status.get("counts")
    if status.get("phase") != int(WorkflowPhase.RUNNING) or status.get("error") or not isinstance(counts, dict):
        return "its head does not say that all goes well"
    if any(count for name, count in counts.items() if name not in FINE):
        return "nodes of it have failed or were aborted"
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
