"""Worlds that cannot be told apart any more are one: fewer states, and every behaviour that matters."""

from __future__ import annotations

from tests.model.states import (
    ALIVE,
    FAILED,
    NOBODY,
    SENT,
    STOP,
    SUCCEEDED,
    SWEEP,
    Message,
    Object,
    Pod,
    Process,
    Status,
    World,
)


def canonical(world: World, *, late: bool, fenced: bool) -> World:
    """The world without requests that can have no effect any more, the others in a fixed order, versions from 1 on."""
    if world.flight:
        flight = [
            message for message in world.flight if message.step is not SENT or _matters(world, message, late=late)
        ]
        if len(flight) > 1:
            flight = sorted(dict.fromkeys(flight), key=_order)
        world = world._replace(flight=tuple(flight))
    if fenced and any(map(_is_behind, world.processes)):
        world = world._replace(processes=tuple(_unread(process) for process in world.processes))
    return _ranked(world)


def _is_behind(process: Process) -> bool:
    """Whether the cache has a version that will not be read: a load waits for one that is newer than our own."""
    live, workflow = process.live, process.object
    return live is not None and workflow.uid == live.uid and workflow.version < live.version


def _unread(process: Process) -> Process:
    workflow = process.object
    if not _is_behind(process):
        return process
    return process._replace(object=workflow._replace(version=0, status=Status()))


def _matters(world: World, message: Message, *, late: bool) -> bool:
    if message.kind is SWEEP or message.kind is STOP:
        pod = _pod(world, message)
        return pod.owner == message.uid and pod.phase in ALIVE | {SUCCEEDED, FAILED}
    if message.by != NOBODY:
        return True
    if message.write is not None:
        workflow = world.object
        return (workflow.uid, workflow.version) == (message.uid, message.write.version)
    return late or not _pod(world, message).exists


def _order(message: Message) -> tuple[object, ...]:
    return (*message[:7], 0 if message.write is None else message.write.version)


def _pod(world: World, message: Message) -> Pod:
    width = len(world.pods) // len(world.done)
    return world.pods[message.node * width + message.attempt]


def _ranked(world: World) -> World:
    """Versions are compared, and nothing else: the first that still counts is 1."""
    versions = _versions(world)
    if len(versions) == max(versions, default=0):
        return world
    rank = {version: number for number, version in enumerate(sorted(versions), 1)}
    return world._replace(
        object=_of_object(world.object, rank),
        processes=tuple(_of_process(process, rank) for process in world.processes),
        flight=tuple(_of_message(message, rank) for message in world.flight),
    )


def _versions(world: World) -> set[int]:
    versions = {world.object.version}
    for process in world.processes:
        versions.add(process.object.version)
        if process.live is not None:
            versions.add(process.live.version)
        if process.fence is not None:
            versions.add(process.fence[1])
    for message in world.flight:
        if message.write is not None:
            versions.add(message.write.version)
        if message.object is not None:
            versions.add(message.object.version)
    versions.discard(0)
    return versions


def _of_object(workflow: Object, rank: dict[int, int]) -> Object:
    return workflow._replace(version=rank.get(workflow.version, 0))


def _of_process(process: Process, rank: dict[int, int]) -> Process:
    live, fence = process.live, process.fence
    return process._replace(
        object=_of_object(process.object, rank),
        live=None if live is None else live._replace(version=rank[live.version]),
        fence=None if fence is None else (fence[0], rank[fence[1]]),
    )


def _of_message(message: Message, rank: dict[int, int]) -> Message:
    write = message.write
    return message._replace(
        object=None if message.object is None else _of_object(message.object, rank),
        write=None if write is None else write._replace(version=rank[write.version]),
    )
