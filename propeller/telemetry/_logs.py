"""Log to stderr: one line of text for people, or one JSON object a line for machines, never with a secret in it.

Fields go into `extra`: `log.info("pod created", extra={"execution": key})` ends in `pod created execution=a/b`, or in
`{"message": "pod created", "execution": "a/b", ...}`.

Guarantees
    Values of fields whose names suggest secrets are masked, and so is everything that looks like a credential in any
    text, including tracebacks (`propeller.redaction`).
    A record is one line, whatever its values contain; a traceback follows in lines that begin with spaces, as no record
    does. Control and invisible characters are escaped. A record has at most `RECORD_CHARACTERS`, its traceback as many,
    each of its fields `FIELD_CHARACTERS`. All of this takes time linear in the text's length.
    Libraries log from INFO on only: at DEBUG they print headers and signed requests.
    A record that cannot be formatted does not stop the program.
Caveats
    Masking knows forms, not values: a bare secret in no known form passes.
"""

from __future__ import annotations

import enum
import logging
import sys
import textwrap
import traceback
from typing import TextIO

import orjson

from propeller.clock import rfc3339
from propeller.redaction import MASK, is_secret_name, redact
from propeller.text import bounded, one_line, visible, visible_json

LOG_LEVELS = ("debug", "info", "warning", "error")

RECORD_CHARACTERS = 16 * 1024
"""Maximum length of a message or a traceback: log collectors split longer lines (containerd at 16 KiB)."""

FIELD_CHARACTERS = 2 * 1024

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LogFormat(enum.StrEnum):
    """How a line looks."""

    HUMAN = "human"
    JSON = "json"


def configure_logs(
    level: str = "info", format_: LogFormat = LogFormat.HUMAN, stream: TextIO | None = None, *, process: str = ""
) -> logging.Handler:
    """Send all logs of `level` (one of LOG_LEVELS) and above to `stream` (default stderr), replacing earlier handlers;
    return the handler. `process` is a field of every line, if it is given. Raises ValueError for an unknown level.
    """
    if level.lower() not in LOG_LEVELS:
        raise ValueError(f"log level {level!r} is not one of {', '.join(LOG_LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if format_ is LogFormat.JSON else _HumanFormatter())
    if process:
        handler.addFilter(_OfProcess(process))
    _leave_out_what_no_line_has()
    root = logging.getLogger()
    for earlier in root.handlers[:]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel("INFO" if level.lower() == "debug" else level.upper())
    logging.getLogger("propeller").setLevel(level.upper())
    return handler


def _leave_out_what_no_line_has() -> None:
    """Keep records from looking up their thread, process and caller, which is nearly half of a line's cost
    (docs.python.org, Logging HOWTO, Optimization).
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the HOWTO's way to say so


class _OfProcess(logging.Filter):
    """Adds a field that says which process a line is from."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def filter(self, record: logging.LogRecord) -> bool:
        record.of_process = self._process
        return True


class _HumanFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678901Z warning propeller.kube: message field=value`, then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {one_line(name)}={one_line(str(value))}" for name, value in _fields(record).items())
        time = rfc3339(record.created, microseconds=True)
        line = f"{time} {record.levelname.lower()} {record.name}: {one_line(_message(record))}{fields}"
        error = visible(_error(record))
        return f"{line}\n{textwrap.indent(error, '    ', lambda _: True)}" if error else line


class _JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the fields, and `error` with the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            **_fields(record),
            "time": rfc3339(record.created, microseconds=True),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if error := _error(record):
            line["error"] = error
        return visible_json(_encoded(line)).decode()


def _encoded(line: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates, as in names of files, are no text in JSON; an integer may be too large
        return orjson.dumps({name: visible(str(value)) for name, value in line.items()})


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001 - whatever an argument's own __str__ raises; logging would print it raw
        text = f"{record.msg} (its arguments cannot be formatted: {type(error).__name__})"
    return bounded(redact(text), RECORD_CHARACTERS)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of `extra`; secret values are masked by their names, and in strings by their form."""
    fields: dict[str, object] = {}
    for name, value in record.__dict__.items():
        if name in _STANDARD:
            continue
        if is_secret_name(name):
            fields[name] = MASK
        elif isinstance(value, int | float | bool | None):
            fields[name] = value
        else:
            fields[name] = bounded(redact(str(value)), FIELD_CHARACTERS)
    return fields


def _error(record: logging.LogRecord) -> str:
    """Format the traceback. A long one is cut in the middle: its beginning says where, its end what."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    return bounded(redact(text), RECORD_CHARACTERS)
