"""Read tasks of Flyte's older map task as array nodes: type `container_array`, flytekit's `legacy_map_task`.

FlytePropeller runs such a task by a plugin of its own (flyteplugins/go/tasks/plugins/array). Inputs of an item, its
variables, its retries and the number of items that have to succeed are those of an array node, so one kind of node
serves both. Parallelism 0 is no limit, as in an array node. Items add their index to the output prefix themselves
(flytekit's `_execute_map_task`). FlytePropeller gives all attempts of an item one prefix, so that the next attempt
finds the error of the last one; here each has its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from flyteidl.core import tasks_pb2
from flyteidl.plugins import array_job_pb2
from google.protobuf import json_format

from propeller.errors import Invalid
from propeller.workflow._spec import EMPTY_OBJECT, NOTHING, ArraySpec, ClosureSpec, GraphSpec, NodeKind, NodeSpec

MAP_TASK = "container_array"


def with_array_nodes(closure: ClosureSpec, tasks: Iterable[tuple[str, tasks_pb2.TaskTemplate]]) -> ClosureSpec:
    """Return the closure with an array node in the place of each node of these map tasks, given by their keys. Raises
    Invalid.
    """
    jobs = {key: _job(task, f"tasks[{key}]") for key, task in tasks}
    return msgspec.structs.replace(
        closure,
        spec=_graph(closure.spec, jobs),
        sub_workflows={key: _graph(spec, jobs) for key, spec in (closure.sub_workflows or {}).items()},
    )


def _job(task: tasks_pb2.TaskTemplate, where: str) -> array_job_pb2.ArrayJob:
    if not task.task_type_version:
        raise Invalid(
            f"{where}.taskTypeVersion is 0: map tasks of flytekit before 0.16, whose items have input files that "
            "another task has written, are not supported; register the task with a newer flytekit"
        )
    try:
        return json_format.ParseDict(
            json_format.MessageToDict(task.custom), array_job_pb2.ArrayJob(), ignore_unknown_fields=True
        )
    except json_format.ParseError as error:
        raise Invalid(f"{where}.custom is no flyteidl.plugins.ArrayJob: {error}") from error


def _graph(spec: GraphSpec, jobs: dict[str, array_job_pb2.ArrayJob]) -> GraphSpec:
    nodes = {key: _node(node, jobs) for key, node in spec.nodes.items()}
    failure = None if spec.on_failure is None else _node(spec.on_failure, jobs)
    return msgspec.structs.replace(spec, nodes=nodes, on_failure=failure)


def _node(node: NodeSpec, jobs: dict[str, array_job_pb2.ArrayJob]) -> NodeSpec:
    job = jobs.get(node.task) if node.kind is NodeKind.TASK else None
    if job is None:
        return node
    criterion = job.WhichOneof("success_criteria")
    array = ArraySpec(
        sub_node_spec=msgspec.structs.replace(
            node, input_bindings=NOTHING, output_alias=(), execution_deadline="", active_deadline="", cache=None
        ),
        parallelism=job.parallelism,
        min_successes=job.min_successes if criterion == "min_successes" else None,
        min_success_ratio=job.min_success_ratio if criterion == "min_success_ratio" else None,
        appends_index=True,
    )
    return msgspec.structs.replace(
        node,
        kind=NodeKind.ARRAY,
        array=array,
        task="",
        resources=None,
        container_image="",
        pod_template=EMPTY_OBJECT,
        extended_resources=EMPTY_OBJECT,
    )
