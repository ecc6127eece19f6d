"""Map tasks as their author wrote them: `map_task(min_successes=N)`.

flytekit writes its default `min_success_ratio=1.0` as well. Both are one field of the message, the ratio is set last,
and the number is lost: all items would have to succeed. The number takes precedence, as flytekit documents it and as
its local runs do.

Run by path in the user's interpreter, by the worker and on a laptop. It imports nothing of propeller.
"""

from __future__ import annotations

import importlib
from typing import Any


def install() -> None:
    """Change what flytekit writes in this process; twice is as once."""
    node = importlib.import_module("flytekit.models.core.workflow").ArrayNode
    write = node.to_flyte_idl

    def to_flyte_idl(self: Any) -> Any:
        if getattr(self, "_min_successes", None):
            self._min_success_ratio = None
        return write(self)

    if write.__module__ != __name__:
        node.to_flyte_idl = to_flyte_idl


if not __package__:
    install()
