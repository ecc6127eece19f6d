"""Failures: the metav1.Status of a refused request.

Guarantees
    Every failure's body is a Status with code, reason and details, worded as by kube-apiserver if clients read the text
    (k8s.io/apimachinery/pkg/api/errors and pkg/util/validation/field).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from propeller.embedded.server._responses import JSON_HEADERS
from propeller.kube import Response


class Cause(msgspec.Struct, frozen=True):
    """One thing that is wrong with one field. `reason` is metav1.CauseType."""

    reason: str
    message: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Failure(Exception):
    """A request that is answered with a Status; never leaves this package."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata or {}
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        """The Status as an object: a body, or an ERROR event's."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        return status | {"code": self.code}

    def response(self) -> Response:
        return Response(status=self.code, headers={**JSON_HEADERS, **self.headers}, body=orjson.dumps(self.status()))


def quoted(value: Any) -> str:
    """A value as the messages show it: text in quotes, numbers bare, the rest as JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def required(field: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value: {detail}" if detail else "Required value", field)


def invalid_value(field: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {quoted(value)}: {detail}", field)


def wrong_type(field: str, type_: str, detail: str) -> Cause:
    return Cause("FieldValueTypeInvalid", f"Invalid value: {quoted(type_)}: {detail}", field)


def forbidden_field(field: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def unsupported_value(field: str, value: Any, supported: Sequence[str]) -> Cause:
    names = ", ".join(map(quoted, supported))
    return Cause("FieldValueNotSupported", f"Unsupported value: {quoted(value)}: supported values: {names}", field)


def duplicate_value(field: str, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", f"Duplicate value: {quoted(value)}", field)


def too_long(field: str, limit: int) -> Cause:
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    members = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in members.items() if value}


def qualified(name: str, group: str) -> str:
    """A kind or plural with its group, as the messages name it."""
    return f"{name}.{group}" if group else name


def bad_request(message: str) -> Failure:
    return Failure(400, "BadRequest", message)


def unauthorized() -> Failure:
    return Failure(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str, causes: Sequence[Cause] = ()) -> Failure:
    details = _details(name, group, plural)
    if causes:
        details["causes"] = [msgspec.to_builtins(cause) for cause in causes]
    what = (
        f"{qualified(plural, group)} {quoted(name)} is forbidden"
        if name
        else f"{qualified(plural, group)} is forbidden"
    )
    return Failure(403, "Forbidden", f"{what}: {why}", details=details)


def not_found(group: str, plural: str, name: str) -> Failure:
    message = f"{qualified(plural, group)} {quoted(name)} not found"
    return Failure(404, "NotFound", message, details=_details(name, group, plural))


def no_such_path() -> Failure:
    return Failure(404, "NotFound", "the server could not find the requested resource", details={})


def method_not_allowed() -> Failure:
    message = "the server does not allow this method on the requested resource"
    return Failure(405, "MethodNotAllowed", message, details={})


def not_acceptable(accepted: Sequence[str]) -> Failure:
    message = "406: Not Acceptable\n\nAvailable representations: " + ", ".join(accepted)
    return Failure(406, "NotAcceptable", message, details={})


def unsupported_media_type(accepted: Sequence[str]) -> Failure:
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return Failure(415, "UnsupportedMediaType", message)


def already_exists(group: str, plural: str, name: str) -> Failure:
    message = f"{qualified(plural, group)} {quoted(name)} already exists"
    return Failure(409, "AlreadyExists", message, details=_details(name, group, plural))


def conflict(group: str, plural: str, name: str, why: str) -> Failure:
    message = f"Operation cannot be fulfilled on {qualified(plural, group)} {quoted(name)}: {why}"
    return Failure(409, "Conflict", message, details=_details(name, group, plural))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def expired(message: str, continue_token: str = "") -> Failure:
    """Return the failure for a version that is older than the history. `continue_token` lets a list continue
    regardless.
    """
    return Failure(410, "Expired", message, metadata={"continue": continue_token} if continue_token else {})


def request_too_large(limit: int) -> Failure:
    return Failure(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> Failure:
    texts = [str(cause) for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(name, group, kind) | {"causes": [msgspec.to_builtins(cause) for cause in causes]}
    return Failure(422, "Invalid", f"{qualified(kind, group)} {quoted(name)} is invalid: {text}", details=details)


def unprocessable() -> Failure:
    """The answer to a JSON patch that does not apply."""
    return Failure(422, "Invalid", "the server rejected our request due to an error in our request", details={})


def internal(message: str, reason: str = "InternalError") -> Failure:
    return Failure(500, reason, message)


def not_implemented(message: str) -> Failure:
    return Failure(501, "NotImplemented", message)


def version_too_large(asked: int, current: int) -> Failure:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return Failure(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {current}",
        details={"causes": [cause], "retryAfterSeconds": 1},
        headers={"retry-after": "1"},
    )
