"""The `spec` of the resource, and the specs under `subWorkflows`: one workflow each."""

from __future__ import annotations

from typing import Any

from flyteidl.core import compiler_pb2, workflow_pb2

from propeller.compiler._errors import Errors
from propeller.compiler._json import to_stripped_json
from propeller.compiler._resource._bindings import bindings_json
from propeller.compiler._resource._nodes import Tasks, build_node, build_nodes

_POLICIES = {value.number: value.name for value in workflow_pb2.WorkflowMetadata.OnFailurePolicy.DESCRIPTOR.values}


def build_workflow(workflow: compiler_pb2.CompiledWorkflow, tasks: Tasks, errors: Errors) -> dict[str, Any]:
    template = workflow.template
    spec: dict[str, Any] = {"id": workflow_name(template)}
    if template.HasField("failure_node"):
        before = errors.count
        failure = build_node(template.failure_node, tasks, errors)
        if errors.count != before:
            return spec
        spec["onFailure"] = failure[0]
    spec["nodes"] = build_nodes(template.nodes, tasks, errors)
    downstream = {node: list(others.ids) for node, others in workflow.connections.downstream.items()}
    upstream = {node: list(others.ids) for node, others in workflow.connections.upstream.items()}
    spec["connections"] = downstream
    spec["edges"] = {"downstream": downstream, "upstream": upstream}
    spec["outputs"] = to_stripped_json(template.interface.outputs)
    if template.outputs:
        spec["outputBindings"] = bindings_json(template.outputs)
    policy = template.metadata.on_failure
    if policy:
        spec["onFailurePolicy"] = _POLICIES.get(policy, str(policy))
    return spec


def workflow_name(template: workflow_pb2.WorkflowTemplate) -> str:
    identifier = template.id
    return f"{identifier.project}:{identifier.domain}:{identifier.name}"
