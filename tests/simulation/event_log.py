"""The event log of one simulated run, and the promises that were broken in it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from propeller.errors import PropellerError


class EventLog:
    """`failures` are broken promises; `verbose` prints each line as it comes."""

    def __init__(self, time: Callable[[], float], *, verbose: bool = False) -> None:
        self.time = time
        self._verbose = verbose
        self._digest = hashlib.sha256()
        self.failures: list[str] = []

    @property
    def digest(self) -> str:
        """Equal for equal logs."""
        return self._digest.hexdigest()

    def record(self, line: str) -> None:
        text = f"{self.time():10.3f}  {line}"
        self._digest.update(text.encode())
        if self._verbose:
            print(text)

    def violation(self, what: str) -> None:
        self.record(f"BROKEN: {what}")
        self.failures.append(what)


class Listener(logging.Handler):
    """Records the package's log messages; an exception that is not one of ours is a defect."""

    def __init__(self, event_log: EventLog) -> None:
        super().__init__(logging.INFO)
        self._event_log = event_log

    def emit(self, record: logging.LogRecord) -> None:
        self._event_log.record(f"    log: {record.getMessage()}")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, PropellerError):
            self._event_log.violation(f"a defect was logged: {record.getMessage()}: {error!r}")
