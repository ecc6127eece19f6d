"""Check `executionConfig.TaskPluginImpls`, by which FlyteAdmin selects plugins per task type."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from propeller.errors import Invalid
from propeller.workflow import NodeView


def check_override(node: NodeView, ids: AbstractSet[str]) -> None:
    """Raise Invalid if the execution requires another plugin for the task than the one with these `ids`
    (flytepropeller's task handler, ResolvePlugin).
    """
    impls = node.execution.info.spec.execution_config.task_plugin_impls
    if not impls:
        return
    task = node.graph.plan.task(node.spec.task)
    override = impls.get(task.type)
    if override is None or not override.plugin_ids or override.missing_plugin_behavior not in {0, "FAIL"}:
        return
    if ids.isdisjoint(override.plugin_ids):
        raise Invalid(
            f"executionConfig.TaskPluginImpls asks for plugin {' or '.join(override.plugin_ids)} for task "
            f"{task.id.name} of type {task.type!r}, which plugin {' or '.join(sorted(ids))} runs here; see "
            "docs/differences.md"
        )
