"""Exit codes, and errors as people read them.

| code | meaning |
|---|---|
| 0 | it did what was asked; the workflow succeeded |
| 1 | the workflow failed or was aborted; `tenants sync --dry-run` and `routes check` have found differences |
| 2 | the call was wrong: unknown file, workflow, input or option |
| 3 | the platform failed: cluster, storage, permissions; a rollout that was waited for was rolled back |
| 130 | interrupted with Ctrl-C, and cleaned up |
| 143 | ended by SIGTERM, and cleaned up |
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

from propeller.cli._traces import folded
from propeller.errors import Invalid, PropellerError
from propeller.redaction import redact
from propeller.text import visible

SUCCEEDED = 0
WORKFLOW_FAILED = 1
BAD_CALL = 2
PLATFORM_FAILED = 3
INTERRUPTED = 130
TERMINATED = 143


class Terminated(Exception):
    """SIGTERM has ended the command, which has cleaned up."""


def exit_code(error: PropellerError) -> int:
    return BAD_CALL if isinstance(error, Invalid) else PLATFORM_FAILED


def report_error(error: PropellerError) -> int:
    """Print the error on standard error, after the user's own traceback if it has one; return the exit code."""
    from rich.text import Text

    from propeller.cli._console import console_on

    console = console_on(sys.stderr)
    if detail := getattr(error, "detail", ""):
        frames = detail if "--full-traceback" in sys.argv else folded(detail.rstrip())
        console.print(Text(visible(redact(frames.rstrip()))))
    console.print(Text.assemble(("error:", "bold red"), f" {visible(str(error))}"))
    return exit_code(error)


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, whatever else is wrong with it."""
    own = words[: words.index("--")] if "--" in words else words
    return "--output=json" in own or any(pair == ("--output", "json") for pair in itertools.pairwise(own))


def error_document(code: str, kind: str, message: str) -> dict[str, Any]:
    """Return the JSON that `--output json` prints for an end without an execution, in the form of a failed one."""
    fields = {"code": code, "kind": kind, "message": message, "node": None, "task": None, "attempt": None}
    return {"error": fields}


def only_error(group: BaseExceptionGroup[BaseException]) -> PropellerError | None:
    """The first foreseen error of a task group; None if there is none, for then it is a defect."""
    todo: list[BaseException] = [group]
    while todo:
        error = todo.pop(0)
        if isinstance(error, PropellerError):
            return error
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
    return None
