"""One error tree, split by what the caller should do: retry, read again, list again, wait, or give up.

Guarantees
    Every exception that crosses a package's border derives from `PropellerError`; a library's own is chained to it.
    `kind` says whose fault it is, in Flyte's words: USER (fix the workflow or the call) or SYSTEM (fix the platform, or
    retry). A message is for people: the failure, the object, and the mend. It has at most `text.MESSAGE_CHARACTERS`, of
    servers and workflows too, and nothing in it looks like a credential.
"""

from __future__ import annotations

import enum
import math

from propeller.redaction import redact
from propeller.text import MESSAGE_CHARACTERS, NAME_CHARACTERS, bounded


class ErrorKind(enum.StrEnum):
    """Whose fault a failure is; decides which retry budget it draws on (flyteidl.core.ExecutionError.ErrorKind)."""

    USER = "USER"
    SYSTEM = "SYSTEM"


class PropellerError(Exception):
    """The one base."""

    kind: ErrorKind = ErrorKind.SYSTEM

    def __init__(self, message: str = "") -> None:
        super().__init__(message if len(message) <= MESSAGE_CHARACTERS else bounded(message))

    def __str__(self) -> str:
        return redact(str(self.args[0]))  # here, as most errors are handled and never shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Retryable(PropellerError):
    """Try again later: after `after` seconds if the server named a time. One that is not finite and above 0 is dropped:
    it would be no pause, or an endless one.
    """

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after if after is not None and 0 < after < math.inf else None


class Conflict(Retryable):
    """409: the object was changed in between. Read it again, then try."""


class Throttled(Retryable):
    """429, or a 403 for an exhausted quota: wait for room."""


class Overloaded(Throttled):
    """429 of the API server itself, or no slot for a request within its deadline: the server is asked for too much, and
    nothing says that this request or its namespace is to blame.
    """


class Unavailable(Retryable):
    """No answer, a cut connection, a deadline that passed, or a 5xx: the request may or may not have had its effect."""


class Untrusted(Unavailable):
    """The server shows a certificate that is not trusted, or is for another name: waiting does not mend it, another
    certificate does.
    """


class EndlessList(Unavailable):
    """A list by pages does not end; in one piece it may."""


class WebhookUnavailable(Unavailable):
    """The API server answers, but an admission webhook that it has to ask does not."""


class ResourceExpired(PropellerError):
    """410: the resourceVersion or continue token is too old. List again."""


class Rejected(PropellerError):
    """A 4xx that no retry mends. `status` is the HTTP code, `reason` Kubernetes' word for it ("" if it has none)."""

    def __init__(self, message: str, *, status: int = 400, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = bounded(reason, NAME_CHARACTERS)


class NotFound(Rejected):
    """404: the object or the resource type is not there."""


class AlreadyExists(Rejected):
    """409 on a create: the name is taken."""


class Denied(Rejected):
    """401, 403, or any answer of an admission controller that refuses: the credentials lack a permission, or a policy
    forbids the request. Nothing says that the object is wrong, so the same request may be allowed later.
    """


class Malformed(Rejected):
    """400 or 422: the API server cannot read the object, or its validation names `fields` that are wrong."""

    def __init__(self, message: str, *, fields: tuple[str, ...] = (), status: int = 422, reason: str = "") -> None:
        super().__init__(message, status=status, reason=reason)
        self.fields = fields


class TooLarge(Rejected):
    """413, or the request would exceed a limit of ours: send less."""


class Invalid(PropellerError):
    """Input that cannot be used. The message names the field, the value and the fix."""

    kind = ErrorKind.USER


class StorageError(Retryable):
    """The object store did not do as asked; the message names the URI."""


class MissingBlob(PropellerError):
    """Nothing is stored under that URI."""


class NotUnderstood(PropellerError):
    """A state that this version cannot continue from, but another version may: nothing is changed."""


class CorruptBlob(PropellerError):
    """The blob under that URI is not as expected: wrong digest, wrong format, over the size limit."""

    kind = ErrorKind.USER


class TooLargeBlob(CorruptBlob):
    """The blob under that URI is over a limit: it was not read."""


class LostBlob(CorruptBlob):
    """A blob that nobody but the controller writes was removed or changed."""

    kind = ErrorKind.SYSTEM
