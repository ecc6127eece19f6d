"""Name and labels of the resource (flytepropeller/pkg/compiler/transformers/k8s/workflow.go)."""

from __future__ import annotations

from typing import Any

from flyteidl.core import identifier_pb2

from propeller.workflow import SHARD_LABEL, label_value, shard_key

_GENERATED_NAME_LENGTH = 32


def build_metadata(
    workflow: identifier_pb2.Identifier,
    execution: identifier_pb2.WorkflowExecutionIdentifier | None,
    namespace: str,
) -> dict[str, Any]:
    """Without an execution, a name for the API server to complete."""
    metadata: dict[str, Any] = {}
    if execution is not None:
        label, project, domain = execution.name, execution.project, execution.domain
        if label:
            metadata["name"] = label
    else:
        parts = [part for part in (workflow.project, workflow.domain) if part] + [workflow.name]
        label = "-".join(parts).encode()[:_GENERATED_NAME_LENGTH].decode(errors="ignore")
        project, domain = workflow.project, workflow.domain
        metadata["generateName"] = f"{label}-"
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {
        "domain": domain,
        "execution-id": label,
        "project": project,
        SHARD_LABEL: shard_key(label),
        "workflow-name": _workflow_label(workflow),
    }
    return metadata


def _workflow_label(workflow: identifier_pb2.Identifier) -> str:
    if any(":" in part for part in (workflow.project, workflow.domain, workflow.name)):
        return ""  # Flyte reads the name back from project:domain:name
    return label_value(workflow.name)
