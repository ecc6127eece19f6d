"""Build the FlyteWorkflow of an execution that a launch plan's node starts. Pure.

What the launch plan says wins; for what it does not say, the child has what its parent has: labels, annotations,
service account, parallelism, environment, where tasks write. Names and sizes are Flyte's own (flytepropeller
nodes/subworkflow/launchplan/admin.go, flyteadmin MergeIntoExecConfig).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from google.protobuf import json_format

from propeller.handlers.plugins import (
    CHILD_WORKFLOWS,
    LAUNCH_PLAN_ANNOTATION,
    NESTING_ANNOTATION,
    RECOVERED_PARENT_ANNOTATION,
    inherited_metadata,
)
from propeller.workflow import LaunchPlan, NodeView, label_value


def build_child(
    node: NodeView,
    attempt: int,
    plan: LaunchPlan,
    closure: Mapping[str, Any],
    *,
    inputs_uri: str,
    depth: int,
    recovers: str = "",
) -> dict[str, Any]:
    """Return the resource as JSON. `closure` is its static part (`ChildClosures`); `depth`, how many executions are
    around it; `recovers`, the name of an earlier execution whose outputs it takes over.
    """
    info, spec = node.execution.info, plan.message.spec
    metadata = inherited_metadata(node, attempt, dict(spec.labels.values), dict(spec.annotations.values))
    metadata["labels"]["workflow-name"] = label_value(spec.workflow_id.name)
    metadata["annotations"] |= {LAUNCH_PLAN_ANNOTATION: plan.name, NESTING_ANNOTATION: str(depth)}
    if recovers:
        metadata["annotations"][RECOVERED_PARENT_ANNOTATION] = node.execution.recovered_uid
    return {
        "apiVersion": CHILD_WORKFLOWS.api_version,
        "kind": CHILD_WORKFLOWS.kind,
        "metadata": metadata,
        "executionId": {"project": info.project, "domain": info.domain, "name": metadata["name"]},
        "offloadedInputs": inputs_uri,
        **closure,
        **_defaults(plan),
        "serviceAccountName": info.spec.service_account_name,
        "securityContext": _security(node, plan),
        "rawOutputDataConfig": {
            "output_location_prefix": spec.raw_output_data_config.output_location_prefix
            or info.spec.raw_output_data_config.output_location_prefix
        },
        "executionConfig": _config(node, plan, recovers),
        "status": {"phase": 0},
    }


def _defaults(plan: LaunchPlan) -> dict[str, Any]:
    raw = bytes(plan.document.node_defaults)
    return {"node-defaults": orjson.Fragment(raw)} if raw else {}


def _security(node: NodeView, plan: LaunchPlan) -> dict[str, Any]:
    spec = plan.message.spec
    if spec.HasField("security_context"):
        return json_format.MessageToDict(spec.security_context)
    account = spec.auth_role.kubernetes_service_account or spec.auth.kubernetes_service_account
    if account:
        return {"runAs": {"k8sServiceAccount": account}}
    return _json(node.execution.info.spec.security_context)


def _config(node: NodeView, plan: LaunchPlan, recovers: str) -> dict[str, Any]:
    info, spec = node.execution.info, plan.message.spec
    config = {**_json(info.spec.execution_config), "RecoveryExecution": None}
    if spec.max_parallelism:
        config["MaxParallelism"] = spec.max_parallelism
    if spec.HasField("interruptible"):
        config["Interruptible"] = spec.interruptible.value
    if spec.overwrite_cache:
        config["OverwriteCache"] = True
    if spec.HasField("envs"):
        config["EnvironmentVariables"] = {one.key: one.value for one in spec.envs.values}
    if recovers:
        config["RecoveryExecution"] = {"project": info.project, "domain": info.domain, "name": recovers}
    return config


def _json(value: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(value)
    return found
