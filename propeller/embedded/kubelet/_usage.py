"""Resource usage of pods: CPU from the kernel's accounting at the end of each process, memory from accounting and
polling.
"""

from __future__ import annotations

import msgspec

from propeller.embedded.kubelet._processes import Exit


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one container, over all its runs. `memory` is the last poll's, `max_memory` the maximum; both in
    bytes.
    """

    cpu_seconds: float = 0.0
    memory: int = 0
    max_memory: int = 0


class Meter:
    """Collects the usage of one pod's containers."""

    def __init__(self) -> None:
        self.usage: dict[str, Usage] = {}

    def saw(self, container: str, memory: int) -> None:
        """The container's processes hold `memory` bytes now."""
        known = self.usage.get(container, Usage())
        self.usage[container] = msgspec.structs.replace(known, memory=memory, max_memory=max(known.max_memory, memory))

    def ended(self, container: str, end: Exit) -> None:
        """A process of the container ended; its CPU time includes that of the children it waited for."""
        known = self.usage.get(container, Usage())
        self.usage[container] = Usage(
            cpu_seconds=known.cpu_seconds + end.cpu_seconds, memory=0, max_memory=max(known.max_memory, end.max_rss)
        )
