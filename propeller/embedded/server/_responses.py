"""Answers: whole ones, and streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
import orjson

from propeller.kube import Response

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}


class Streaming(msgspec.Struct, frozen=True, kw_only=True):
    """An answer whose body comes bit by bit: a watch, or a log. `chunks` opens the body; its `aclose` ends it."""

    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=lambda: JSON_HEADERS)
    chunks: Callable[[], AsyncIterator[bytes]]


Answer = Response | Streaming


def json_response(content: Any, status: int = 200) -> Response:
    return Response(status=status, headers=JSON_HEADERS, body=orjson.dumps(content))


def success(details: Mapping[str, Any] | None = None, code: int | None = None) -> dict[str, Any]:
    """Return the Status of a successful request that has no object to return."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        status["details"] = details
    return status if code is None else status | {"code": code}


def throttled(retry_after: int) -> Response:
    """Too many requests at once: the one answer that kube-apiserver gives as plain text."""
    headers = {"content-type": "text/plain; charset=utf-8", "retry-after": str(retry_after)}
    return Response(status=429, headers=headers, body=b"Too many requests, please try again later.\n")
