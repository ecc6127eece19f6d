"""End the worker after a time, and say what the user's module was doing then.

Part of the worker, which imports it by its bare name: it uses nothing of propeller and nothing of flytekit, and runs on
Python 3.9. Code that keeps the interpreter's lock is not seen here: the client ends the worker a little later.
"""

# ruff: noqa: PTH123

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any


class Answer:
    """The one answer, written to `path` by whoever is first: the worker, or its time limit."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._taken = threading.Lock()

    def write(self, reply: dict[str, Any]) -> bool:
        """Write the answer if there is none yet; whether there was none."""
        if not self._taken.acquire(blocking=False):
            return False
        with open(self._path, "w") as file:
            json.dump(reply, file)
        return True


def end_in(seconds: float, answer: Answer, frames_of_user: Callable[[Any], Any]) -> None:
    """After `seconds`, answer with the place in the user's code that this thread has reached, and end the process."""
    reading = threading.get_ident()

    def end() -> None:
        frames = frames_of_user(traceback.extract_stack(sys._current_frames()[reading]))  # noqa: SLF001 - of CPython
        place = f"{frames[0].filename}, line {frames[0].lineno}: {frames[0].line}" if frames else ""
        error = {"what": "time", "message": place, "detail": "".join(traceback.format_list(frames))}
        if answer.write({"error": error}):
            os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
