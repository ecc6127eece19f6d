"""Which plugins an execution allows for a task: `executionConfig.TaskPluginImpls`, which FlyteAdmin fills in."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from propeller.errors import Invalid
from propeller.workflow import NodeView


def check_override(node: NodeView, ids: AbstractSet[str]) -> None:
    """Refuse a task whose execution insists on another plugin than the one of these `ids` (flytepropeller's task
    handler, ResolvePlugin). Raises Invalid.
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
