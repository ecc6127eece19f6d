"""A connector service that records what it is asked, and whose jobs go on as their tasks' `custom.mode` says.

The id of a job is made of its execution, node, item and attempt, so that two controllers which run the same resources
ask for the same ids.
"""

from __future__ import annotations

import collections
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgspec
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, literals_pb2, tasks_pb2
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message

from propeller.connectors import ConnectorService
from tests.connectors import answering

ASYNC_TYPES = ("peer_job", "peer_function", "peer_shell", "peer_query", "sensor")
SYNC_TYPE = "peer_sync"
MAP_VERSION = 1
"""Of flytekit's map tasks, whatever they map."""

_PHASE = execution_pb2.TaskExecution
_LAST_LOOK = 9
"""All jobs that end have ended by then."""
_ITEM = "FLYTE_K8S_ARRAY_INDEX"

Put = Callable[[str, bytes], Awaitable[None]]
"""Write an object at a URI."""


class Call(msgspec.Struct, frozen=True):
    """One request: `of` is its execution, node, item and attempt, and `headers` are those that a client has added."""

    execution: str
    of: str
    operation: str
    request: dict[str, Any]
    headers: dict[str, str]
    deadline: float


class Recorder:
    """The calls so far, and the answers."""

    def __init__(self, put: Put) -> None:
        self.calls: list[Call] = []
        self._put = put
        self._looks: collections.Counter[str] = collections.Counter()
        self._inputs: dict[str, tuple[int, str]] = {}
        """By job: what it doubles, and its output prefix."""
        self._streams: dict[int, str] = {}
        """By call of ExecuteTaskSync whose header was read: its job."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ConnectorService]:
        calls = {
            "ListAgents": self._list,
            "CreateTask": self._create,
            "GetTask": self._get,
            "DeleteTask": self._delete,
            "ExecuteTaskSync": self._execute,
        }
        async with answering(calls, "recorder") as service:
            yield service

    async def _list(self, data: bytes, context: Any) -> bytes:
        def agent(name: str, *, version: int = 0, is_sync: bool = False) -> agent_pb2.Agent:
            category = agent_pb2.TaskCategory(name=name, version=version)
            return agent_pb2.Agent(name=name, is_sync=is_sync, supported_task_categories=[category])

        agents = [*map(agent, ASYNC_TYPES), agent(SYNC_TYPE, is_sync=True)]
        return bytes(agent_pb2.ListAgentsResponse(agents=agents).SerializeToString())

    def _record(self, operation: str, job: str, request: Message, context: Any) -> None:
        headers = {key: str(value) for key, value in context.invocation_metadata() if key != "user-agent"}
        said = json_format.MessageToDict(request, preserving_proto_field_name=True)
        self.calls.append(Call(job.split("/")[0], job, operation, said, headers, context.time_remaining()))

    async def _create(self, data: bytes, context: Any) -> bytes:
        request = agent_pb2.CreateTaskRequest.FromString(data)
        job = _job_of(request.template, request.task_execution_metadata)
        self._record("CreateTask", job, request, context)
        mode, attempt = job.split("/")[-1], request.task_execution_metadata.task_execution_id.retry_attempt
        if mode == "refused":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such table")
        if mode == "internal" or (mode == "internal_once" and not attempt):
            await context.abort(grpc.StatusCode.INTERNAL, "the warehouse is on fire")
        self._inputs[job] = (_value_of(request.inputs), request.output_prefix)
        return bytes(agent_pb2.CreateTaskResponse(resource_meta=job.encode()).SerializeToString())

    async def _get(self, data: bytes, context: Any) -> bytes:
        request = agent_pb2.GetTaskRequest.FromString(data)
        job = request.resource_meta.decode()
        self._record("GetTask", job, request, context)
        mode = job.split("/")[-1]
        self._looks[job] += 1
        if mode == "broken":
            await context.abort(grpc.StatusCode.INTERNAL, "the warehouse is on fire")
        if mode == "unknown":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such job")
        value, prefix = self._inputs[job]
        if mode == "file" and self._looks[job] == 1:
            await self._put(f"{prefix}/outputs.pb", _doubled(value).SerializeToString())
        attempt = int(job.split("/")[-2])
        resource = self._resource(mode, attempt, value, self._looks[job])
        return bytes(agent_pb2.GetTaskResponse(resource=resource).SerializeToString())

    async def _delete(self, data: bytes, context: Any) -> bytes:
        request = agent_pb2.DeleteTaskRequest.FromString(data)
        self._record("DeleteTask", request.resource_meta.decode(), request, context)
        return bytes(agent_pb2.DeleteTaskResponse().SerializeToString())

    async def _execute(self, data: bytes, context: Any) -> bytes | list[bytes]:
        request = agent_pb2.ExecuteTaskSyncRequest.FromString(data)
        if request.HasField("header"):
            metadata = request.header.task_execution_metadata
            job = self._streams[id(context)] = _job_of(request.header.template, metadata)
            self._record("ExecuteTaskSync header", job, request, context)
            return []
        job = self._streams.pop(id(context))
        self._record("ExecuteTaskSync inputs", job, request, context)
        mode, attempt = job.split("/")[-1], int(job.split("/")[-2])
        if mode == "refused":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such table")
        resource = self._resource(mode, attempt, _value_of(request.inputs), _LAST_LOOK)
        header = agent_pb2.ExecuteTaskSyncResponseHeader(resource=resource)
        return bytes(agent_pb2.ExecuteTaskSyncResponse(header=header).SerializeToString())

    def _resource(self, mode: str, attempt: int, value: int, looks: int) -> agent_pb2.Resource:
        links = [execution_pb2.TaskLog(name="Console", uri="https://jobs.example/1")]
        info = struct_pb2.Struct()
        info.update({"looks": looks})

        def resource(phase: Any, message: str = "", **more: Any) -> agent_pb2.Resource:
            return agent_pb2.Resource(phase=phase, message=message, log_links=links, custom_info=info, **more)

        def error(*, recoverable: bool = False) -> agent_pb2.AgentError:
            kind = agent_pb2.AgentError.RECOVERABLE if recoverable else agent_pb2.AgentError.NON_RECOVERABLE
            return agent_pb2.AgentError(code="QuotaExceeded", kind=kind, origin=execution_pb2.ExecutionError.USER)

        if mode == "pending" and looks <= 3:
            return resource((_PHASE.INITIALIZING, _PHASE.QUEUED, _PHASE.WAITING_FOR_RESOURCES)[looks - 1], "it waits")
        if mode == "forever" or looks == 1 or (mode == "fail" and looks <= 3):  # what runs beside is looked at before
            return resource(_PHASE.RUNNING, "it runs")
        if mode in {"file", "empty"}:
            return resource(_PHASE.SUCCEEDED, "done")
        if mode == "lacking":
            return resource(_PHASE.SUCCEEDED, "done", outputs=literals_pb2.LiteralMap())
        if mode == "fail":
            return resource(_PHASE.FAILED, "the query is wrong")
        if mode == "exhausting" or (mode == "flaky" and not attempt):
            return resource(_PHASE.RETRYABLE_FAILED, "the warehouse is busy")
        if mode == "aborted":
            return resource(_PHASE.ABORTED, "somebody has cancelled it")
        if mode == "coded":
            return resource(_PHASE.FAILED, "too much", agent_error=error())
        if mode == "coded_once" and not attempt:
            return resource(_PHASE.FAILED, "too much", agent_error=error(recoverable=True))
        if mode == "old_fail":
            return agent_pb2.Resource(state=agent_pb2.PERMANENT_FAILURE, message="the query is wrong")
        if mode == "old_ok":
            return agent_pb2.Resource(state=agent_pb2.SUCCEEDED, outputs=_doubled(value))
        return resource(_PHASE.SUCCEEDED, "done", outputs=_doubled(value))


def _job_of(template: tasks_pb2.TaskTemplate, metadata: agent_pb2.TaskExecutionMetadata) -> str:
    """Of a node within another one by its own id alone: FlytePropeller says no more."""
    identity = metadata.task_execution_id
    node, mode = identity.node_execution_id, _mode_of(template)
    item = metadata.environment_variables.get(_ITEM, "")
    return "/".join((node.execution_id.name, node.node_id.rpartition("-")[2], item, str(identity.retry_attempt), mode))


def _mode_of(template: tasks_pb2.TaskTemplate) -> str:
    return template.custom.fields["mode"].string_value if "mode" in template.custom.fields else "empty"


def _value_of(inputs: literals_pb2.LiteralMap) -> int:
    return int(inputs.literals["value"].scalar.primitive.integer) if "value" in inputs.literals else 1


def _doubled(value: int) -> literals_pb2.LiteralMap:
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value * 2)))
    return literals_pb2.LiteralMap(literals={"o0": literal})
