"""Maps the server's responses to results or to our errors, which are split by what the caller should do."""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

import msgspec

from propeller.decoding import read
from propeller.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Malformed,
    NotFound,
    Overloaded,
    PropellerError,
    Rejected,
    ResourceExpired,
    Throttled,
    TooLarge,
    Unavailable,
    WebhookUnavailable,
)
from propeller.kube._transport import Response

_TOO_LARGE = re.compile(r"request is too large|larger than max")
"""Words of etcd and its client about a request. Those of a resource version that is too large do not match."""

_FORBIDDEN = re.compile(r"(?:[\w.-]{1,253} (?:\"[^\"]{0,253}\" )?is )?forbidden: ")
"""How a refusal of authorization, a policy or an admission plugin begins, whatever its code (apimachinery's
NewForbidden; a ValidatingAdmissionPolicy sets another code and reason on it). The API server's own validation begins
with `Pod "name" is invalid`, so that no text within an object can look like one.
"""

_WEBHOOK_DENIED = re.compile(r"admission webhook \"[^\"]{0,253}\" denied the request")
"""How a webhook's refusal begins. The webhook chooses code and reason, and may name fields."""

_WEBHOOK_FAILED = re.compile(r"(?:Internal error occurred: )?failed calling webhook ")

_NO_SUCH_PATH = "404 page not found"
"""An API server's response, without a Status, for the path of a resource type that it does not serve."""

_VERSION_TOO_LARGE = "ResourceVersionTooLarge"

_LOAD = frozenset({429, 503, 504})
"""Codes of priority and fairness, of a server that shuts down or has lost etcd, and of requests that took too long."""

_API = re.compile(r"/(?:api|apis)/(?P<version>(?:[^/]+/)?v[^/]+)/(?:namespaces/[^/]+/)?(?P<plural>[^/]+)")

_MAX_SHOWN = 300
"""Characters of a response that is no Status that go into the message."""


class Cause(msgspec.Struct, frozen=True):
    reason: str = ""
    field: str = ""
    message: str = ""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    retry_after_seconds: float = 0
    causes: tuple[Cause, ...] | None = None


class Status(msgspec.Struct, frozen=True):
    """metav1.Status, as far as we read it."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


def check(response: Response, what: str, longest: float, path: str = "") -> Response:
    """Return the response if it is a success, else raise its error. `what` names verb and object in the message;
    `longest` is the longest pause in seconds that the server is believed to ask for, `path` that of the request.
    """
    if not 200 <= response.status < 300:
        raise_for(response, what, longest, path)
    return response


def raise_for(response: Response, what: str, longest: float, path: str = "") -> NoReturn:
    """Raise the error of an unsuccessful response."""
    found = read(Status, response.body)
    status = found.value
    if status is None or found.problems:  # no JSON, no Status
        text = response.body[:_MAX_SHOWN].decode(errors="replace").strip()
        status = Status(message=f"the answer is no Kubernetes status: {text!r}" if text else "empty answer")
        if response.status == 404 and text == _NO_SUCH_PATH and (api := _API.match(path)):
            status = Status(
                message=f"the server has no {api['plural']} in {api['version']}: is the CustomResourceDefinition "
                "installed, and is this group and version served?"
            )
    raise error_of(response.status, status, what, retry_after(response), longest)


def error_of(
    code: int, status: Status, what: str, pause: float | None = None, longest: float = math.inf
) -> PropellerError:
    """The error for an HTTP code and the Status that came with it."""
    details = status.details
    causes = (details.causes if details else None) or ()
    after = pause or (_seconds(details.retry_after_seconds) if details else None)
    after = min(after, longest) if after is not None else None
    message = f"{what}: {status.message or status.reason} ({code})"
    rejection: dict[str, Any] = {"status": code, "reason": status.reason}
    match code:
        case 429 if _WEBHOOK_DENIED.match(status.message):
            return Throttled(message, after=after)
        case 429:
            return Overloaded(message, after=after)
        case 403 if "exceeded quota" in status.message:
            return Throttled(message, after=after)
        case _ if code >= 400 and (_FORBIDDEN.match(status.message) or _WEBHOOK_DENIED.match(status.message)):
            return Denied(message, **rejection)
        case _ if code >= 500 and _WEBHOOK_FAILED.match(status.message):
            return WebhookUnavailable(message, after=after)
        case 401:
            return Denied(f"{message}: the credentials are missing, wrong or expired", **rejection)
        case 403:
            return Denied(message, **rejection)
        case 404:
            return NotFound(message, **rejection)
        case 409 if status.reason == "AlreadyExists":
            return AlreadyExists(message, **rejection)
        case 409:
            return Conflict(message, after=after)
        case 410:
            return ResourceExpired(message)
        case _ if details and any(cause.reason == _VERSION_TOO_LARGE for cause in details.causes or ()):
            return ResourceExpired(f"{message}: the version is from before the server was restored, or the server lags")
        case 413:
            return TooLarge(message, **rejection)
        case 400 if status.reason == "BadRequest":
            return Malformed(message, **rejection)
        case 422 if fields := tuple(cause.field for cause in causes if cause.field):
            return Malformed(message, fields=fields, **rejection)
        case 408:
            return Unavailable(message, after=after)
        case _ if code >= 500 and _TOO_LARGE.search(status.message):
            return TooLarge(message, **rejection)
        case _ if code >= 500 or code < 400:  # a redirect is no API server's: something stands between
            return Unavailable(message, after=after)
        case _:
            return Rejected(message, **rejection)


def shows_load(response: Response) -> bool:
    """Whether the response says that the API server is asked for too much, or does not keep up. What an admission
    webhook answers does not, nor does a version that the server has not reached.
    """
    if response.status not in _LOAD:
        return False
    status = read(Status, response.body).value
    if status is None:
        return True
    causes = (status.details.causes if status.details else None) or ()
    if any(cause.reason == _VERSION_TOO_LARGE for cause in causes):
        return False
    return not (_WEBHOOK_DENIED.match(status.message) or _WEBHOOK_FAILED.match(status.message))


def retry_after(response: Response) -> float | None:
    """Seconds that the server asks to wait; None if it names none, or one that cannot be kept."""
    try:
        return _seconds(float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _seconds(value: float) -> float | None:
    """A pause that a server named, None if it cannot be kept. Retry-After has whole seconds: a fraction counts as one,
    or a thousand requests would be sent within one. A date, which HTTP allows too, is none: kube-apiserver sends none.
    """
    return max(value, 1.0) if math.isfinite(value) and value > 0 else None
