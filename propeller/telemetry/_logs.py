"""Logs on stderr: one line of text for people, or one JSON object a line for machines, never with a secret in it.

Fields go into `extra`: `log.info("pod created", extra={"execution": key})` ends in `pod created execution=a/b`, or in
`{"message": "pod created", "execution": "a/b", ...}`.

Guarantees
    Values of fields whose names speak of secrets are masked, and so is what looks like a credential in any text,
    tracebacks included: authorization headers, passwords in URLs, `password=...` and the like, AWS keys, JWTs.
    A record that cannot be formatted does not stop the program.
Caveats
    Masking knows forms, not values: a secret printed bare, in no known form, passes.
"""

from __future__ import annotations

import enum
import logging
import re
import sys
import traceback
from typing import TextIO

import orjson

from propeller.clock import rfc3339

LOG_LEVELS = ("debug", "info", "warning", "error")

_MASK = "***"
_NAMES = r"(?:password|passwd|secret|token|authorization|credential|private_?key|access_?key|api_?key)"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_SECRETS = (
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {_MASK}"),
    (re.compile(r"(\w://[^\s/:@]*):[^\s/@]+@"), rf"\1:{_MASK}@"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), _MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), _MASK),
    (re.compile(rf"""({_NAMES}\w*["']?\s*[=:]\s*["']?)(?!Bearer|Basic)[^\s"',;&}}]+""", re.IGNORECASE), rf"\1{_MASK}"),
)
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LogFormat(enum.StrEnum):
    """How a line looks."""

    HUMAN = "human"
    JSON = "json"


def configure_logs(
    level: str = "info", format_: LogFormat = LogFormat.HUMAN, stream: TextIO | None = None
) -> logging.Handler:
    """Send all logs of `level` (one of LOG_LEVELS) and above to `stream` (default stderr), in the place of earlier
    handlers; returns the handler. Raises ValueError for an unknown level.
    """
    if level.lower() not in LOG_LEVELS:
        raise ValueError(f"log level {level!r} is not one of {', '.join(LOG_LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if format_ is LogFormat.JSON else _HumanFormatter())
    root = logging.getLogger()
    for earlier in root.handlers[:]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level.upper())
    return handler


def redact(text: str) -> str:
    """`text` with what looks like a credential masked."""
    for pattern, masked in _SECRETS:
        text = pattern.sub(masked, text)
    return text


class _HumanFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678901Z warning propeller.kube: message field=value`, then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        time = rfc3339(record.created, microseconds=True)
        line = f"{time} {record.levelname.lower()} {record.name}: {record.getMessage()}{fields}"
        error = _error(record)
        return redact(f"{line}\n{error}" if error else line)


class _JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the fields, and `error` with the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            **_fields(record),
            "time": rfc3339(record.created, microseconds=True),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if error := _error(record):
            line["error"] = redact(error)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What was given as `extra`; secret values are masked by their names, and in strings by their form."""
    fields: dict[str, object] = {}
    for name, value in record.__dict__.items():
        if name in _STANDARD:
            continue
        if _SECRET_NAME.search(name):
            fields[name] = _MASK
        elif isinstance(value, int | float | bool | None):
            fields[name] = value
        else:
            fields[name] = redact(str(value))
    return fields


def _error(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return "".join(traceback.format_exception(*record.exc_info)).rstrip()
