"""Serve a pod's logs: select the container and the part, and refuse invalid requests.

Source: k8s.io/kubernetes/pkg/apis/core/validation (ValidatePodLogOptions), pkg/registry/core/pod (LogLocation) and
pkg/kubelet (validateContainerLogStatus).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec

from propeller.clock import parse_rfc3339
from propeller.embedded.server._errors import (
    Failure,
    bad_request,
    forbidden_field,
    invalid,
    invalid_value,
    not_found,
    not_implemented,
    quoted,
)
from propeller.embedded.server._responses import Answer, Streaming
from propeller.embedded.server._storage import Object, Record
from propeller.embedded.server.negotiation._requests import Call, is_true, number_in
from propeller.embedded.server.rest._lists import record_of
from propeller.errors import NotFound, PropellerError, Rejected
from propeller.kube import Response

_TEXT = {"content-type": "text/plain"}

_RFC3339 = re.compile(
    r"([0-9]{4})?(-)?([0-9]{2})?(-)?([0-9]{2})?(T)?([0-9]{2})?(:)?([0-9]{2})?(:)?([0-9]{2}(?:\.[0-9]+)?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_LAYOUTS = ("2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05", "Z07:00")
"""The parts of Go's time.RFC3339 layout, in the order of the pattern's groups."""


class LogSource(Protocol):
    """The source of containers' output: a kubelet's `logs`."""

    def __call__(
        self,
        namespace: str,
        name: str,
        container: str | None = None,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: float | None = None,
        timestamps: bool = False,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yield the output of a container's last run, or the one before it: its last `tail` lines, only those written
        `since` then (epoch seconds), each with its time. Raises PropellerErrors before the first chunk.
        """


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """PodLogOptions. `since` is in epoch seconds."""

    container: str
    follow: bool
    previous: bool
    timestamps: bool
    tail: int | None
    since: float | None
    limit: int | None


async def read_log(call: Call, source: LogSource | None, now: float) -> Answer:
    """GET a container's output. Raises Failure."""
    options = _options(call, now)
    record = record_of(call.target)
    pod = record.parsed()
    container = _container(record, pod, options.container)
    if not (pod.get("spec") or {}).get("nodeName"):
        return Response(status=204, headers=_TEXT)
    if source is None:
        raise not_implemented("this server has no kubelet to read logs from: give it a source of logs")
    _check_run(record, pod, container, previous=options.previous)
    chunks = source(
        record.namespace,
        record.name,
        container,
        follow=options.follow,
        tail=options.tail,
        since=options.since,
        timestamps=options.timestamps,
        previous=options.previous,
    )
    if options.limit is not None:
        chunks = _limited(chunks, options.limit)
    if options.follow:
        return Streaming(headers=_TEXT, chunks=lambda: chunks)
    try:
        body = b"".join([chunk async for chunk in chunks])
    except NotFound as error:
        raise not_found("", "pods", record.name) from error
    except PropellerError as error:
        code = error.status if isinstance(error, Rejected) else 500
        raise Failure(code, "BadRequest" if code == 400 else "InternalError", str(error)) from error
    return Response(status=200, headers=_TEXT, body=body)


def _options(call: Call, now: float) -> _Options:
    """Parse the query. Raises Failure."""
    query = call.query
    tail, limit, seconds = (_number(query, name) for name in ("tailLines", "limitBytes", "sinceSeconds"))
    since = _time(query.get("sinceTime", ""))
    causes = []
    if tail is not None and tail < 0:
        causes.append(invalid_value("tailLines", tail, "must be greater than or equal to 0"))
    if limit is not None and limit < 1:
        causes.append(invalid_value("limitBytes", limit, "must be greater than 0"))
    if seconds is not None and since is not None:
        causes.append(forbidden_field("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    elif seconds is not None and seconds < 1:
        causes.append(invalid_value("sinceSeconds", seconds, "must be greater than 0"))
    if causes:
        raise invalid("", "PodLogOptions", call.target.name, causes)
    return _Options(
        container=query.get("container", ""),
        follow=is_true(query, "follow"),
        previous=is_true(query, "previous"),
        timestamps=is_true(query, "timestamps"),
        tail=tail,
        since=since if seconds is None else now - seconds,
        limit=limit,
    )


def _number(query: Mapping[str, str], name: str) -> int | None:
    return number_in(query, name) if query.get(name) else None


def _time(text: str) -> float | None:
    """Parse a metav1.Time of a query as epoch seconds. Raises Failure worded as by Go, naming the part that failed."""
    if text in ("", "null"):
        return None
    found = _RFC3339.match(text)
    assert found is not None, "each of its parts may be absent"
    end = 0
    for number, layout in enumerate(_LAYOUTS, 1):
        if found[number] is None:
            why = f"cannot parse {quoted(text[end:])} as {quoted(layout)}"
            raise bad_request(f'parsing time {quoted(text)} as "2006-01-02T15:04:05Z07:00": {why}')
        end = found.end(number)
    rest = text[end:]
    try:
        if not rest:
            return parse_rfc3339(text)
        why = f"extra text: {quoted(rest)}"
    except ValueError as error:
        why = f"{str(error).split()[0]} out of range"  # Python names the field first, too
    raise bad_request(f"parsing time {quoted(text)}: {why}")


async def _limited(chunks: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """The first `limit` bytes."""
    try:
        async for chunk in chunks:
            yield chunk[:limit]
            limit -= len(chunk)
            if limit <= 0:
                return
    finally:
        if (close := getattr(chunks, "aclose", None)) is not None:
            await close()


def _container(record: Record, pod: Object, asked: str) -> str:
    """The container whose output is meant."""
    spec = pod.get("spec") or {}
    main = [one["name"] for one in spec.get("containers") or ()]
    init = [one["name"] for one in spec.get("initContainers") or ()]
    if asked:
        if asked not in (*main, *init):
            raise bad_request(f"container {asked} is not valid for pod {record.name}")
        return asked
    if len(main) == 1:
        return str(main[0])
    names = " ".join([*init, *main])
    raise bad_request(f"a container name must be specified for pod {record.name}, choose one of: [{names}]")


def _check_run(record: Record, pod: Object, container: str, *, previous: bool) -> None:
    """Raise Failure unless the container has the run that is asked for."""
    status = pod.get("status") or {}
    states = {
        one.get("name"): one
        for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    }
    found = states.get(container) or {}
    ended = bool((found.get("lastState") or {}).get("terminated"))
    if previous:
        if not ended:
            raise bad_request(
                f"previous terminated container {quoted(container)} in pod {quoted(record.name)} not found"
            )
        return
    waiting = (found.get("state") or {}).get("waiting")
    if (found and waiting is None) or ended or found.get("restartCount"):
        return
    reason = (waiting or {}).get("reason") or "ContainerCreating"
    raise bad_request(f"container {quoted(container)} in pod {quoted(record.name)} is waiting to start: {reason}")
