"""From a flytekit file to a FlyteWorkflow resource that can be created."""

from __future__ import annotations

import random
from typing import Any

import orjson
from flyteidl.core import compiler_pb2, identifier_pb2

from propeller.cli._launch_plans import NONE, Plans, documents_of, nodes_of, plans_of, templates_of
from propeller.cli.flytekit_bridge import Serialized, Versioned
from propeller.compiler import build_resource, compile_task, compile_workflow, find_requirements, identifier_text
from propeller.errors import Invalid
from propeller.workflow import Plan, parse_plan

MAX_INLINE_INPUTS = 128 * 1024
"""Bytes of inputs that a resource holds itself: as JSON they are several times as long, and etcd takes 1.5 MiB."""

_FIRST = "abcdefghijklmnopqrstuvwxyz"
_OTHERS = _FIRST + "0123456789"


def new_execution_name() -> str:
    """20 characters that are a DNS label, as FlyteAdmin's names are."""
    return random.choice(_FIRST) + "".join(random.choices(_OTHERS, k=19))


def is_execution_name(text: str) -> bool:
    """Whether `new_execution_name` may have made it."""
    return len(text) == 20 and text[0] in _FIRST and not set(text) - set(_OTHERS)


def closure_of(serialized: Serialized, registered: Plans = NONE) -> compiler_pb2.CompiledWorkflowClosure:
    """Compile flytekit's output. Raises CompileErrors; Invalid, naming the feature, if it is not supported."""
    return _closure_of(serialized, plans_of(serialized, registered))


def _closure_of(serialized: Serialized, plans: Plans) -> compiler_pb2.CompiledWorkflowClosure:
    workflow = serialized.workflow
    needed = {identifier_text(one) for one in find_requirements(workflow.template, workflow.sub_workflows).task_ids}
    tasks = [spec.template for spec in serialized.tasks if identifier_text(spec.template.id) in needed]
    return compile_workflow(
        workflow.template, workflow.sub_workflows, [compile_task(task) for task in tasks], list(plans.values())
    )


def waits_for_answers(serialized: Serialized) -> bool:
    """Whether a gate of the workflow waits for a value or for approval. What dynamic tasks make is not known yet."""
    nodes = (node for template in templates_of(serialized) for node in nodes_of(template))
    gates = (node.gate_node for node in nodes if node.HasField("gate_node"))
    return any(gate.WhichOneof("condition") in {"signal", "approve"} for gate in gates)


def refuse_eager(serialized: Serialized) -> None:
    """Raises Invalid for an eager task, which on a cluster starts executions by way of FlyteAdmin."""
    for spec in serialized.tasks:
        if spec.template.metadata.is_eager:
            raise Invalid(
                f"task {spec.template.id.name} is eager: on a cluster it needs FlyteAdmin to start what it calls. "
                "`propeller run` runs it on this machine; see docs/differences.md"
            )


def plan_of(serialized: Serialized, registered: Plans = NONE) -> Plan:
    """The workflow as the engine walks it. Raises CompileErrors."""
    resource = build_resource(closure_of(serialized, registered), None, None, "")
    static = {key: resource[key] for key in ("spec", "tasks", "subWorkflows") if key in resource}
    return parse_plan(orjson.dumps(static), "")


def resource_of(
    serialized: Serialized,
    versioned: Versioned,
    *,
    name: str,
    namespace: str,
    raw_output_prefix: str = "",
    inputs_uri: str = "",
    overwrite_cache: bool = False,
    registered: Plans = NONE,
) -> dict[str, Any]:
    """Compile, and build the resource of one execution. Inputs that do not fit into it are stored at `inputs_uri`.
    It carries the file's launch plans, and refers to `registered` ones. Raises Invalid if inputs are missing,
    CompileErrors.
    """
    from propeller.controller import FLYTE_WORKFLOWS  # here, as `propeller draw` and `check` need not wait for them
    from propeller.handlers import LAUNCH_PLAN_ANNOTATION

    if missing := serialized.missing:
        wanted = ", ".join(f"--{parameter.name} ({parameter.type})" for parameter in missing)
        raise Invalid(f"{serialized.kind} {serialized.name} needs a value for {wanted}")
    plans = plans_of(serialized, registered)
    closure = _closure_of(serialized, plans)
    identity = identifier_pb2.WorkflowExecutionIdentifier(project=versioned.project, domain=versioned.domain, name=name)
    offload = bool(inputs_uri) and serialized.inputs.ByteSize() > MAX_INLINE_INPUTS
    resource: dict[str, Any] = build_resource(closure, serialized.inputs, identity, namespace)
    if offload:
        resource.pop("inputs", None)
        resource["offloadedInputs"] = inputs_uri
    resource["kind"] = FLYTE_WORKFLOWS.kind  # Flyte's compiler writes it in lower case, which its own CRD refuses
    if serialized.kind == "launch plan":
        resource["metadata"]["annotations"] = {LAUNCH_PLAN_ANNOTATION: serialized.name}
    if documents := documents_of(serialized, plans):
        resource["launchPlans"] = documents
    if overwrite_cache:
        resource["executionConfig"]["OverwriteCache"] = True
    if raw_output_prefix:
        resource["rawOutputDataConfig"] = {"output_location_prefix": raw_output_prefix}
    return resource
