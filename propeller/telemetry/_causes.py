"""Failures that repeat, logged once per cause instead of once per try."""

from __future__ import annotations

import logging
from collections import Counter
from types import TracebackType

from propeller.errors import PropellerError, Retryable

_MAX_CAUSES = 1_000  # far more than one program has lines that raise; bounds what a strange input can make us remember


class Causes:
    """Logs a failure at its 1st, 10th, 100th, ... occurrence. A cause is an exception's type and the line that raised
    it.

    Retryable ones are warnings, the others errors. An unexpected exception, which is not one of propeller's, is logged
    with its traceback the first time; a missing permission is not, as a traceback does not help.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._seen: Counter[tuple[type[BaseException], str, int]] = Counter()

    def report(self, error: BaseException, message: str, *args: object) -> int:
        """Count `error`, and log `message % args` with it if it is due; return how often its cause was seen."""
        cause = (type(error), *_origin(error.__traceback__))
        if cause not in self._seen and len(self._seen) >= _MAX_CAUSES:
            self._seen.clear()
        self._seen[cause] += 1
        times = self._seen[cause]
        if _is_power_of_ten(times):
            foreseen = isinstance(error, PropellerError)
            self._log.log(
                logging.WARNING if isinstance(error, Retryable) else logging.ERROR,
                message + ": %s: %s%s",
                *args,
                type(error).__name__,
                error,
                "" if times == 1 else f" (time {times} from this cause)",
                exc_info=error if times == 1 and not foreseen else None,
            )
        return times


def _origin(traceback: TracebackType | None) -> tuple[str, int]:
    """File and line that raised."""
    if traceback is None:
        return "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno


def _is_power_of_ten(number: int) -> bool:
    while number % 10 == 0:
        number //= 10
    return number == 1
