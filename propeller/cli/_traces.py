"""A failure's message as its author reads it: the frames of the author's own code, flytekit's folded, the message once.

Pure. flytekit reports an exception as `Trace:` and, below it, `Message:`, both indented (flytekit/bin/entrypoint.py).
"""

from __future__ import annotations

import re

_OF_EXECUTION = r"execution \S{1,300} failed: "
_OF_ITEM = r"item \d{1,9} of \d{1,9} failed: "
_OF_ITEMS = r"\d{1,9} of \d{1,9} items failed \([\d, .-]{1,500}\)(?:, and \d{1,9} have to succeed)?; [^:\n]{1,20}: "
_REPORT = re.compile(
    rf"\A(?P<of>(?:{_OF_EXECUTION}|{_OF_ITEM}|{_OF_ITEMS}){{0,32}})"
    r"Trace:\n\n(?P<trace>.*?)(?:\nMessage:\n\n(?P<message>.*))?\Z",
    re.DOTALL,
)
_INDENT = re.compile(r"^ {4}", re.MULTILINE)
_MARGIN = re.compile(r" *\| ")
"""Begins each line of an exception group."""
_FRAME = re.compile(r'  File "([^"\n]*)", line \d+')
_OF_FLYTEKIT = re.compile(r"/flytekit/|<frozen |/importlib/__init__\.py$|/asyncio/|/concurrent/futures/")


def readable(message: str, *, whole: bool = False) -> str:
    """The message with flytekit's frames counted instead of shown; with `whole`, with all frames."""
    trace = _trace(message)
    return trace if whole else folded(trace)


def summary(message: str) -> str:
    """Summarize an error in one line: type and text of a reported exception, else the message's last line."""
    report = _REPORT.match(message)
    if report is None or not report["message"]:
        return message.strip().rpartition("\n")[2]
    return report["message"].strip().partition("\n")[0]


def is_folded(message: str) -> bool:
    """Whether `readable` leaves frames out."""
    frames = (_FRAME.match(line, _margin(line)) for line in _trace(message).split("\n"))
    return any(_OF_FLYTEKIT.search(frame[1]) for frame in frames if frame)


def _trace(message: str) -> str:
    """The traceback of a report, one whose end was cut off too; of a log's last lines all."""
    report = _REPORT.match(message)
    if report is None:
        return message.strip("\n")
    of = report["of"].replace(": ", ":\n")
    return of + _INDENT.sub("", report["trace"]).strip("\n")


def _margin(line: str) -> int:
    margin = _MARGIN.match(line)
    return 0 if margin is None else margin.end()


def folded(trace: str) -> str:
    """A traceback with runs of flytekit's frames counted instead of shown."""
    kept: list[str] = []
    hidden = 0
    hiding = False
    margin = ""
    for line in trace.split("\n"):
        begin = _margin(line)
        frame = _FRAME.match(line, begin)
        if frame is not None:
            hiding = _OF_FLYTEKIT.search(frame[1]) is not None
            hidden += hiding
            if hiding:
                margin = line[:begin]
        elif not line.startswith(("    ", "  ["), begin):  # "  [Previous line repeated 9 more times]"
            hiding = False
        if hiding:
            continue
        if hidden:
            kept.append(margin + _count(hidden))
            hidden = 0
        kept.append(line)
    return "\n".join([*kept, margin + _count(hidden)] if hidden else kept)


def _count(frames: int) -> str:
    return f"  ... {frames} frame{'s' if frames > 1 else ''} of flytekit"
