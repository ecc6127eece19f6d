"""How a task node uses the cache: it asks before its first attempt, waits for a node that computes the same, and has
its outputs cached before it ends. Whatever the cache answers, the node goes on.
"""

from __future__ import annotations

import msgspec

from propeller.workflow import (
    BackingOff,
    CacheReserved,
    CacheStatus,
    Continue,
    Launch,
    Launching,
    NodeView,
    Populate,
    Refusals,
    Reserve,
    RunningSubgraph,
    StartAttempt,
    Stay,
    Succeed,
    caching_of,
)


def is_overwritten(node: NodeView) -> bool:
    """Whether the execution was created to compute everything again (`--overwrite-cache`)."""
    return bool(node.execution.info.spec.execution_config.overwrite_cache)


def with_cache(node: NodeView, begun: StartAttempt) -> StartAttempt:
    """Record that the cache is not asked, if the execution overwrites it."""
    if is_overwritten(node) and caching_of(node):
        return msgspec.structs.replace(begun, cache=CacheStatus.SKIPPED)
    return begun


def asks_first(node: NodeView) -> bool:
    """Whether a node that begins asks the cache before it launches anything."""
    return bool(caching_of(node)) and not is_overwritten(node)


def answered(node: NodeView, state: Launching, status: CacheStatus) -> Succeed | Continue:
    """End the node with the cached outputs, or launch its attempt. Its status is news once the attempt runs."""
    if status is CacheStatus.HIT:
        return Succeed(cache=status)
    launching = Launching(state.attempt, state.since)
    return Continue(launching, effects=(Launch(node.number, state.attempt),), checkpoint=False, cache=status)


def reserved_elsewhere(state: Launching, event: CacheReserved, now: float) -> Continue:
    """Wait for the node that computes the same. A status says so once."""
    is_news = state.refusals.reason != event.reason
    refusals = Refusals(0, now, 0.0, event.reason) if is_news else state.refusals
    until = now + event.after
    waiting = BackingOff(state.attempt, until, state.since, event.reason, refusals, lookup=True)
    return Continue(waiting, wakes=(until,), checkpoint=is_news)


def subgraph_ended(node: NodeView, state: RunningSubgraph) -> Stay | Succeed:
    """End a dynamic task whose graph has ended well, after its outputs are cached."""
    return Stay(effects=(Populate(node.number, state.attempt),)) if caching_of(node) else Succeed()


def has_ended_inside(node: NodeView, state: RunningSubgraph) -> bool:
    """Whether the graph of a dynamic task has ended well: only its outputs are still to be cached."""
    frame = node.execution.frames[state.frame] if 0 <= state.frame < len(node.execution.frames) else None
    return frame is not None and frame.ended and frame.failure is None and bool(caching_of(node))


def kept_reservation(node: NodeView, attempt: int, *, lookup: bool = False) -> tuple[Reserve, ...]:
    """After a load, keep the reservation of a node that holds one, unless it asks the cache anyway (`lookup`)."""
    if lookup or not caching_of(node).serialize or is_overwritten(node):
        return ()
    return (Reserve(node.number, attempt),)


def with_reservation(node: NodeView, begun: StartAttempt, *, lookup: bool = False) -> StartAttempt:
    """Keep the reservation of a node whose attempt had begun before a load, unless it asks the cache anyway."""
    kept = kept_reservation(node, begun.attempt, lookup=lookup)
    return msgspec.structs.replace(begun, effects=(*begun.effects, *kept)) if kept else begun
