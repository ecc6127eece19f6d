"""Compile a dynamic task's futures.pb to a plan that runs inside the node."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import msgspec
from flyteidl.core import dynamic_job_pb2, tasks_pb2

from propeller.compiler import build_resource, compile_dynamic, launch_plans_of
from propeller.handlers.executors._launch_plans import LaunchPlans
from propeller.wire import parse
from propeller.workflow import LaunchPlanRef, NodeView, Plan, plan_of_built


class _Pending(msgspec.Struct, frozen=True):
    """A document that was read, and the launch plans that its nodes start."""

    job: dynamic_job_pb2.DynamicJobSpec
    needs: tuple[LaunchPlanRef, ...]


async def plan_of_futures(
    node: NodeView, task: tasks_pb2.TaskTemplate, data: bytes, most: int, launch_plans: LaunchPlans
) -> Plan:
    """Parse the document, if it has at most `most` messages, compile it, and parse the plan, in a thread. Launch plans
    are those that the execution carries, or registered ones.

    Raises CorruptBlob if it is no futures.pb or too large; Invalid, CompileErrors, of kind USER; StorageError.
    """
    read = await asyncio.to_thread(_read, node, task, data, most)
    if isinstance(read, Plan):
        return read
    carried = node.graph.plan.launch_plans
    plans = [one.message for one in await launch_plans.find_all(read.needs, carried)]
    found = await asyncio.to_thread(_compile, node, task, data, read.job, plans)
    found.launch_plans = carried
    return found


def _read(node: NodeView, task: tasks_pb2.TaskTemplate, data: bytes, most: int) -> Plan | _Pending:
    """Compile the document at once if it starts no launch plan."""
    job = parse(dynamic_job_pb2.DynamicJobSpec, data, most, "futures.pb", "storage.max_messages")
    needs = launch_plans_of(job.nodes, *(one.nodes for one in job.subworkflows))
    if not needs:
        return _compile(node, task, data, job, ())
    return _Pending(job, tuple(LaunchPlanRef(one.project, one.domain, one.name, one.version) for one in needs))


def _compile(
    node: NodeView,
    task: tasks_pb2.TaskTemplate,
    data: bytes,
    job: dynamic_job_pb2.DynamicJobSpec,
    launch_plans: Sequence[object],
) -> Plan:
    info = node.execution.info
    closure = compile_dynamic(
        job,
        task=task,
        project=info.project,
        domain=info.domain,
        node_id=node.execution.unique_id(node.number),
        launch_plans=launch_plans,
    )
    resource = build_resource(closure, None, None, info.namespace)
    return plan_of_built(resource, hashlib.sha256(data).hexdigest())
