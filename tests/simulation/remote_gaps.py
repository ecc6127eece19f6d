"""Worlds of jobs whose controllers lose their watches while jobs run, or cannot reach the API server.

What a service says meanwhile is in no status until the way is back, and what users do is not heard of.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.simulation.reached import WATCHES_CUT
from tests.simulation.remote import World


class GapWorld(World):
    """See the module's text."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.gaps = random.Random(f"gaps {self.seed}")

    async def mischief(self, names: list[str]) -> None:
        if self.gaps.random() < 0.5:
            await super().mischief(names)
            return
        self.befalls(WATCHES_CUT)
        match self.gaps.choice(("cut", "compact", "partition", "partition")):
            case "cut":
                self.server.drop_watches()
            case "compact":
                self.server.compact()
                self.server.drop_watches()
            case "partition":
                link = self.processes[-1][2]
                link.partitioned = True
                if self.gaps.random() < 0.5:
                    await asyncio.sleep(self.gaps.choice((1.0, 30.0)) * self.gaps.random())
                    await super().mischief(names)
                await asyncio.sleep(self.gaps.choice((1.0, 30.0, 200.0)) * self.gaps.random())
                link.partitioned = False
