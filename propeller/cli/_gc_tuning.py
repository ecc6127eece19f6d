"""Python's garbage collector, as a process with many objects that live long wants it."""

from __future__ import annotations

import gc

YOUNG = 20_000
"""Containers that are made, and not freed, until the youngest generation is looked through. Python's 700 suit a script:
a busy controller would do it a thousand times a second, and find next to nothing, for what it drops is freed by count.
"""

OLDER = 20
"""Collections of a generation until the next older one is collected, too."""


def freeze_gc() -> None:
    """Leave what has been imported alone from here on, and collect more rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
