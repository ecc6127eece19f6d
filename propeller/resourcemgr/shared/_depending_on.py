"""Work without which a block cannot go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def depending_on(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run it until the block is left. If it fails, the block is cancelled, and its error comes out in a group;
    `propeller.beside` lets the block go on without it.
    """
    of_block: Exception | None = None
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the block's own, which is not to come out within a group
            of_block = error
        finally:
            task.cancel()
    if of_block is not None:
        raise of_block
