"""Effects on the cache of task outputs. Without a cache each is answered at once.

A defect of the cache is logged, and is no failure of the task either.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from propeller.handlers.executors._services import Services
from propeller.workflow import CacheAnswered, CacheStatus, LookUp, NodeEvent, NodeView, Populate, Populated, Reserve

_log = logging.getLogger(__name__)

T = TypeVar("T")


async def look_up(node: NodeView, effect: LookUp, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is None:
        return (CacheAnswered(effect.attempt, CacheStatus.DISABLED),)
    found = services.cache.look_up(node, effect.attempt)
    failed = CacheAnswered(effect.attempt, CacheStatus.LOOKUP_FAILURE)
    return (await _unless_defective(node, found, failed, "its cached outputs could not be looked for"),)


async def populate(node: NodeView, effect: Populate, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is None:
        return (Populated(effect.attempt, CacheStatus.DISABLED),)
    put = services.cache.populate(node, effect.attempt)
    failed = Populated(effect.attempt, CacheStatus.PUT_FAILURE)
    return (await _unless_defective(node, put, failed, "its outputs could not be cached"),)


async def reserve(node: NodeView, effect: Reserve, services: Services) -> tuple[NodeEvent, ...]:
    if services.cache is not None:
        await _unless_defective(node, services.cache.reserve(node), None, "its reservation could not be kept")
    return ()


async def _unless_defective(node: NodeView, asked: Awaitable[T], failed: T, problem: str) -> T:
    try:
        return await asked
    except Exception:  # noqa: BLE001 - a defect of the cache
        _log.exception("%s: %s", node.log_name, problem)
        return failed
