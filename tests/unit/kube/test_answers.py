"""Responses become results or errors, split by what the caller should do, for any body."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
    Retryable,
    Throttled,
    TooLarge,
    Unavailable,
    WebhookUnavailable,
)
from propeller.kube import Response
from propeller.kube._responses import check
from tests.unit.kube.scripted import answer, failure

MAX_WAIT = 60.0
"""Seconds that a server may ask to wait."""


def error_of(response: Response) -> PropellerError:
    with pytest.raises(PropellerError) as raised:
        check(response, "create pods ns/a", MAX_WAIT)
    return raised.value


@pytest.mark.parametrize(
    ("code", "reason", "message", "expected"),
    [
        (400, "BadRequest", "no", Malformed),
        (422, "Invalid", 'admission webhook "w" denied the request: no', Denied),
        (500, "InternalError", 'Internal error occurred: failed calling webhook "w": no', WebhookUnavailable),
        (401, "Unauthorized", "Unauthorized", Denied),
        (403, "Forbidden", "pods is forbidden", Denied),
        (403, "Forbidden", 'pods "a" is forbidden: exceeded quota: q, requested: pods=1', Throttled),
        (403, "Forbidden", 'pods "a" is forbidden: failed quota: q: must specify cpu', Denied),
        (404, "NotFound", "no", NotFound),
        (405, "MethodNotAllowed", "no", Rejected),
        (408, "Timeout", "no", Unavailable),
        (409, "AlreadyExists", "no", AlreadyExists),
        (409, "Conflict", "the object has been modified", Conflict),
        (410, "Expired", "too old resource version", ResourceExpired),
        (410, "Gone", "no", ResourceExpired),
        (413, "RequestEntityTooLarge", "limit is 3145728", TooLarge),
        (415, "UnsupportedMediaType", "no", Rejected),
        (422, "Invalid", "no", Rejected),
        (429, "TooManyRequests", "no", Overloaded),
        (429, "", 'admission webhook "a.b" denied the request: no', Throttled),
        (500, "InternalError", "no", Unavailable),
        (500, "", "etcdserver: request is too large", TooLarge),
        (500, "", "rpc error: trying to send message larger than max (3 vs. 2)", TooLarge),
        (504, "Timeout", "Too large resource version: 9, current: 7", Unavailable),
        (502, "", "no", Unavailable),
        (503, "ServiceUnavailable", "no", Unavailable),
        (504, "Timeout", "no", Unavailable),
        (302, "", "no", Unavailable),
    ],
)
def test_each_status_code_becomes_the_error_for_the_callers_next_step(
    code: int, reason: str, message: str, expected: type[PropellerError]
) -> None:
    error = error_of(failure(code, reason, message))
    assert type(error) is expected
    assert str(error).startswith("create pods ns/a: ")
    assert message in str(error)
    if isinstance(error, Rejected):
        assert (error.status, error.reason) == (code, reason)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_passes(status: int) -> None:
    response = Response(status=status, body=b"anything")
    assert check(response, "get", MAX_WAIT) is response


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("7", 7.0),
        ("0.5", 1.0),
        ("1e-300", 1.0),
        ("0", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("1000000000", MAX_WAIT),
        ("9" * 400, None),
        ("Wed, 21 Oct 2065 07:28:00 GMT", None),
    ],
)
def test_a_valid_retry_after_is_kept(header: str, after: float | None) -> None:
    error = error_of(failure(429, retry_after=header))
    assert isinstance(error, Retryable)
    assert error.after == after


def test_a_pause_in_the_body_has_the_same_limits() -> None:
    for named, after in ((1e9, MAX_WAIT), (0.001, 1.0)):
        error = error_of(answer({"code": 429, "details": {"retryAfterSeconds": named}}, 429))
        assert isinstance(error, Retryable)
        assert error.after == after


def test_the_pause_may_be_in_the_body() -> None:
    body = {"code": 504, "message": "no", "details": {"retryAfterSeconds": 3}}
    error = error_of(answer(body, 504))
    assert isinstance(error, Retryable)
    assert error.after == 3


def test_a_pause_in_the_body_that_is_none_is_not_kept() -> None:
    error = error_of(answer({"code": 429, "details": {"retryAfterSeconds": -3}}, 429))
    assert isinstance(error, Retryable)
    assert error.after is None


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<html><h1>502 Bad Gateway</h1></html>", "<html><h1>502 Bad Gateway</h1></html>"),
        (b"", "empty answer"),
        (b"404 page not found\n", "404 page not found"),
        (b"null", "null"),
        (b"[]", "[]"),
        (b'{"code": "text"}', "text"),
        (b'{"message": "\xff"}', "message"),
        (b'{"a":' + b"[" * 5000, "no Kubernetes status"),
        (b"x" * 10_000, "x" * 300),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_body_that_is_no_status_is_shown_in_part(body: bytes, shown: str) -> None:
    error = error_of(Response(status=502, body=body))
    assert type(error) is Unavailable
    assert shown in str(error)
    assert len(str(error)) < 500


@given(st.integers(300, 599), st.binary(max_size=60))
@example(429, b'{"details": null}')
@example(500, b'{"details": {"causes": null}}')
def test_any_unsuccessful_response_becomes_an_error_of_ours(status: int, body: bytes) -> None:
    error_of(Response(status=status, body=body, headers={"retry-after": "x"}))
