"""Logs and metrics of a job, page by page, from a gRPC service that answers as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flyteidl.admin import agent_pb2

from propeller.connectors import ConnectorOptions, JobLog, Metric, open_channel, read_job_log, read_job_metrics
from propeller.errors import CorruptBlob, Rejected, TooLarge
from tests.connectors import Answer, answering

Answers = Callable[[agent_pb2.GetTaskLogsRequest], agent_pb2.GetTaskLogsResponse]


def page(token: str, *lines: str) -> bytes:
    """A header and a body as one message: what follows replaces what was before in a oneof, so two are sent."""
    header = agent_pb2.GetTaskLogsResponse(header=agent_pb2.GetTaskLogsResponseHeader(token=token))
    body = agent_pb2.GetTaskLogsResponse(body=agent_pb2.GetTaskLogsResponseBody(results=lines))
    return (body if lines else header).SerializeToString()


async def read(answer: Answer, lines: int, token: str = "", **options: Any) -> JobLog:
    async with answering({"GetTaskLogs": answer}) as service:
        channel = open_channel(service, ConnectorOptions(services=(service,), **options))
        try:
            return await read_job_log(channel, "trino", 2, b"id", lines, token)
        finally:
            await channel.close()


class Pages:
    """A log of so many lines, in pages."""

    def __init__(self, lines: int, size: int) -> None:
        self.lines = [f"line {number}" for number in range(lines)]
        self.size = size
        self.asked: list[agent_pb2.GetTaskLogsRequest] = []

    async def __call__(self, data: bytes, context: Any) -> list[bytes]:
        request = agent_pb2.GetTaskLogsRequest.FromString(data)
        self.asked.append(request)
        begin = int(request.token or 0)
        end = min(begin + min(self.size, request.lines), len(self.lines))
        token = str(end) if end < len(self.lines) else ""
        return [page(token), page("", *self.lines[begin:end])]


async def test_a_log_is_read_to_its_end() -> None:
    pages = Pages(25, 10)
    assert await read(pages, 1000) == JobLog(pages.lines, "")
    assert [request.token for request in pages.asked] == ["", "10", "20"]
    request = pages.asked[0]
    assert (request.task_type, request.task_category.version, request.resource_meta) == ("trino", 2, b"id")


async def test_no_more_lines_are_asked_for_than_wanted_and_the_token_says_where_to_go_on() -> None:
    pages = Pages(25, 10)
    first = await read(pages, 12)
    assert first == JobLog(pages.lines[:12], "12")
    assert [request.lines for request in pages.asked] == [12, 2]
    assert await read(pages, 100, first.token) == JobLog(pages.lines[12:], "")


async def test_lines_with_times_are_lines() -> None:
    body = agent_pb2.GetTaskLogsResponseBody()
    body.structured_lines.add(message="a line")

    async def answer(data: bytes, context: Any) -> bytes:
        return agent_pb2.GetTaskLogsResponse(body=body).SerializeToString()

    assert await read(answer, 10) == JobLog(["a line"], "")


async def test_a_job_without_lines_has_an_empty_log() -> None:
    async def answer(data: bytes, context: Any) -> list[bytes]:
        return []

    assert await read(answer, 10) == JobLog([], "")


@pytest.mark.parametrize(
    ("tokens", "why"), [(("a", "b", "a"), "its token has come before"), ((), "pages have no line")]
)
async def test_a_service_cannot_lead_in_a_circle(tokens: tuple[str, ...], why: str) -> None:
    calls = 0

    async def answer(data: bytes, context: Any) -> bytes:
        nonlocal calls
        calls += 1
        return page(tokens[(calls - 1) % len(tokens)] if tokens else str(calls))

    with pytest.raises(CorruptBlob, match=f"connector other answers nonsense to GetTaskLogs: .*{why}"):
        await read(answer, 10)
    assert calls <= 20


@pytest.mark.parametrize("answer", [[page("", "x" * 500)] * 20, [b""] * 5000])
async def test_an_answer_without_end_is_refused_and_names_the_settings(answer: list[bytes]) -> None:
    async def endless(data: bytes, context: Any) -> list[bytes]:
        return answer

    with pytest.raises(TooLarge, match=r"connectors.max_message_bytes, max_messages"):
        await read(endless, 10, max_message_bytes=4096, max_messages=1000)


async def metrics(answer: Answer, since: float, until: float) -> list[Metric]:
    async with answering({"GetTaskMetrics": answer}) as service:
        channel = open_channel(service, ConnectorOptions(services=(service,)))
        try:
            return await read_job_metrics(channel, "trino", 2, b"id", ["cpu"], since, until)
        finally:
            await channel.close()


async def test_metrics_of_a_jobs_time_are_read() -> None:
    asked: list[agent_pb2.GetTaskMetricsRequest] = []

    async def answer(data: bytes, context: Any) -> bytes:
        asked.append(agent_pb2.GetTaskMetricsRequest.FromString(data))
        found = agent_pb2.GetTaskMetricsResponse()
        found.results.add(metric="cpu").data.update({"resultType": "matrix"})
        return found.SerializeToString()

    assert await metrics(answer, 1000.0, 1600.0) == [Metric("cpu", {"resultType": "matrix"})]
    (request,) = asked
    assert list(request.queries) == ["cpu"]
    assert (request.start_time.seconds, request.end_time.seconds, request.step.seconds) == (1000, 1600, 10)


async def test_a_clock_that_is_behind_asks_for_no_time_backwards() -> None:
    async def answer(data: bytes, context: Any) -> bytes:
        request = agent_pb2.GetTaskMetricsRequest.FromString(data)
        assert request.end_time.seconds >= request.start_time.seconds
        return b""

    assert await metrics(answer, 1000.0, 10.0) == []


async def test_metrics_that_are_no_json_are_nonsense() -> None:
    async def answer(data: bytes, context: Any) -> bytes:
        found = agent_pb2.GetTaskMetricsResponse()
        found.results.add(metric="cpu").data.update({"value": float("nan")})
        return found.SerializeToString()

    with pytest.raises(CorruptBlob, match="answers nonsense to GetTaskMetrics"):
        await metrics(answer, 0.0, 1.0)


async def test_a_service_without_logs_says_so() -> None:
    async with answering({}) as service:
        channel = open_channel(service, ConnectorOptions(services=(service,)))
        with pytest.raises(Rejected) as raised:
            await read_job_log(channel, "trino", 2, b"id", 10)
        await channel.close()
    assert raised.value.status == 501
