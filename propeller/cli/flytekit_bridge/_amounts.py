"""Amounts of resources as their author wrote them: `Resources(cpu=1, gpu=1)`.

flytekit takes numbers, and its local runs go well; the message has texts, so that a task with a number could not be
serialized.

Run by path in the user's interpreter, by the worker and on a laptop. It imports nothing of propeller.
"""

from __future__ import annotations

import importlib
from typing import Any


def install() -> None:
    """Change what flytekit writes in this process; twice is as once."""

    def value(self: Any) -> str:
        return str(self._value)

    importlib.import_module("flytekit.models.task").Resources.ResourceEntry.value = property(value)


if not __package__:
    install()
