"""Effects on the cache of task outputs. Without a cache each is answered at once.

A defect of the cache is logged, and is no failure of the task either.
"""

from __future__ import annotations

import logging

from propeller.handlers.executors._services import Services
from propeller.workflow import CacheAnswered, CacheStatus, LookUp, NodeEvent, NodeView, Populate, Populated, Reserve

_log = logging.getLogger(__name__)


async def look_up(node: NodeView, effect: LookUp, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is None:
        return (CacheAnswered(effect.attempt, CacheStatus.DISABLED),)
    try:
        return (await services.cache.look_up(node, effect.attempt),)
    except Exception:  # noqa: BLE001 - a defect of the cache
        _log.exception("%s: its cached outputs could not be looked for", node.log_name)
        return (CacheAnswered(effect.attempt, CacheStatus.LOOKUP_FAILURE),)


async def populate(node: NodeView, effect: Populate, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is None:
        return (Populated(effect.attempt, CacheStatus.DISABLED),)
    try:
        return (await services.cache.populate(node, effect.attempt),)
    except Exception:  # noqa: BLE001 - a defect of the cache
        _log.exception("%s: its outputs could not be cached", node.log_name)
        return (Populated(effect.attempt, CacheStatus.PUT_FAILURE),)


async def reserve(node: NodeView, effect: Reserve, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is not None:
        try:
            await services.cache.reserve(node)
        except Exception:  # noqa: BLE001 - a defect of the cache
            _log.exception("%s: its reservation could not be kept", node.log_name)
    return ()
