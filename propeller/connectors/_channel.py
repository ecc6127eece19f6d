"""Speak with one connector service by gRPC: one channel, a deadline for each call, errors of ours.

Guarantees
    Nothing is sent before the first call, and a service that is away is found again by gRPC's own reconnects.
    Every call ends by its deadline. Answers are bounded in bytes and in messages before they are parsed.
    No text of a request is in an error; what a service answers is shortened, and credentials in it are masked.
Errors
    Unavailable for no answer, Throttled, NotFound, Denied, Malformed, TooLarge, Rejected for a failure within the
    service (status 500) or a call that it does not have (501), CorruptBlob for an answer that is none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from flyteidl.admin import agent_pb2
from flyteidl.core import literals_pb2
from google.protobuf.message import Message

from propeller.connectors._options import ConnectorOptions, ConnectorService
from propeller.errors import (
    CorruptBlob,
    Denied,
    Invalid,
    Malformed,
    NotFound,
    PropellerError,
    Rejected,
    Throttled,
    TooLarge,
    Unavailable,
)
from propeller.text import headline, one_line
from propeller.wire import parse

M = TypeVar("M", bound=Message)

SAID_CHARACTERS = 2000
"""Characters of what a service says of an error that are kept: flytekit's are tracebacks, whose last line counts."""

_CUT_SHORT = "Internal error from Core"
"""What grpcio says of a write to a call that the other side has ended, in the place of that side's own status."""

_ASYNC = "/flyteidl.service.AsyncAgentService/"
_SYNC = "/flyteidl.service.SyncAgentService/"
_METADATA = "/flyteidl.service.AgentMetadataService/"

_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 300_000, 20_000
"""A dead connection is noticed by the deadline of the next call; pings that are more frequent than five minutes are
answered with GOAWAY by a gRPC server's defaults.
"""


class Channel(Protocol):
    """One connector service. All calls raise what the module's text lists."""

    @property
    def name(self) -> str:
        """The service's name in the settings."""
        ...

    async def list_agents(self) -> agent_pb2.ListAgentsResponse: ...

    async def create(self, request: agent_pb2.CreateTaskRequest) -> bytes:
        """Return the job's id: `resource_meta`."""
        ...

    async def get(self, request: agent_pb2.GetTaskRequest) -> agent_pb2.Resource: ...

    async def delete(self, request: agent_pb2.DeleteTaskRequest) -> None: ...

    async def execute(
        self, header: agent_pb2.CreateRequestHeader, inputs: literals_pb2.LiteralMap
    ) -> agent_pb2.Resource:
        """Run a sync task."""
        ...

    async def logs(self, request: agent_pb2.GetTaskLogsRequest) -> list[agent_pb2.GetTaskLogsResponse]: ...

    async def metrics(self, request: agent_pb2.GetTaskMetricsRequest) -> agent_pb2.GetTaskMetricsResponse: ...

    async def close(self) -> None: ...


OpenChannel = Callable[[ConnectorService, ConnectorOptions], Channel]


def open_channel(service: ConnectorService, options: ConnectorOptions) -> Channel:
    """Return a channel to a service. Raises Invalid if grpcio is not installed, or the file of authorities not read."""
    return _GrpcChannel(service, options)


class _GrpcChannel:
    """Guarantees and errors: see the module's text."""

    def __init__(self, service: ConnectorService, options: ConnectorOptions) -> None:
        try:
            import grpc.aio
        except ImportError as error:
            raise Invalid(
                f"connectors.services names {service.name}, and grpcio is not installed: pip install "
                "'propeller[connectors]'"
            ) from error
        self._errors: type[Any] = grpc.aio.AioRpcError
        self._code = grpc.StatusCode
        self._service = service
        self._options = options
        self._calls: dict[str, Callable[..., Awaitable[bytes]]] = {}
        arguments = [
            ("grpc.max_receive_message_length", options.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
            ("grpc.enable_retries", 0),  # a CreateTask that is sent twice may start two jobs
        ]
        if service.insecure:
            self._channel = grpc.aio.insecure_channel(service.endpoint, options=arguments)
        else:
            trusted = grpc.ssl_channel_credentials(_authorities(service))
            self._channel = grpc.aio.secure_channel(service.endpoint, trusted, options=arguments)

    @property
    def name(self) -> str:
        return self._service.name

    async def list_agents(self) -> agent_pb2.ListAgentsResponse:
        request = agent_pb2.ListAgentsRequest()
        return await self._call(_METADATA, "ListAgents", request, agent_pb2.ListAgentsResponse)

    async def create(self, request: agent_pb2.CreateTaskRequest) -> bytes:
        answer = await self._call(_ASYNC, "CreateTask", request, agent_pb2.CreateTaskResponse)
        return bytes(answer.resource_meta)

    async def get(self, request: agent_pb2.GetTaskRequest) -> agent_pb2.Resource:
        answer = await self._call(_ASYNC, "GetTask", request, agent_pb2.GetTaskResponse)
        if not answer.HasField("resource"):
            raise self._is_nonsense("GetTask", "it has no resource")
        return answer.resource

    async def delete(self, request: agent_pb2.DeleteTaskRequest) -> None:
        await self._call(_ASYNC, "DeleteTask", request, agent_pb2.DeleteTaskResponse)

    async def execute(
        self, header: agent_pb2.CreateRequestHeader, inputs: literals_pb2.LiteralMap
    ) -> agent_pb2.Resource:
        requests = [agent_pb2.ExecuteTaskSyncRequest(header=header), agent_pb2.ExecuteTaskSyncRequest(inputs=inputs)]
        call = self._channel.stream_stream(
            f"{_SYNC}ExecuteTaskSync", agent_pb2.ExecuteTaskSyncRequest.SerializeToString
        )
        stream = call(iter(requests), timeout=self._service.timeout_of("ExecuteTaskSync"))
        try:
            data = await anext(aiter(stream), b"")  # Flyte's services answer with one message
        except self._errors as error:
            self._raise("ExecuteTaskSync", error.code(), error.details(), error)
        finally:
            stream.cancel()
        answer = self._parsed("ExecuteTaskSync", data, agent_pb2.ExecuteTaskSyncResponse)
        if not answer.HasField("header") or not answer.header.HasField("resource"):
            raise self._is_nonsense("ExecuteTaskSync", "its first message has no header with a resource")
        return answer.header.resource

    async def logs(self, request: agent_pb2.GetTaskLogsRequest) -> list[agent_pb2.GetTaskLogsResponse]:
        call = self._channel.unary_stream(f"{_ASYNC}GetTaskLogs", agent_pb2.GetTaskLogsRequest.SerializeToString)
        found: list[agent_pb2.GetTaskLogsResponse] = []
        size = 0
        stream = call(request, timeout=self._service.timeout_of("GetTaskLogs"))
        try:
            async for data in stream:
                size += len(data)
                if size > self._options.max_message_bytes or len(found) >= self._options.max_messages:
                    raise TooLarge(
                        f"GetTaskLogs of connector {self.name} answers with {size} bytes in {len(found) + 1} parts: "
                        "ask for fewer lines (connectors.max_message_bytes, max_messages)"
                    )
                found.append(self._parsed("GetTaskLogs", data, agent_pb2.GetTaskLogsResponse))
        except self._errors as error:
            self._raise("GetTaskLogs", error.code(), error.details(), error)
        finally:
            stream.cancel()
        return found

    async def metrics(self, request: agent_pb2.GetTaskMetricsRequest) -> agent_pb2.GetTaskMetricsResponse:
        return await self._call(_ASYNC, "GetTaskMetrics", request, agent_pb2.GetTaskMetricsResponse)

    async def close(self) -> None:
        await self._channel.close()

    async def _call(self, of: str, operation: str, request: Message, answers: type[M]) -> M:
        if (call := self._calls.get(operation)) is None:
            call = self._calls[operation] = self._channel.unary_unary(f"{of}{operation}")
        try:
            data = await call(request.SerializeToString(), timeout=self._service.timeout_of(operation))
        except self._errors as error:
            self._raise(operation, error.code(), error.details(), error)
        return self._parsed(operation, data, answers)

    def _parsed(self, operation: str, data: bytes, answers: type[M]) -> M:
        what = f"the answer of connector {self.name} to {operation}"
        return parse(answers, data, self._options.max_messages, what, "connectors.max_messages")

    def _is_nonsense(self, operation: str, why: str) -> CorruptBlob:
        return CorruptBlob(f"connector {self.name} answers nonsense to {operation}: {why}")

    def _raise(self, operation: str, code: Any, details: str | None, cause: BaseException | None = None) -> NoReturn:
        """Raise what a status of gRPC means to a caller."""
        said = one_line(headline(details or "", SAID_CHARACTERS))
        if said == _CUT_SHORT:
            said = "the service ended the call before it had read the inputs"
        text = f"{operation} of connector {self.name} at {self._service.endpoint}: {code.name}: {said}"
        raise self._error_of(code, said, text) from cause

    def _error_of(self, code: Any, said: str, text: str) -> PropellerError:
        codes = self._code
        if code is codes.RESOURCE_EXHAUSTED and "larger than max" in said:
            return TooLarge(f"{text} (connectors.max_message_bytes is {self._options.max_message_bytes})", status=413)
        if code is codes.RESOURCE_EXHAUSTED:
            return Throttled(text)
        if code in {codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.CANCELLED, codes.ABORTED}:
            return Unavailable(text)
        if code is codes.NOT_FOUND:
            return NotFound(text, status=404)
        if code in {codes.PERMISSION_DENIED, codes.UNAUTHENTICATED}:
            return Denied(text, status=403)
        if code in {codes.INVALID_ARGUMENT, codes.FAILED_PRECONDITION, codes.OUT_OF_RANGE}:
            return Malformed(text, status=400)
        return Rejected(text, status=501 if code is codes.UNIMPLEMENTED else 500)


def _authorities(service: ConnectorService) -> bytes | None:
    if not service.ca_file:
        return None
    try:
        return Path(service.ca_file).read_bytes()
    except OSError as error:
        raise Invalid(f"ca_file of connector {service.name}, {service.ca_file}, cannot be read: {error}") from error
