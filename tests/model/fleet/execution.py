"""What a process does for the execution: load, place, launch, look, give up, stop, and write statuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from tests.model.fleet.configurations import Fleet
from tests.model.fleet.defects import (
    HASTY_RELOAD,
    LAUNCH_BEFORE_STATUS,
    LOSER_COUNTS,
    LOSERS_STAY,
    NO_FENCE,
    RESTORE_IGNORED,
    SAME_NUMBER,
    SPILLS_ANYWHERE,
    UNSEEN_IS_NEW,
)
from tests.model.fleet.invariants import ONE_ACTOR
from tests.model.fleet.membership import name, with_process
from tests.model.fleet.states import (
    ABSENT,
    DONE,
    ENDING,
    FORKED,
    GONE,
    LAUNCH,
    LAUNCHED,
    LOST,
    MAP,
    NEVER,
    NEW,
    NOBODY,
    NOWHERE,
    READY,
    RUNNING,
    SENDING,
    SICK,
    STOP,
    TAKING,
    WELL,
    WRITE,
    Live,
    Message,
    Process,
    Status,
    World,
)
from tests.model.search import Broken, Step

T = TypeVar("T")


def listed(pods: tuple[str, ...]) -> tuple[str, ...]:
    """What a list of a cluster shows of its pods."""
    return tuple(ABSENT if phase == GONE else phase for phase in pods)


class Execution:
    """controller/_controller.py: _reconcile, one of its parts at a time, and the caches that it reads."""

    def __init__(self, plan: Fleet) -> None:
        self._plan = plan

    def listing(self, world: World, process: Process) -> Process:
        """A process that begins: fresh lists of all clusters that answer (controller/_remote_shards.py: take)."""
        return process._replace(
            work=READY,
            clusters=tuple(SICK if down else WELL for down in world.down),
            seen=tuple(not down for down in world.down),
            pods=tuple(
                (ABSENT,) * self._plan.attempts if down else listed(pods)
                for down, pods in zip(world.down, world.pods, strict=True)
            ),
            object=world.object,
            live=None,
        )

    def steps(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        """What it does by itself. Without the right nothing that it does is seen by others, if the fence holds."""
        if not process.acts or not (process.right or NO_FENCE in self._plan.planted):
            return
        if process.work == TAKING:
            begun = with_process(world, number, self.listing(world, process))
            if not self._plan.late:
                begun = begun._replace(flight=tuple(one for one in world.flight if one.kind == MAP))
            yield Step(f"{name(number)} has taken the shard", begun)
        if process.work == ENDING:
            yield from self._write(world, number, process)  # controller/_shards.py: _write_progress
        if process.work != READY:
            return
        yield from self._watch(world, number, process)
        live = process.live
        if live is None:
            yield from self._load(world, number, process)
            yield from self._sweep(world, number, process)
            return
        yield from self._write(world, number, process)
        yield from self._stop_losers(world, number, process, live)
        if live.now.ended == NEVER:
            yield from self._place(world, number, process, live)
            yield from self._launch(world, number, process, live)
            yield from self._give_up(world, number, process, live)
        elif live.mark.ended != NEVER and not live.writing and process.object.version >= live.version:
            done = process._replace(live=None, begun=NEVER)
            yield Step(f"{name(number)} forgets the execution, which has ended", with_process(world, number, done))

    # caches

    def _watch(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        who, live = name(number), process.live
        if process.object != world.object:
            seen, label = process._replace(object=world.object), f"{who} sees the object"
            if live is not None and not live.writing and world.object.version > live.version:
                seen, label = dropped(seen), f"{label}, written by another, and drops the execution"
            yield Step(label, with_process(world, number, seen))
        for at, (health, down) in enumerate(zip(process.clusters, world.down, strict=True)):
            if down and health == WELL:
                after = process._replace(clusters=_with(process.clusters, at, SICK))
                yield Step(f"{who} finds cluster {at} unhealthy", with_process(world, number, after))
            elif down and health == SICK:
                after = process._replace(clusters=_with(process.clusters, at, LOST))
                yield Step(f"the grace of cluster {at} is over for {who}", with_process(world, number, after))
            elif down:
                continue
            elif health == FORKED and RESTORE_IGNORED not in self._plan.planted:  # controller/_resync.py: _restored
                yield Step(
                    f"{who} notices that cluster {at} was restored", self._connected(world, number, process, at, True)
                )
            elif health in (SICK, LOST):
                lost = any(
                    before in (RUNNING, DONE) and now not in (RUNNING, DONE)
                    for before, now in zip(process.pods[at], world.pods[at], strict=True)
                )
                again = lost or not process.seen[at] or health == LOST
                yield Step(f"cluster {at} is back for {who}", self._connected(world, number, process, at, again))
            elif health == WELL and process.pods[at] != listed(world.pods[at]):
                yield Step(f"{who} sees cluster {at}", self._connected(world, number, process, at, False))

    def _connected(self, world: World, number: int, process: Process, at: int, again: bool) -> World:
        """controller/_resync.py: reload: the caches of a cluster are those of now; executions are loaded `again`."""
        process = process._replace(
            clusters=_with(process.clusters, at, WELL),
            seen=_with(process.seen, at, True),
            pods=_with(process.pods, at, listed(world.pods[at])),
        )
        live = process.live
        if live is not None and again and at in (live.now.home, *live.now.where) and live.now.ended == NEVER:
            flight = tuple(
                one._replace(by=NOBODY) if one.by == number and one.kind == LAUNCH else one for one in world.flight
            )
            return with_process(world, number, dropped(process))._replace(flight=flight)
        return with_process(world, number, self.observed(process))

    def observed(self, process: Process) -> Process:
        """What pods show of the attempt that counts (handlers/executors/_attempts.py: found_resource)."""
        live = process.live
        if live is None or live.now.ended != NEVER:
            return process
        candidates = range(self._plan.attempts) if LOSER_COUNTS in self._plan.planted else (live.now.attempt,)
        for attempt in candidates:
            at = NOWHERE if attempt == NEVER else live.now.where[attempt]
            if at != NOWHERE and process.pods[at][attempt] == DONE:
                return process._replace(live=live._replace(now=live.now._replace(ended=attempt), state=LAUNCHED))
        return process

    # loading, placing, launching

    def _load(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        """controller/_intake.py: _loaded, with controller/_placing.py: loaded."""
        status, version = process.object.status, process.object.version
        if status.ended != NEVER or version < process.fence:
            return
        if HASTY_RELOAD not in self._plan.planted and any(
            one.kind == WRITE and one.by == number for one in world.flight
        ):
            return
        most = self._plan.attempts - 1
        found = {
            attempt: at
            for at, pods in enumerate(process.pods)
            for attempt, phase in enumerate(pods)
            if phase in (RUNNING, DONE)
        }
        now = status
        if status.home != NOWHERE and not process.seen[status.home] and UNSEEN_IS_NEW not in self._plan.planted:
            now = now._replace(first=min(now.first + 1, most + 1))  # workflow/_placements.py: give_up
        highest = max((*found, process.begun, status.attempt))
        attempt = now.first if highest == NEVER else highest  # handlers/transitions/_task.py: _start
        if attempt > most:
            return
        where = now.where
        if attempt == status.attempt and where[attempt] == NOWHERE:  # workflow/_placements.py: known
            where = _with(where, attempt, now.home)
        for one, at in found.items():
            where = _with(where, one, at)
        live = Live(version, status, now._replace(attempt=attempt, where=where))
        if attempt in found:
            live = live._replace(state=LAUNCHED)
        loaded = self.observed(process._replace(live=live, begun=NEVER))
        yield Step(f"{name(number)} loads the execution, at attempt {attempt}", with_process(world, number, loaded))

    def _place(self, world: World, number: int, process: Process, live: Live) -> Iterator[Step[World]]:
        """controller/_placing.py: place"""
        now = live.now
        if live.state != NEW or now.where[now.attempt] != NOWHERE:
            return
        able = [at for at in self._plan.allowed if process.clusters[at] in (WELL, FORKED)]
        if not able and SPILLS_ANYWHERE in self._plan.planted:
            able = [at for at, health in enumerate(process.clusters) if health in (WELL, FORKED)]
        for at in [now.home] if now.home in able else able:
            placed = live._replace(now=now._replace(home=at, where=_with(now.where, now.attempt, at)))
            after = with_process(world, number, process._replace(live=placed))
            yield Step(f"{name(number)} places attempt {now.attempt} in cluster {at}", after)

    def _is_unwritten(self, live: Live) -> bool:
        """Whether a launch waits for a status that has its placement (workflow/_placements.py: unwritten)."""
        now, mark = live.now, live.mark
        if LAUNCH_BEFORE_STATUS in self._plan.planted:
            return False
        if (now.home, now.first) != (mark.home, mark.first):
            return True
        needed = now.attempt > 0 or now.where[0] != now.home
        return needed and mark.where[now.attempt] != now.where[now.attempt]

    def _launch(self, world: World, number: int, process: Process, live: Live) -> Iterator[Step[World]]:
        """handlers/executors/_launches.py: launch"""
        now = live.now
        at = now.where[now.attempt]
        if live.state != NEW or at == NOWHERE or process.clusters[at] not in (WELL, FORKED):
            return
        if live.writing or self._is_unwritten(live) or self._is_running_before(process, live):
            return
        sending = process._replace(live=live._replace(state=SENDING))
        message = Message(LAUNCH, number, at, now.attempt)
        label = f"{name(number)} sends the create of attempt {now.attempt} to cluster {at}"
        yield from self._send(world, number, sending, message, label)

    @staticmethod
    def _is_running_before(process: Process, live: Live) -> bool:
        """Whether an earlier attempt runs, which was not lost: the next one waits for its end."""
        return any(
            at != NOWHERE and process.clusters[at] in (WELL, FORKED) and process.pods[at][attempt] == RUNNING
            for attempt, at in enumerate(live.now.where[: live.now.attempt])
        )

    # giving up

    def _give_up(self, world: World, number: int, process: Process, live: Live) -> Iterator[Step[World]]:
        now = live.now
        at = now.where[now.attempt]
        if at == NOWHERE or now.attempt + 1 >= self._plan.attempts:
            return
        if process.clusters[at] == LOST:  # controller/_failover.py: give_up
            following = now._replace(attempt=now.attempt + 1)
            if SAME_NUMBER in self._plan.planted:
                following = now._replace(where=_with(now.where, now.attempt, NOWHERE))
            label = f"{name(number)} gives up attempt {now.attempt}, whose cluster is lost"
        elif self._plan.overdue and live.state == LAUNCHED and process.pods[at][now.attempt] == RUNNING:
            following = now._replace(attempt=now.attempt + 1)
            label = f"attempt {now.attempt} is out of time for {name(number)}"
        else:
            return
        after = with_process(world, number, process._replace(live=live._replace(now=following, state=NEW)))
        yield Step(label, after)

    def _stop_losers(self, world: World, number: int, process: Process, live: Live) -> Iterator[Step[World]]:
        """handlers/executors/_attempts.py: stop, once a status says that the attempt was given up."""
        for attempt in range(max(live.mark.attempt, 0)):
            if LOSERS_STAY not in self._plan.planted:
                yield from self._stop(world, number, process, attempt)

    def _sweep(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        """Stop what runs after the end (controller/_retention.py: Retention)."""
        if process.object.status.ended != NEVER and LOSERS_STAY not in self._plan.planted:
            for attempt in range(self._plan.attempts):
                yield from self._stop(world, number, process, attempt)

    def _stop(self, world: World, number: int, process: Process, attempt: int) -> Iterator[Step[World]]:
        for at, pods in enumerate(process.pods):
            message = Message(STOP, number, at, attempt)
            if pods[attempt] == RUNNING and process.clusters[at] in (WELL, FORKED) and message not in world.flight:
                label = f"{name(number)} sends the stop of attempt {attempt} to cluster {at}"
                yield from self._send(world, number, process, message, label)

    # statuses

    def _write(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        """controller/_checkpointer.py: write"""
        live = process.live
        if live is None or live.writing or live.now == live.mark:
            return
        writing = process._replace(live=live._replace(writing=True))
        message = Message(WRITE, number, version=live.version, status=live.now)
        yield from self._send(world, number, writing, message, f"{name(number)} sends the status {told(live.now)}")

    def _send(self, world: World, number: int, process: Process, message: Message, label: str) -> Iterator[Step[World]]:
        """reconcile/shards/_fence.py: send"""
        broken = None
        if self._plan.shards and world.map.holder != number:
            broken = Broken(ONE_ACTOR, f"{label}, and the shard is not its own")
        after = with_process(world, number, process)
        if message not in world.flight:
            after = after._replace(flight=tuple(sorted((*world.flight, message))))
        yield Step(label, after, broken=broken)


def told(status: Status) -> str:
    where = ", ".join(f"{attempt} in {at}" for attempt, at in enumerate(status.where) if at != NOWHERE)
    end = "" if status.ended == NEVER else f", {status.ended} has succeeded"
    return f"(home {status.home}, attempts {where or 'none'}, first {status.first}{end})"


def dropped(process: Process) -> Process:
    """An execution is dropped, to be loaded again: its attempts that were begun are remembered, and what was written
    last is waited for (controller/_executions.py: reload).
    """
    live = process.live
    assert live is not None
    begun = live.now.attempt if live.state in (SENDING, LAUNCHED) else NEVER
    return process._replace(live=None, begun=begun, fence=max(process.fence, live.version))


def _with(row: tuple[T, ...], at: int, value: T) -> tuple[T, ...]:
    return (*row[:at], value, *row[at + 1 :])
