"""The channel to a connector service: flytekit's own, and one that fails in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, literals_pb2, tasks_pb2
from google.protobuf import json_format

from propeller.connectors import Channel, ConnectorOptions, ConnectorService, open_channel
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
from propeller.testing import Authority
from tests.connectors import Answer, FlytekitService, answering, flytekit_service

LOOK = agent_pb2.GetTaskRequest(task_type="t", resource_meta=b"1")


@pytest.fixture(scope="module")
def flytekit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlytekitService]:
    with flytekit_service(tmp_path_factory.mktemp("connector")) as service:
        yield service


def channel_to(service: ConnectorService, **options: Any) -> Channel:
    return open_channel(service, ConnectorOptions(services=(service,), **options))


def job(task_type: str, mode: str = "ok", value: int = 4) -> agent_pb2.CreateTaskRequest:
    template = tasks_pb2.TaskTemplate(type=task_type)
    json_format.ParseDict({"mode": mode, "looks": 1}, template.custom)
    inputs = literals_pb2.LiteralMap()
    inputs.literals["value"].scalar.primitive.integer = value
    metadata = agent_pb2.TaskExecutionMetadata(namespace="p-d")
    metadata.task_execution_id.node_execution_id.execution_id.name = "e"
    return agent_pb2.CreateTaskRequest(
        inputs=inputs, template=template, output_prefix="/tmp/out", task_execution_metadata=metadata
    )


async def test_flytekits_service_lists_its_task_types(flytekit: FlytekitService) -> None:
    channel = channel_to(flytekit.settings)
    listed = {one.supported_task_categories[0].name: one.is_sync for one in (await channel.list_agents()).agents}
    await channel.close()
    assert listed | {"propeller_job": False, "propeller_add": True, "sensor": False} == listed


async def test_a_job_of_flytekits_service_is_created_looked_at_and_deleted(flytekit: FlytekitService) -> None:
    channel = channel_to(flytekit.settings)
    meta = await channel.create(job("propeller_job"))
    look = agent_pb2.GetTaskRequest(task_type="propeller_job", resource_meta=meta)
    first, last = await channel.get(look), await channel.get(look)
    await channel.delete(agent_pb2.DeleteTaskRequest(task_type="propeller_job", resource_meta=meta))
    await channel.close()
    assert first.phase == execution_pb2.TaskExecution.RUNNING
    assert first.message == "it runs"
    assert first.log_links[0].uri.startswith("https://jobs.example/")
    assert last.outputs.literals["o0"].scalar.primitive.integer == 8
    assert any(one["deleted"] for one in flytekit.jobs())


async def test_a_sync_task_of_flytekits_service_runs_in_one_call(flytekit: FlytekitService) -> None:
    channel, request = channel_to(flytekit.settings), job("propeller_add")
    header = agent_pb2.CreateRequestHeader(template=request.template, output_prefix="/tmp/out")
    resource = await channel.execute(header, request.inputs)
    await channel.close()
    assert resource.outputs.literals["o0"].scalar.primitive.integer == 5


async def test_what_a_connector_raises_is_one_line_without_credentials(flytekit: FlytekitService) -> None:
    channel = channel_to(flytekit.settings)
    with pytest.raises(Rejected) as raised:
        await channel.create(job("propeller_job", "refused"))
    await channel.close()
    assert str(raised.value).count("\n") == 0
    assert "no such table" in str(raised.value)
    assert "hunter2secret" not in str(raised.value)


async def test_a_sync_call_that_fails_says_what_the_service_says(flytekit: FlytekitService) -> None:
    channel, request = channel_to(flytekit.settings), job("propeller_nothing")
    header = agent_pb2.CreateRequestHeader(template=request.template, output_prefix="/tmp/out")
    with pytest.raises(Rejected, match=r"task type: propeller_nothing|ended the call before it had read the inputs"):
        await channel.execute(header, request.inputs)
    await channel.close()


async def test_a_service_that_was_killed_is_found_again(tmp_path: Path) -> None:
    with flytekit_service(tmp_path) as service:
        channel = channel_to(service.settings)
        meta = await channel.create(job("propeller_job", "forever"))
        look = agent_pb2.GetTaskRequest(task_type="propeller_job", resource_meta=meta)
        service.kill()
        with pytest.raises(Unavailable):
            await channel.get(look)
        service.start()
        for _ in range(200):
            try:
                found = await channel.get(look)
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        await channel.close()
    assert found.phase == execution_pb2.TaskExecution.RUNNING


def aborting(code: grpc.StatusCode, details: str = "for a reason") -> Answer:
    async def answer(_: bytes, context: Any) -> bytes:
        await context.abort(code, details)
        raise AssertionError

    return answer


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.ABORTED, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Throttled),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.PERMISSION_DENIED, Denied),
        (grpc.StatusCode.UNAUTHENTICATED, Denied),
        (grpc.StatusCode.INVALID_ARGUMENT, Malformed),
        (grpc.StatusCode.INTERNAL, Rejected),
        (grpc.StatusCode.UNKNOWN, Rejected),
    ],
)
async def test_each_status_says_what_to_do(code: grpc.StatusCode, error: type[PropellerError]) -> None:
    async with answering({"GetTask": aborting(code)}) as service:
        channel = channel_to(service)
        with pytest.raises(error, match=f"GetTask of connector other at {service.endpoint}: {code.name}: for a reason"):
            await channel.get(LOOK)
        await channel.close()


async def test_a_call_that_the_service_does_not_have_is_rejected_as_such() -> None:
    async with answering({}) as service:
        channel = channel_to(service)
        with pytest.raises(Rejected) as raised:
            await channel.list_agents()
        await channel.close()
    assert raised.value.status == 501


async def test_a_service_that_hangs_is_unavailable_by_the_calls_deadline() -> None:
    async def hang(_: bytes, context: Any) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async with answering({"GetTask": hang, "ExecuteTaskSync": hang}) as service:
        channel = channel_to(msgspec.structs.replace(service, timeout=0.2))
        with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
            await channel.get(LOOK)
        with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
            await channel.execute(agent_pb2.CreateRequestHeader(), literals_pb2.LiteralMap())
        await channel.close()


def saying(data: bytes) -> Answer:
    async def answer(_: bytes, context: Any) -> bytes:
        return data

    return answer


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"", b"\x0a\xff\x01"])
async def test_an_answer_that_is_none_is_corrupt(data: bytes) -> None:
    async with answering({"GetTask": saying(data), "ExecuteTaskSync": saying(data)}) as service:
        channel = channel_to(service)
        with pytest.raises(CorruptBlob, match="other"):
            await channel.get(LOOK)
        with pytest.raises(CorruptBlob, match="other"):
            await channel.execute(agent_pb2.CreateRequestHeader(), literals_pb2.LiteralMap())
        await channel.close()


async def test_an_answer_over_the_limit_is_refused_and_names_the_setting() -> None:
    large = agent_pb2.GetTaskResponse(resource=agent_pb2.Resource(message="x" * 5000)).SerializeToString()
    async with answering({"GetTask": saying(large)}) as service:
        channel = channel_to(service, max_message_bytes=4096)
        with pytest.raises(TooLarge, match=r"connectors.max_message_bytes is 4096"):
            await channel.get(LOOK)
        await channel.close()


async def test_an_answer_of_too_many_messages_is_not_parsed() -> None:
    links = [execution_pb2.TaskLog()] * 5000
    many = agent_pb2.GetTaskResponse(resource=agent_pb2.Resource(log_links=links)).SerializeToString()
    async with answering({"GetTask": saying(many)}) as service:
        channel = channel_to(service, max_messages=100)
        with pytest.raises(CorruptBlob, match=r"more than 100 messages \(connectors.max_messages\)"):
            await channel.get(LOOK)
        await channel.close()


async def test_logs_are_read_from_a_stream() -> None:
    lines = agent_pb2.GetTaskLogsResponse(body=agent_pb2.GetTaskLogsResponseBody(results=["a", "b"]))
    async with answering({"GetTaskLogs": saying(lines.SerializeToString())}) as service:
        channel = channel_to(service)
        found = await channel.logs(agent_pb2.GetTaskLogsRequest(task_type="t"))
        await channel.close()
    assert [line for one in found for line in one.body.results] == ["a", "b"]


async def test_metrics_are_read() -> None:
    answer = agent_pb2.GetTaskMetricsResponse()
    answer.results.add().metric = "cpu"
    async with answering({"GetTaskMetrics": saying(answer.SerializeToString())}) as service:
        channel = channel_to(service)
        found = await channel.metrics(agent_pb2.GetTaskMetricsRequest(task_type="t", queries=["cpu"]))
        await channel.close()
    assert found.results[0].metric == "cpu"


async def test_a_file_of_authorities_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    service = ConnectorService(name="one", endpoint="localhost:1", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(Invalid, match=r"ca_file of connector one, .*none.pem, cannot be read"):
        channel_to(service)


async def test_the_service_shows_a_certificate_of_a_trusted_authority(tmp_path: Path) -> None:
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    pair = ours.server()
    credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.certificate.read_bytes())])
    listed = agent_pb2.ListAgentsResponse(agents=[agent_pb2.Agent(name="a")]).SerializeToString()
    async with answering({"ListAgents": saying(listed)}, credentials=credentials) as service:
        trusting = channel_to(msgspec.structs.replace(service, ca_file=str(ours.pair.certificate)))
        assert (await trusting.list_agents()).agents[0].name == "a"
        await trusting.close()
        strange = channel_to(msgspec.structs.replace(service, ca_file=str(others.pair.certificate)))
        with pytest.raises(Unavailable):
            await strange.list_agents()
        await strange.close()


async def test_what_is_not_encrypted_is_not_sent_to_a_service_that_is_and_errors_tell_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither by a client that takes TLS for plain text, nor by one that does not trust the certificate."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "others").mkdir()
    pair, others = Authority(tmp_path / "ours").server(), Authority(tmp_path / "others")
    credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.certificate.read_bytes())])
    asked: list[bytes] = []

    async def answer(data: bytes, _: Any) -> bytes:
        asked.append(data)
        return b""

    request = job("trino")
    request.inputs.literals["password"].scalar.primitive.string_value = "hunter2secret"
    async with answering({"CreateTask": answer}, credentials=credentials) as service:
        plain = msgspec.structs.replace(service, insecure=True)
        untrusted = msgspec.structs.replace(service, ca_file=str(others.pair.certificate))
        nobodys = service  # of the authorities that gRPC ships with, none has signed it
        for settings in (plain, untrusted, nobodys):
            channel = channel_to(msgspec.structs.replace(settings, timeout=2.0))
            with pytest.raises(Unavailable) as raised:
                await channel.create(request)
            await channel.close()
            assert "hunter2secret" not in str(raised.value)
            assert "PRIVATE KEY" not in str(raised.value)
    assert asked == []
    assert "hunter2secret" not in caplog.text


@pytest.mark.parametrize(("names", "is_trusted"), [(("IP:127.0.0.1",), True), (("IP:127.0.0.9", "DNS:other"), False)])
async def test_a_certificate_has_to_be_that_of_the_endpoint(
    tmp_path: Path, names: tuple[str, ...], *, is_trusted: bool
) -> None:
    authority = Authority(tmp_path)
    pair = authority.server(names=names)
    credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.certificate.read_bytes())])
    asked: list[bytes] = []

    async def answer(data: bytes, _: Any) -> bytes:
        asked.append(data)
        return b""

    async with answering({"ListAgents": answer}, credentials=credentials) as service:
        channel = channel_to(msgspec.structs.replace(service, ca_file=str(authority.pair.certificate), timeout=2.0))
        try:
            await channel.list_agents()
        except Unavailable:
            assert not is_trusted
        await channel.close()
    assert bool(asked) == is_trusted
