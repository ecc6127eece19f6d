"""Effects on the cache of task outputs. Without a cache each is answered at once."""

from __future__ import annotations

from propeller.handlers.executors._services import Services
from propeller.workflow import CacheAnswered, CacheStatus, LookUp, NodeEvent, NodeView, Populate, Populated, Reserve


async def look_up(node: NodeView, effect: LookUp, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is None:
        return (CacheAnswered(effect.attempt, CacheStatus.DISABLED),)
    return (await services.cache.look_up(node, effect.attempt),)


async def populate(node: NodeView, effect: Populate, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is None:
        return (Populated(effect.attempt, CacheStatus.DISABLED),)
    return (await services.cache.populate(node, effect.attempt),)


async def reserve(node: NodeView, effect: Reserve, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is not None:
        await services.cache.reserve(node)
    return ()
