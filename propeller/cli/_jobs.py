"""Show the job of an attempt that a connector runs: how it stands, and the logs and metrics that its service keeps."""

from __future__ import annotations

import base64
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from propeller.cli._output import say, say_json
from propeller.clock import SYSTEM_CLOCK
from propeller.config import Settings
from propeller.decoding import UNDECODABLE
from propeller.errors import Invalid, PropellerError, Rejected
from propeller.handlers.plugins import OWN_TYPES
from propeller.redaction import redact
from propeller.storage import Storage
from propeller.workflow import JOB_FILE, MAX_JOB_FILE, JobRecord, NodeView

if TYPE_CHECKING:
    from propeller.connectors import Channel


LAST_TIME = 253_402_300_800.0
"""Epoch seconds: the end of the year 9999, and of protobuf's Timestamp."""

UNIMPLEMENTED = 501


class JobOf(NamedTuple):
    """The job of an attempt, from 0, of a node."""

    view: NodeView
    attempt: int
    record: JobRecord


class Page(NamedTuple):
    """Which lines of a log are asked for."""

    lines: int = 1000
    token: str = ""


async def job_of(view: NodeView, attempt: int, storage: Storage) -> JobOf | None:
    """Return the job of an attempt, from the status while it runs, and from what it has left afterwards; None if it is
    no job. Raises StorageError.
    """
    execution, task = view.execution, view.graph.plan.task(view.spec.task)
    if (job := execution.jobs.of(view.number, attempt)) is not None:
        return JobOf(view, attempt, JobRecord.of(job))
    if view.spec.workflow is not None or task.type in OWN_TYPES:
        return None
    data = await storage.find(f"{execution.output_directory(view.number, attempt)}/{JOB_FILE}")
    if data is None or len(data) > MAX_JOB_FILE:
        return None
    try:
        record = msgspec.json.decode(data, type=JobRecord)
    except UNDECODABLE:
        return None
    kind = (record.task_type, record.version)
    if record.id and (kind != (task.type, task.task_type_version) or not 0 <= record.since < LAST_TIME):
        return None  # the task may write there: it is not to name a job of others, or what no service can be asked
    return JobOf(view, attempt, record)


def job_json(job: JobOf) -> dict[str, Any]:
    """Return a job for programs and people, with credentials masked."""
    record = job.record
    return {
        "id": _text_of(record.id) or None,
        "service": record.service or None,
        "type": record.task_type or None,
        "attempt": job.attempt + 1,
        "phase": record.phase or None,
        "message": redact(record.message) or None,
        "links": [{"name": link.name, "uri": redact(link.uri)} for link in record.links],
        "info": _info(record.info),
    }


def show_job_links(job: JobOf, *, as_json: bool) -> None:
    """Print the pages about a job that its service has named. Raises PropellerError if there are none."""
    links = job_json(job)["links"]
    if not links:
        raise PropellerError(f"the service of the job of {job.view.log_name} has named no links")
    if as_json:
        say_json({"job": _text_of(job.record.id) or None, "links": links})
        return
    for link in links:
        say(f"{link['name']}: {link['uri']}")


async def show_job_log(job: JobOf, page: Page, settings: Settings, *, as_json: bool) -> None:
    """Print lines of a job's log, as its service has them. Raises PropellerError, with the links, if it has none."""
    from propeller.connectors import read_job_log  # needs grpcio: as the other commands do not

    record = job.record
    async with _service(job, settings) as channel:
        try:
            log = await read_job_log(channel, record.task_type, record.version, record.id, page.lines, page.token)
        except PropellerError as error:
            raise _without(job, "log", error) from error
    if not log.lines and not log.token and record.links:
        raise PropellerError(f"connector {channel.name} has no lines of the job's log{_links(job)}")
    if as_json:
        shown = {"job": _text_of(record.id), "service": channel.name, "lines": log.lines, "token": log.token or None}
        say_json(shown)
        return
    for line in log.lines:
        say(line.removesuffix("\n"))
    if log.token:
        say(f"there is more: --token {shlex.quote(log.token)}", to_stderr=True)
    elif not log.lines:
        say(f"connector {channel.name} has no lines of the job's log", to_stderr=True)


async def show_job_metrics(
    job: JobOf, queries: tuple[str, ...], last: float | None, settings: Settings, *, as_json: bool
) -> None:
    """Print what the service measures of a job, since it began or over the last seconds."""
    from propeller.connectors import read_job_metrics

    record, now = job.record, SYSTEM_CLOCK.now()
    since = record.since if last is None else max(record.since, now - last)
    async with _service(job, settings) as channel:
        try:
            found = await read_job_metrics(channel, record.task_type, record.version, record.id, queries, since, now)
        except PropellerError as error:
            raise _without(job, "metrics", error) from error
    shown = {"job": _text_of(record.id), "service": channel.name, "metrics": msgspec.to_builtins(found)}
    say_json(shown, indented=not as_json)


@asynccontextmanager
async def _service(job: JobOf, settings: Settings) -> AsyncIterator[Channel]:
    """Open a channel to the service of a job. Raises PropellerError if that is not known."""
    from propeller.connectors import Category, Directory, Service

    record, options = job.record, settings.connectors
    if not record.id:
        raise PropellerError(f"{job.view.log_name} was run within one call, of which no job is left{_links(job)}")
    if not options.services:
        raise Invalid(
            f"{job.view.log_name} is a job of {record.service or 'a service'}: --config FILE with connectors.services "
            f"says how it is reached{_links(job)}"
        )
    directory = Directory(options)
    async with directory.asked():
        found = directory.find(Category(record.task_type, record.version))
        if not isinstance(found, Service):
            raise PropellerError(f"{found.why}{_links(job)}")
        yield found.channel


def _without(job: JobOf, what: str, error: PropellerError) -> PropellerError:
    if isinstance(error, Rejected) and error.status == UNIMPLEMENTED:
        return PropellerError(f"the service of the job keeps no {what}: {error}{_links(job)}")
    return PropellerError(f"{error}{_links(job)}")


def _links(job: JobOf) -> str:
    """Return what is known of a job without its service, for the end of a message."""
    where = "".join(f"\n  {link['name']}: {link['uri']}" for link in job_json(job)["links"])
    return f"; it has named these pages:{where}" if where else ""


def _text_of(identity: bytes) -> str:
    """Return an id as people can read it: mostly it is JSON."""
    try:
        return identity.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(identity).decode()


def _info(text: str) -> Any:
    try:
        return msgspec.json.decode(redact(text)) if text else None
    except UNDECODABLE:
        return redact(text)
