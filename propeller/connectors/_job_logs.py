"""Read logs and metrics of one job, page by page, within limits.

Guarantees
    At most `lines` lines are asked for. A page that its service makes longer is kept whole, and then the last one.
    A service cannot keep the caller in a circle: pages without lines, and tokens that come again, are nonsense.
Source
    flyteidl's agent.proto: an empty token says that there is no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flyteidl.admin import agent_pb2
from google.protobuf import json_format

from propeller.connectors._channel import Channel
from propeller.errors import CorruptBlob

PAGE_LINES = 1000
"""Lines that one call asks for."""

MAX_LOG_BYTES = 64 * 1024 * 1024
"""Of lines that are held at once: the token says where to go on."""

MAX_EMPTY_PAGES = 20
"""In a row. A job that has just begun may have some."""

METRIC_STEPS = 60
"""Points of a metric over its time: as many as people read."""


class JobLog(msgspec.Struct, frozen=True):
    """Some lines of a job's log, and the token of the next, "" if there are none."""

    lines: list[str]
    token: str


class Metric(msgspec.Struct, frozen=True):
    """What a service measures of a job: mostly a range of Prometheus' format."""

    metric: str
    data: dict[str, Any]


async def read_job_log(
    channel: Channel, task_type: str, version: int, identity: bytes, lines: int, token: str = ""
) -> JobLog:
    """Return up to so many lines from a token on. Raises as `Channel`, and CorruptBlob."""
    found: list[str] = []
    size, empty, seen = 0, 0, {token}
    while len(found) < lines and size < MAX_LOG_BYTES:
        request = agent_pb2.GetTaskLogsRequest(
            task_type=task_type,
            task_category=agent_pb2.TaskCategory(name=task_type, version=version),
            resource_meta=identity,
            lines=min(lines - len(found), PAGE_LINES),
            token=token,
        )
        before, token = len(found), ""
        for answer in await channel.logs(request):
            token = str(answer.header.token) or token
            found += map(str, answer.body.results)
            found += (str(line.message) for line in answer.body.structured_lines)
        size += sum(map(len, found[before:]))
        empty = 0 if len(found) > before else empty + 1
        if not token:
            break
        if token in seen or empty >= MAX_EMPTY_PAGES:
            why = "its token has come before" if token in seen else f"{empty} pages have no line"
            raise CorruptBlob(f"connector {channel.name} answers nonsense to GetTaskLogs: {why}")
        seen.add(token)
    return JobLog(found, token)


async def read_job_metrics(
    channel: Channel,
    task_type: str,
    version: int,
    identity: bytes,
    queries: Sequence[str],
    since: float,
    until: float,
) -> list[Metric]:
    """Return what a service measures of a job between two epoch times. Raises as `Channel`, and CorruptBlob."""
    request = agent_pb2.GetTaskMetricsRequest(
        task_type=task_type,
        task_category=agent_pb2.TaskCategory(name=task_type, version=version),
        resource_meta=identity,
        queries=queries,
    )
    request.start_time.FromMilliseconds(round(since * 1000))
    request.end_time.FromMilliseconds(round(max(since, until) * 1000))
    request.step.FromMilliseconds(max(1000, round((until - since) * 1000 / METRIC_STEPS)))
    answer = await channel.metrics(request)
    try:
        return [Metric(str(one.metric), json_format.MessageToDict(one.data)) for one in answer.results]
    except (json_format.SerializeToJsonError, ValueError) as error:
        raise CorruptBlob(f"connector {channel.name} answers nonsense to GetTaskMetrics: {error}") from error
