"""Worlds of jobs in which the object store goes away while they run, for a while."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.simulation.reached import STORE_DOWN
from tests.simulation.remote import World


class StoreDownWorld(World):
    """See the module's text."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.outages = random.Random(f"outages {self.seed}")

    async def mischief(self, names: list[str]) -> None:
        if self.outages.random() < 0.5:
            await super().mischief(names)
            return
        self.befalls(STORE_DOWN)
        down = [store for *_, store in self.processes]
        for store in down:
            store.partitioned = True
        await asyncio.sleep(self.outages.choice((1.0, 30.0, 300.0)) * self.outages.random())
        for store in down:
            store.partitioned = False
