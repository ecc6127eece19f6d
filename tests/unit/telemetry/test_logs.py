"""Logs: fields, two formats, no secrets; failures that repeat."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from propeller.errors import Denied, Unavailable
from propeller.telemetry import Causes, LogFormat, configure_logs

log = logging.getLogger("propeller.test")


@pytest.fixture(autouse=True)
def _root_logger_restored() -> Iterator[None]:
    root = logging.getLogger()
    ours = logging.getLogger("propeller")
    handlers, level, own = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level = handlers, level
    ours.setLevel(own)


def logged(format_: LogFormat, message: str, level: str = "info", **fields: object) -> str:
    stream = io.StringIO()
    configure_logs(level, format_, stream)
    log.info(message, extra=fields)
    return stream.getvalue()


def test_a_json_line_holds_the_fields() -> None:
    line: dict[str, Any] = json.loads(logged(LogFormat.JSON, "pod created", execution="a/b", attempt=2))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "propeller.test",
        "message": "pod created",
        "execution": "a/b",
        "attempt": 2,
    }


def test_a_human_line_ends_in_the_fields() -> None:
    line = logged(LogFormat.HUMAN, "pod created", execution="a/b", attempt=2)
    assert line.endswith("info propeller.test: pod created execution=a/b attempt=2\n")


def test_a_traceback_is_one_field_of_the_json_line() -> None:
    stream = io.StringIO()
    configure_logs("info", LogFormat.JSON, stream)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it failed")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["error"].endswith("ValueError: broken")


@pytest.mark.parametrize("format_", list(LogFormat))
@pytest.mark.parametrize(
    ("message", "secret"),
    [
        ("Authorization: Bearer abcdefgh.ijkl-mnop", "abcdefgh"),
        ("authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("connecting to redis://user:hunter2@host:6379/0", "hunter2"),
        ("connecting to redis://:hunter2@host:6379/0", "hunter2"),
        ("options {'password': 'hunter2', 'user': 'me'}", "hunter2"),
        ('options {"secret_access_key": "hunter2"}', "hunter2"),
        ("AWS_SECRET_ACCESS_KEY=hunter2", "hunter2"),
        ("key AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
        ("got eyJhbGciOiJSUzI1.eyJzdWIiOiJ4.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    ],
)
def test_text_that_looks_like_a_credential_is_masked(format_: LogFormat, message: str, secret: str) -> None:
    line = logged(format_, message)
    assert secret not in line
    assert "***" in line


@pytest.mark.parametrize("format_", list(LogFormat))
def test_a_field_with_a_secrets_name_is_masked(format_: LogFormat) -> None:
    line = logged(format_, "request", api_key="hunter2", user="me")
    assert "hunter2" not in line
    assert "me" in line


def test_a_credential_in_a_traceback_is_masked() -> None:
    stream = io.StringIO()
    configure_logs("info", LogFormat.HUMAN, stream)
    try:
        raise ConnectionError("cannot reach https://user:hunter2@host/")
    except ConnectionError:
        log.exception("it failed")
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("message", ["pod s3://bucket/key:1 created", "3 tokens left: waiting", "took 0.3 s: fine"])
def test_harmless_text_is_left_alone(message: str) -> None:
    assert message in logged(LogFormat.HUMAN, message)


def test_levels_below_the_chosen_one_are_silent() -> None:
    assert logged(LogFormat.HUMAN, "chatter", level="warning") == ""


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'loud' is not one of debug, info, warning, error"):
        configure_logs("loud")


def fail(causes: Causes, error: Exception) -> None:
    try:
        raise error
    except Exception as raised:  # noqa: BLE001 - handed on at once
        causes.report(raised, "round of %s", "a")


def test_a_cause_is_logged_at_powers_of_ten(caplog: pytest.LogCaptureFixture) -> None:
    causes = Causes(log)
    for number in range(150):
        fail(causes, Unavailable(f"no answer {number}"))
    assert [record.getMessage() for record in caplog.records] == [
        "round of a: Unavailable: no answer 0",
        "round of a: Unavailable: no answer 9 (time 10 from this cause)",
        "round of a: Unavailable: no answer 99 (time 100 from this cause)",
    ]


def test_an_expected_failure_is_a_warning_and_a_defect_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    causes = Causes(log)
    fail(causes, Unavailable("no answer"))
    fail(causes, Denied("get leases flyte/x: forbidden", status=403))
    fail(causes, KeyError("nodes"))
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [
        ("WARNING", False),
        ("ERROR", False),
        ("ERROR", True),
    ]


FORGED = "a\n2026-01-02T03:04:05.000000Z info propeller: \x1b[2Jforged\u202e\x9b2J\u2028x"


def test_a_value_cannot_forge_a_line_or_act_on_the_terminal() -> None:
    stream = io.StringIO()
    configure_logs("info", LogFormat.HUMAN, stream)
    log.info("node %s waits", FORGED, extra={"node": FORGED})
    (line,) = stream.getvalue().splitlines()
    assert line.count("\\n2026-01-02T03:04:05.000000Z info propeller: \\x1b[2Jforged\\u202e\\x9b2J\\u2028x") == 2


def test_a_traceback_keeps_its_lines_and_none_looks_like_a_record() -> None:
    stream = io.StringIO()
    configure_logs("info", LogFormat.HUMAN, stream)
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("it failed")
    first, *others = stream.getvalue().removesuffix("\n").split("\n")
    assert first.endswith("it failed")
    assert len(others) > 3
    assert all(line.startswith("    ") for line in others)
    assert not set("\x1b\x9b\u202e\u2028") & set(stream.getvalue())


def test_a_json_line_is_visible_and_has_the_values_as_they_are() -> None:
    stream = io.StringIO()
    configure_logs("info", LogFormat.JSON, stream)
    log.info("node %s waits", FORGED, extra={"node": FORGED})
    (line,) = stream.getvalue().splitlines()
    assert not set("\x1b\x9b\u202e\u2028") & set(line)
    assert json.loads(line)["node"] == FORGED


@pytest.mark.parametrize("format_", list(LogFormat))
def test_values_that_are_not_text_are_logged(format_: LogFormat) -> None:
    assert "\\ud800" in logged(format_, "file \ud800", path="\ud800", large=2**70)


@pytest.mark.parametrize("format_", list(LogFormat))
def test_a_record_is_bounded(format_: LogFormat) -> None:
    stream = io.StringIO()
    configure_logs("info", format_, stream)
    try:
        raise ValueError("x" * 1_000_000)
    except ValueError:
        log.exception("begin %s end", "y" * 1_000_000, extra={"node": "z" * 1_000_000})
    assert len(stream.getvalue()) < 60_000
    assert "begin" in stream.getvalue()


@pytest.mark.parametrize("format_", list(LogFormat))
def test_a_record_whose_arguments_do_not_fit_is_logged_without_them(
    format_: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    configure_logs("info", format_, stream)
    log.info("node %s of %d", "\x1b[2Jhunter2", "none")
    assert "cannot be formatted" in stream.getvalue()
    assert "hunter2" not in stream.getvalue() + capsys.readouterr().err


@pytest.mark.parametrize("library", ["aiohttp.client", "botocore.auth", "aiobotocore", "urllib3", "kubernetes_asyncio"])
def test_libraries_do_not_log_requests_at_debug(library: str) -> None:
    stream = io.StringIO()
    configure_logs("debug", LogFormat.HUMAN, stream)
    logging.getLogger(library).debug("GET / x-amz-thing hunter2")
    log.debug("ours")
    assert "hunter2" not in stream.getvalue()
    assert "ours" in stream.getvalue()
