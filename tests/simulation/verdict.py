"""Whether a world came to the end that it should."""

from __future__ import annotations

import asyncio

from tests.simulation.oracle import Workflow
from tests.simulation.retyped import stored_workflows
from tests.simulation.scene import Scene

PATIENCE = 6 * 3600.0
"""Virtual seconds after the last fault within which every execution ends: deadlines, backoffs and pauses included."""

QUIET = 120.0
"""Virtual seconds of rest at the end, in which nothing may happen any more."""


async def wait_for_the_end(scene: Scene) -> None:
    ends = scene.loop.time() + PATIENCE
    oracle = scene.oracle
    while waiting := [
        w for w in (*oracle.workflows.values(), *oracle.children.values()) if not w.deleted and not w.ended
    ]:
        if scene.loop.time() > ends:
            for workflow in waiting:
                scene.event_log.violation(f"{workflow.name} ({workflow.uid}) does not end")
            return
        scene.sidecars.check()
        await asyncio.sleep(1.0)
    scene.event_log.record("everything has ended")
    await asyncio.sleep(QUIET + scene.sidecars.longest_stop)


def check_the_end(scene: Scene) -> None:
    for workflow in (*scene.oracle.workflows.values(), *scene.oracle.children.values()):
        if workflow.deleted or not workflow.ended or (workflow.disturbed and workflow.status["phase"] != 3):
            continue
        phase, wanted = workflow.status["phase"], 3 if workflow.prediction.succeeds else 5
        if phase == 6 and workflow.undeleted:
            continue
        if phase != wanted:
            error = workflow.status.get("error")
            scene.event_log.violation(f"{workflow.name} ended in phase {phase}, not {wanted}: {error}")
        if workflow.prediction.outputs is not None and phase == wanted:
            outputs = scene.blobs.get(f"{workflow.status['dataDir']}/end-node/data/0/outputs.pb")
            if outputs != workflow.prediction.outputs:
                scene.event_log.violation(
                    f"{workflow.name} has outputs {outputs!r}, not {workflow.prediction.outputs!r}"
                )
        if phase == 5 and scene.oracle.strict:
            _check_failure_node(scene, workflow)
    _check_pods(scene)
    check_children(scene)
    if scene.fault_free or (scene.oracle.reserves and scene.oracle.last_kill < 0):
        for uri in scene.blobs:
            if uri.endswith(".reservation"):
                scene.event_log.violation(f"nobody computes it any more, and {uri} is reserved")


def _check_failure_node(scene: Scene, workflow: Workflow) -> None:
    """An execution that has failed has run its failure node, whose outcome is as foretold."""
    node = workflow.prediction.failure_node
    if not node or scene.oracle.caches or workflow.restored or node in workflow.recovered | workflow.taken_over:
        return
    ends_well, _ = workflow.prediction.tasks[node].script.end()
    has_run = any(pod.node == node for pod in (*workflow.pods, *workflow.forgotten))
    if not has_run or (ends_well and node not in workflow.done):
        scene.event_log.violation(f"{workflow.name} has failed, and its failure node {node} has not run to its end")


def check_children(scene: Scene) -> None:
    """No execution that a node has started is left of one that was deleted, nor goes on after its parent's end."""
    kept = set(stored_workflows(scene.server))
    for child in scene.oracle.children.values():
        parent = child.parent
        if child.uid in kept and (child.deleted or child.collected):
            scene.event_log.violation(f"execution {child.name} is left, and was to go")
        elif parent is not None and parent.ended and not (child.ended or child.deleted or child.collected):
            scene.event_log.violation(f"execution {child.name} goes on after the end of {parent.name}")


def _check_pods(scene: Scene) -> None:
    kept = {
        record.key: record.parsed()
        for record in scene.server._registry.get("", "v1", "pods").collection.records.values()
    }
    for pod in kept.values():
        owner = pod["metadata"]["ownerReferences"][0]["uid"]
        workflow = scene.oracle.find(owner)
        assert workflow is not None
        if workflow.deleted or workflow.collected:
            scene.event_log.violation(f"pod {pod['metadata']['name']} is left of a workflow that was deleted")
        elif pod["status"].get("phase") not in {"Succeeded", "Failed"}:
            scene.event_log.violation(f"pod {pod['metadata']['name']} is left running")
