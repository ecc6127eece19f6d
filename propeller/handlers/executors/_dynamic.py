"""Compile a dynamic task's futures.pb to a plan that runs inside the node."""

from __future__ import annotations

import hashlib

import orjson
from flyteidl.core import dynamic_job_pb2, tasks_pb2

from propeller.compiler import build_resource, compile_dynamic
from propeller.wire import parse
from propeller.workflow import NodeView, Plan, parse_plan


def plan_of_futures(node: NodeView, task: tasks_pb2.TaskTemplate, data: bytes, most: int) -> Plan:
    """Parse the document, if it has at most `most` messages, compile it, and parse the plan. CPU-bound: run it in a
    thread.

    Raises CorruptBlob if it is no futures.pb or too large; CompileErrors, of kind USER.
    """
    info = node.execution.info
    job = parse(dynamic_job_pb2.DynamicJobSpec, data, most, "futures.pb", "storage.max_messages")
    closure = compile_dynamic(
        job, task=task, project=info.project, domain=info.domain, node_id=node.execution.unique_id(node.number)
    )
    resource = build_resource(closure, None, None, info.namespace)
    static = {key: resource[key] for key in ("spec", "tasks", "subWorkflows") if key in resource}
    return parse_plan(orjson.dumps(static), hashlib.sha256(data).hexdigest())
