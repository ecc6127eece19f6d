"""Tune Python's garbage collector for a process with many long-lived objects."""

from __future__ import annotations

import gc

YOUNG = 20_000
"""Containers created, and not freed, between collections of the youngest generation. Python's 700 suit a script; a busy
controller would collect a thousand times a second and find almost nothing, because reference counting frees what it
drops.
"""

OLDER = 20
"""Collections of a generation before the next older one is collected, too."""


def freeze_gc() -> None:
    """Exclude everything that has been imported from collections, and collect more rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
