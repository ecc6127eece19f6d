"""The failures of an execution's nodes, kept for people within a bound: 100,000 items may fail, each with a traceback.

Guarantees
    What decides does not depend on them: a graph, a map task and an execution hold the failure that ended them.
    The first `WHOLE_CHARACTERS` are kept as they are, later messages are shortened, and beyond `MAX_CHARACTERS` a
    node's phase alone says that it failed: a status can always be read again, and memory does not grow.
"""

from __future__ import annotations

import msgspec

from propeller.text import bounded
from propeller.workflow._events import Failure

WHOLE_CHARACTERS = 2 * 1024 * 1024
"""Of failures that are kept whole: over a hundred of the longest, or ten thousand of a line each."""

MAX_CHARACTERS = 8 * 1024 * 1024
"""Of all failures of an execution; an eighth of what a status may unfold to."""

SHORT_CHARACTERS = 256
"""Of a later message: room for its first and its last line."""

OVERHEAD = 200
"""Characters that a failure counts for besides its texts."""


class Failures(dict[int, Failure]):
    """Failures by node; those that `record` keeps."""

    def __init__(self, found: dict[int, Failure] | None = None) -> None:
        super().__init__(found or {})
        self._characters = sum(map(_size, self.values()))

    def record(self, node: int, failure: Failure) -> None:
        """Keep a node's failure, as far as there is room."""
        if self._characters >= MAX_CHARACTERS:
            return
        if self._characters >= WHOLE_CHARACTERS and len(failure.message) > SHORT_CHARACTERS:
            failure = msgspec.structs.replace(failure, message=bounded(failure.message, SHORT_CHARACTERS))
        self._characters += _size(failure)
        self[node] = failure


def _size(failure: Failure) -> int:
    return OVERHEAD + len(failure.code) + len(failure.message) + len(failure.node)
