"""What members do by Leases and the shard map, and what happens to them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from propeller.reconcile.shards._shard_map import ShardMap, Step, advance
from tests.model.fleet.configurations import Fleet
from tests.model.fleet.defects import (
    BLIND_BURIAL,
    BLIND_MAP,
    EARLY_RELEASE,
    EARLY_TAKE_OVER,
    HOLDER_STAYS,
    NO_FENCE,
    UNBEGUN_IS_KEPT,
)
from tests.model.fleet.states import (
    ENDING,
    IDLE,
    MAP,
    NOBODY,
    READY,
    STOPPED,
    TAKING,
    Left,
    Map,
    Message,
    Process,
    World,
)
from tests.model.search import Step as Taken


def name(number: int) -> str:
    return "PQRS"[number]


def with_process(world: World, number: int, process: Process) -> World:
    processes = world.processes
    return world._replace(processes=(*processes[:number], process, *processes[number + 1 :]))


def spent(world: World, fault: str) -> World:
    left: Left = world.left
    return world._replace(left=left._replace(**{fault: getattr(left, fault) - 1}))


@lru_cache(maxsize=100_000)
def advanced(before: Map, member: int, stopped: bool, gone: tuple[int, ...], plans: bool, leaves: bool) -> Map:
    """The map after a member's step, by the function that members call (reconcile/shards/_shard_map.py: advance)."""
    known = ShardMap(
        1,
        tuple(map(name, before.members)),
        {} if before.holder == NOBODY else {0: name(before.holder)},
        {} if before.wanted == NOBODY else {0: name(before.wanted)},
    )
    step = Step(
        member=name(member),
        stopped=frozenset({0} if stopped else ()),
        gone=frozenset(map(name, gone)),
        plans=plans,
        leaves=leaves,
    )
    after = advance(known, step)
    number = {name(one): one for one in (member, *before.members, before.holder, before.wanted) if one != NOBODY}
    return Map(
        tuple(number[one] for one in after.members),
        number[after.holders[0]] if after.holders else NOBODY,
        number[after.wanted[0]] if after.wanted else NOBODY,
    )


class Members:
    """reconcile/shards/_membership.py: _step, one of its parts at a time."""

    def __init__(self, plan: Fleet) -> None:
        self._plan = plan

    def steps(self, world: World, number: int, process: Process) -> Iterator[Taken[World]]:
        """What a member does by itself."""
        who = name(number)
        if process.up and process.halted:
            yield Taken(f"{who} goes on", with_process(world, number, process._replace(halted=False)))
        if not process.acts:
            return
        if not process.right:
            yield Taken(f"{who} notices that its Lease is lost, and ends", self.ended(world, number))
        if process.work == ENDING:
            after = self._dropped(world, number, process._replace(work=STOPPED, live=None))
            yield Taken(f"{who} has given up the shard", after)
        if any(message.kind == MAP and message.by == number for message in world.flight):
            return
        if not process.fresh:
            seen = process._replace(known=world.map, fresh=True)
            yield Taken(f"{who} sees the map", with_process(world, number, seen))
        if process.right:
            yield from self._bury(world, number, process)
            yield from self._write(world, number, process)
            yield from self._follow(world, number, process)

    def faults(self, world: World, number: int, process: Process) -> Iterator[Taken[World]]:
        """What happens to a member."""
        who, left = name(number), world.left
        if not process.up:
            return
        if left.crashes:
            yield Taken(f"{who} is killed", self.ended(spent(world, "crashes"), number), fault=True)
        if process.right and (process.halted or left.lapses):
            after = with_process(world, number, self._without_right(process))
            after = after if process.halted else spent(after, "lapses")
            yield Taken(f"{who} has not renewed its Lease for too long", after, fault=True)
        if left.halts and not process.halted:
            after = with_process(spent(world, "halts"), number, process._replace(halted=True))
            yield Taken(f"{who} is halted", after, fault=True)
        if left.leaves and process.acts and process.right and not process.leaving:
            after = with_process(spent(world, "leaves"), number, process._replace(leaving=True))
            yield Taken(f"{who} is told to end", after, fault=True)

    def write_lands(self, world: World, message: Message, *, heard: bool) -> Taken[World]:
        """reconcile/shards/_map_store.py: write: the map is written, and the answer comes if it is `heard`."""
        who = name(message.by)
        if message.fresh or BLIND_MAP in self._plan.planted:
            processes = tuple(one._replace(fresh=False) for one in world.processes)
            flight = tuple(one._replace(fresh=one.kind != MAP) for one in world.flight)
            world = world._replace(map=message.map, processes=processes, flight=flight)
            label = f"{who} writes the map: {self._told(message.map)}"
        else:
            label = f"{who} learns that the map was written by another"
        process = world.processes[message.by]
        if not heard:
            return Taken(f"{label}, and {who} gets no answer", world, fault=True)
        if process.acts:
            process = process._replace(known=world.map, fresh=True)
            if process.leaving and process.work in (IDLE, STOPPED) and message.by not in world.map.members:
                return Taken(f"{label}, and has left", self.ended(with_process(world, message.by, process), message.by))
        return Taken(label, with_process(world, message.by, process))

    def ended(self, world: World, number: int) -> World:
        """A process is no more. One that has left deletes its Lease, which nobody looks at then."""
        process = Process(up=False, right=False, work=IDLE)
        return self._dropped(world, number, process)

    def _without_right(self, process: Process) -> Process:
        """What it knows is of no use to it any more, if the fence holds."""
        if NO_FENCE in self._plan.planted:
            return process._replace(right=False)
        return Process(halted=process.halted, right=False, work=process.work, known=process.known)

    def _dropped(self, world: World, number: int, process: Process) -> World:
        """Nothing is sent any more. What was sent has had its effect by now, or has none, unless it may be `late`. The
        map is written by its version, so a write of it may come at any time.
        """
        flight = [one for one in world.flight if one.by != number or (one.kind == MAP and process.up)]
        if self._plan.late:
            flight += [one._replace(by=NOBODY) for one in world.flight if one.by == number and one.kind != MAP]
        return with_process(world, number, process)._replace(flight=tuple(flight))

    def _bury(self, world: World, number: int, process: Process) -> Iterator[Taken[World]]:
        """reconcile/shards/_membership.py: _is_gone, of a member that is silent to one that plans.

        reconcile/shards/_members.py: silent: a member is silent once its Lease is unchanged for its duration. If the
        server has no newer version either, it has lost the right by then, as renew_deadline is shorter. If the server
        has, the delete is refused.
        """
        for other in process.known.members:
            if other == number or other in process.gone:
                continue
            before = (
                process.known.members[: process.known.members.index(number)] if number in process.known.members else ()
            )
            if any(one not in process.gone and one != other and world.processes[one].right for one in before):
                continue
            buried = world._replace(leases=(*world.leases[:other], False, *world.leases[other + 1 :]))
            gone = process._replace(gone=tuple(sorted((*process.gone, other))))
            after = with_process(buried, number, gone)
            label = f"{name(number)} finds {name(other)} silent, and deletes its Lease"
            if not world.processes[other].right or EARLY_TAKE_OVER in self._plan.planted:
                yield Taken(label, after)
            elif world.left.lags and BLIND_BURIAL in self._plan.planted:
                yield Taken(f"{label}, which was renewed", spent(after, "lags"), fault=True)

    def _write(self, world: World, number: int, process: Process) -> Iterator[Taken[World]]:
        known, planted = process.known, self._plan.planted
        if process.leaving and process.work not in (IDLE, STOPPED):
            return
        before = known.members[: known.members.index(number)] if number in known.members else known.members
        plans = all(one in process.gone for one in before)
        released = (STOPPED, ENDING) if EARLY_RELEASE in planted else (STOPPED,)
        stopped = process.work in released and known.holder == number
        gone = () if HOLDER_STAYS in planted and known.holder in process.gone else process.gone
        after = advanced(known, number, stopped, gone, plans, process.leaving)
        if after != known:
            yield self._sent(world, number, after, process.fresh)
        elif process.leaving and number not in known.members:
            yield Taken(f"{name(number)} has left", self.ended(world, number))
        if world.left.moves and plans and known.holder != NOBODY and not process.leaving and after == known:
            for other in known.members:
                if other not in (known.wanted, *process.gone):  # reconcile/shards/_assignment.py: assign, with `level`
                    moved = self._sent(spent(world, "moves"), number, known._replace(wanted=other), process.fresh)
                    yield moved._replace(fault=True)

    def _sent(self, world: World, number: int, after: Map, fresh: bool) -> Taken[World]:
        message = Message(MAP, number, map=after, fresh=fresh)
        label = f"{name(number)} sends the map: {self._told(after)}"
        return Taken(label, world._replace(flight=(*world.flight, message)))

    def _follow(self, world: World, number: int, process: Process) -> Iterator[Taken[World]]:
        """reconcile/shards/_work.py: follow"""
        known = process.known
        held, work = known.holder == number, process.work
        keep = held and known.wanted == number and not process.leaving
        if work in (TAKING, READY) and not keep:
            after, label = process._replace(work=ENDING), "begins to give up the shard"
        elif work in (IDLE, STOPPED) and keep:
            after, label = process._replace(work=TAKING), "begins to take the shard"
        elif work == STOPPED and not held:
            after, label = process._replace(work=IDLE), "forgets the shard"
        elif work == IDLE and held and not keep and UNBEGUN_IS_KEPT not in self._plan.planted:
            after, label = process._replace(work=STOPPED), "has not begun the shard, which another is to have"
        else:
            return
        yield Taken(f"{name(number)} {label}", with_process(world, number, after))

    @staticmethod
    def _told(map_: Map) -> str:
        def told(number: int) -> str:
            return "nobody" if number == NOBODY else name(number)

        members = ", ".join(map(name, map_.members))
        return f"{told(map_.holder)} has the shard, {told(map_.wanted)} is to have it; members {members or 'none'}"
