"""What happens in a world, told line by line, and what broke in it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from propeller.errors import PropellerError


class Story:
    """`failures` are broken promises; `told` prints each line as it comes."""

    def __init__(self, time: Callable[[], float], *, told: bool = False) -> None:
        self.time = time
        self._told = told
        self._digest = hashlib.sha256()
        self.failures: list[str] = []

    @property
    def digest(self) -> str:
        """Equal for equal stories."""
        return self._digest.hexdigest()

    def tell(self, line: str) -> None:
        text = f"{self.time():10.3f}  {line}"
        self._digest.update(text.encode())
        if self._told:
            print(text)

    def broken(self, what: str) -> None:
        self.tell(f"BROKEN: {what}")
        self.failures.append(what)


class Listener(logging.Handler):
    """Takes what the package logs into the story; an exception that is none of ours is a defect."""

    def __init__(self, story: Story) -> None:
        super().__init__(logging.INFO)
        self._story = story

    def emit(self, record: logging.LogRecord) -> None:
        self._story.tell(f"    log: {record.getMessage()}")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, PropellerError):
            self._story.broken(f"a defect was logged: {record.getMessage()}: {error!r}")
