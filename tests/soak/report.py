"""What a soak has seen and done, and what broke in it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from propeller.errors import PropellerError
from tests.soak.plan import Kind

_MAX_FAILURES = 12  # kept: one cause breaks many promises


@dataclass
class Report:
    """What a soak has done, and in `failures` which promises broke: none where all is well."""

    seed: int
    rounds: int = 0
    seconds: float = 0.0
    faults: Counter[Kind] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    told: int = 0
    lists: int = 0
    watches: int = 0
    fences: int = 0
    """Own writes that were waited for, and came."""

    errors: int = 0
    """Lists and watches that failed, by the informers' own count."""

    slowest: float = 0.0
    """Seconds that stores took to settle, at most."""

    failures: list[str] = field(default_factory=list)

    def broken(self, what: str) -> None:
        """A promise did not hold."""
        if len(self.failures) < _MAX_FAILURES:
            self.failures.append(f"in round {self.rounds}: {what}")

    def lines(self) -> list[str]:
        """The closing report."""
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        writes = ", ".join(f"{verb} {count}" for verb, count in self.writes.most_common())
        informers = (
            f"{self.told} changes told, {self.fences} fences reached, "
            f"{self.lists} lists and {self.watches} watches begun, {self.errors} failed"
        )
        return [
            f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.0f} s",
            f"faults: {faults}",
            f"writes: {writes}",
            f"informers: {informers}; settled within {self.slowest:.1f} s",
            *(f"BROKEN {failure}" for failure in self.failures),
            f"{len(self.failures)} promises broken" if self.failures else "every promise held",
        ]


class _Listener(logging.Handler):
    """An exception that is none of ours is a defect, though somebody caught and logged it."""

    def __init__(self, broken: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._broken = broken

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        is_lost = record.name == "asyncio" and record.levelno >= logging.ERROR  # nobody caught it
        if is_lost or (error is not None and not isinstance(error, PropellerError)):
            self._broken(f"a defect was logged: {record.getMessage()}: {error!r}")


@contextmanager
def listening(broken: Callable[[str], None]) -> Iterator[None]:
    """Listen to what the package and the loop log, until the block is left."""
    listener = _Listener(broken)
    loggers = [logging.getLogger(name) for name in ("propeller", "asyncio")]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
