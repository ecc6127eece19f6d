"""Shards and placements (docs/scale.md, docs/clusters.md), as states and what can happen in each.

Every action names the function that it models, and a test holds that it exists. membership.py has what members do by
their Leases and the map, execution.py what a process does for the execution; here are API servers, pods and faults. The
map after a step is computed by the function that members call.

Assumptions
    Time is left out, as in protocol.py. A member loses the right to act before its Lease can seem silent to others in
    the version that the server has: renew_deadline is shorter than duration, both from the same renewal.
    A process that was killed, or has given up a shard, sent what it sent before: it has its effect before the next
    one has listed, or never. So it is with one that was halted and whose shard is taken. A create that was given up
    without an answer has its effect before the pod that it names is deleted. `late` takes these away.
    The cluster of the FlyteWorkflows answers. Other clusters are away as a whole, for all processes.
    A name that a cluster has forgotten, as it was restored, is free. What others write of the object is in protocol.py.
    Left out: rollouts and shards of clusters, pods that fail, several nodes, the balance between members.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.fleet.configurations import Fleet
from tests.model.fleet.defects import ANY_VERSION, HASTY_RELOAD
from tests.model.fleet.execution import Execution, listed, told
from tests.model.fleet.invariants import (
    ISOLATED,
    LOSERS_LOSE,
    ONE_CLUSTER,
    QUIET,
    RUNS_ONCE,
    STATUS_KEPT,
    WRITTEN_FIRST,
)
from tests.model.fleet.membership import Members, name, spent, with_process
from tests.model.fleet.states import (
    ABSENT,
    DONE,
    FORKED,
    GONE,
    IDLE,
    LAUNCH,
    LAUNCHED,
    MAP,
    NEVER,
    NEW,
    NOBODY,
    NOWHERE,
    READY,
    RUNNING,
    SENDING,
    STOP,
    WELL,
    WRITE,
    Map,
    Message,
    Object,
    Process,
    Status,
    World,
)
from tests.model.search import Broken, Step


class Model:
    """A model for `search`."""

    def __init__(self, plan: Fleet) -> None:
        self.plan = plan
        self._members = Members(plan)
        self._execution = Execution(plan)

    def initial(self) -> World:
        plan = self.plan
        pods = ((ABSENT,) * plan.attempts,) * plan.clusters
        known = Map(tuple(range(plan.joined)), 0, 0) if plan.shards else Map()
        world = World(
            known,
            (True,) * plan.members,
            (),
            Object(1, Status(plan.home, where=(NOWHERE,) * plan.attempts)),
            pods,
            (False,) * plan.clusters,
            None,
            (),
            plan.faults,
            (frozenset(),) * plan.attempts,
        )
        first = self._execution.listing(world, Process(known=known))
        others = Process(known=known, work=IDLE)
        return world._replace(processes=(first, *[others] * (plan.members - 1)))

    def steps(self, world: World) -> Iterator[Step[World]]:
        for step in self._steps(world):
            if self.plan.instant:
                while at := next((at for at, one in enumerate(step.state.flight, 1) if one.kind != MAP), 0):
                    landed = self._land(step.state, at - 1)
                    label, broken = f"{step.label}; {landed.label}", step.broken or landed.broken
                    step = step._replace(label=label, state=landed.state, broken=broken)
            yield step._replace(state=_ranked(step.state))

    def ended(self, world: World) -> bool:
        if world.object.status.ended == NEVER or any(one.live is not None for one in world.processes):
            return False
        if any(RUNNING in pods for pods, down in zip(world.pods, world.down, strict=True) if not down):
            return False
        if not self.plan.shards:
            return True
        holder = world.processes[world.map.holder]
        return world.map.holder != NOBODY and holder.acts and holder.right and holder.work == READY

    def quiet(self, world: World) -> Broken | None:
        if self.ended(world):
            return None
        what = f"status {told(world.object.status)}, pods {world.pods}, map {world.map}"
        return Broken(QUIET, f"nothing more will happen: {what}")

    def _steps(self, world: World) -> Iterator[Step[World]]:
        for number, process in enumerate(world.processes):
            if self.plan.shards:
                yield from self._members.steps(world, number, process)
                yield from self._members.faults(world, number, process)
            elif world.left.crashes:
                begins = self._execution.listing(world, Process())
                after = with_process(spent(world, "crashes"), number, begins)._replace(flight=())
                yield Step(f"{name(number)} crashes and starts", after, fault=True)
            yield from self._execution.steps(world, number, process)
        for at in range(len(world.flight)):
            yield from self._requests(world, at)
        yield from self._clusters(world)

    # requests

    def _requests(self, world: World, at: int) -> Iterator[Step[World]]:
        message = world.flight[at]
        if (
            message.kind == STOP
            and not self.plan.late
            and any(one.kind == LAUNCH and one[2:4] == message[2:4] for one in world.flight)
        ):
            return
        if message.kind in (MAP, WRITE) or not world.down[message.cluster]:
            yield self._land(world, at)
            if world.left.losses and message.by != NOBODY:
                yield self._land(spent(world, "losses"), at, heard=False)
        elif message.by != NOBODY:
            yield self._land(world, at)

    def _land(self, world: World, at: int, *, heard: bool = True) -> Step[World]:
        """A request has its effect, and its answer if that is `heard` and somebody waits for it."""
        message = world.flight[at]
        rest = world._replace(flight=world.flight[:at] + world.flight[at + 1 :])
        if message.kind == MAP:
            return self._members.write_lands(rest, message, heard=heard)
        if message.kind != WRITE and world.down[message.cluster]:
            return Step(f"{name(message.by)} gets no answer from cluster {message.cluster}", _unanswered(rest, message))
        takes = {WRITE: self._written, LAUNCH: self._created, STOP: self._stopped}[message.kind]
        if heard:
            return takes(rest, message)
        step = takes(rest, message._replace(by=NOBODY))
        state = _unanswered(step.state, message)
        return step._replace(label=f"{step.label}, and {name(message.by)} gets no answer", state=state, fault=True)

    def _written(self, world: World, message: Message) -> Step[World]:
        before, status = world.object, message.status
        broken = None
        if before.version != message.version:
            if ANY_VERSION not in self.plan.planted:
                return Step("a status is refused", self._answer(world, message, refused=True))
            broken = Broken(STATUS_KEPT, f"{told(status)} is written over {told(before.status)}")
        counted, latest = before.status.ended, before.status.attempt
        if status.ended != NEVER and (status.ended < latest or counted not in (NEVER, status.ended)):
            broken = broken or Broken(LOSERS_LOSE, f"attempt {status.ended} counts after {told(before.status)}")
        world = world._replace(object=Object(before.version + 1, status))
        return Step(f"the status {told(status)} is written", self._answer(world, message), broken=broken)

    def _created(self, world: World, message: Message) -> Step[World]:
        at, attempt = message.cluster, message.attempt
        phase = world.pods[at][attempt]
        if phase in (RUNNING, DONE):
            return Step(f"attempt {attempt} is there already", self._answer(world, message))
        what = f"attempt {attempt} is created in cluster {at}"
        status, ever = world.object.status, world.ever[attempt]
        broken = None
        if at not in self.plan.allowed:
            broken = Broken(ISOLATED, what)
        elif ever - {at}:
            broken = Broken(ONE_CLUSTER, f"{what}, and was in {sorted(ever)}")
        elif phase == GONE:
            broken = Broken(RUNS_ONCE, f"{what} again")
        elif NEVER < status.ended < attempt:
            broken = Broken(LOSERS_LOSE, f"{what} after the end")
        elif status.where[attempt] != at and (attempt or status.home != at):
            broken = Broken(WRITTEN_FIRST, f"{what}, and the status is {told(status)}")
        history = (*world.ever[:attempt], ever | {at}, *world.ever[attempt + 1 :])
        world = _with_pod(world, at, attempt, RUNNING)._replace(ever=history)
        return Step(what, self._answer(world, message), broken=broken)

    def _stopped(self, world: World, message: Message) -> Step[World]:
        at, attempt = message.cluster, message.attempt
        label = f"attempt {attempt} is stopped in cluster {at}"
        if world.pods[at][attempt] == RUNNING:
            world = _with_pod(world, at, attempt, GONE)
        return Step(label, world)

    def _answer(self, world: World, message: Message, *, refused: bool = False) -> World:
        """The sender learns of it, if it waits. To one that is halted the answer is lost."""
        if message.by == NOBODY:
            return world
        process = world.processes[message.by]
        live = process.live
        if live is None:  # it was dropped meanwhile; what it had written is waited for
            if message.kind == WRITE and process.acts and not refused and HASTY_RELOAD not in self.plan.planted:
                process = process._replace(fence=world.object.version)
            return with_process(world, message.by, process)
        if not process.acts:
            return _unanswered(world, message)
        if message.kind == LAUNCH:
            if live.state == SENDING and live.now.attempt == message.attempt:
                at = message.cluster
                pods = (*process.pods[:at], listed(world.pods[at]), *process.pods[at + 1 :])
                process = process._replace(live=live._replace(state=LAUNCHED), pods=pods)
                process = self._execution.observed(process)
        elif message.kind != WRITE or live.version != message.version:
            return world  # a stop, or the execution was dropped meanwhile
        elif refused and world.object.status != live.mark:
            process = process._replace(live=None, begun=NEVER, fence=world.object.version)
        elif refused:
            process = process._replace(live=live._replace(writing=False, version=world.object.version))
        else:
            live = live._replace(writing=False, version=world.object.version, mark=message.status)
            process = process._replace(live=live)
        return with_process(world, message.by, process)

    # clusters

    def _clusters(self, world: World) -> Iterator[Step[World]]:
        plan, left = self.plan, world.left
        for at, pods in enumerate(world.pods):
            for attempt, phase in enumerate(pods):
                if phase == RUNNING:
                    ends = _with_pod(world, at, attempt, DONE)
                    for_ever = plan.overdue and attempt + 1 < plan.attempts
                    yield Step(f"attempt {attempt} succeeds in cluster {at}", ends, fault=for_ever)
            down = (*world.down[:at], not world.down[at], *world.down[at + 1 :])
            if world.down[at]:
                yield Step(f"cluster {at} answers again", world._replace(down=down), fault=plan.forever)
                continue
            if left.outages:
                away = spent(world, "outages")._replace(down=down)
                yield Step(f"cluster {at} does not answer any more", away, fault=True)
            if left.restores and world.copy is None:
                yield Step(f"cluster {at} is copied", world._replace(copy=(at, pods)), fault=True)
        if left.restores and world.copy is not None and not world.down[world.copy[0]]:
            yield self._restored(spent(world, "restores"), *world.copy)

    def _restored(self, world: World, at: int, copied: tuple[str, ...]) -> Step[World]:
        pods = (*world.pods[:at], copied, *world.pods[at + 1 :])
        processes = tuple(
            one._replace(clusters=(*one.clusters[:at], FORKED, *one.clusters[at + 1 :]))
            if one.clusters and one.clusters[at] == WELL
            else one
            for one in world.processes
        )
        ever = tuple(were - {at} if phase == ABSENT else were for were, phase in zip(world.ever, copied, strict=True))
        after = world._replace(pods=pods, processes=processes, copy=None, ever=ever)
        return Step(f"cluster {at} is restored from the copy", after, fault=True)


def _with_pod(world: World, at: int, attempt: int, phase: str) -> World:
    pods = world.pods[at]
    changed = (*pods[:attempt], phase, *pods[attempt + 1 :])
    return world._replace(pods=(*world.pods[:at], changed, *world.pods[at + 1 :]))


def _unanswered(world: World, message: Message) -> World:
    """The sender gets no answer: it sends again later."""
    process = world.processes[message.by]
    live = process.live
    if live is None:
        return world
    if message.kind == WRITE and live.version == message.version:
        live = live._replace(writing=False)
    elif message.kind == LAUNCH and live.state == SENDING and live.now.attempt == message.attempt:
        live = live._replace(state=NEW)
    return with_process(world, message.by, process._replace(live=live))


def _ranked(world: World) -> World:
    """Versions are compared, and nothing else: the first that still counts is 1."""
    versions = {world.object.version}
    for process in world.processes:
        versions |= {process.object.version, process.fence}
        if process.live is not None:
            versions.add(process.live.version)
    versions |= {message.version for message in world.flight}
    versions.discard(0)
    if len(versions) == max(versions):
        return world
    rank = {0: 0} | {version: number for number, version in enumerate(sorted(versions), 1)}
    processes = tuple(
        one._replace(
            object=one.object._replace(version=rank[one.object.version]),
            fence=rank[one.fence],
            live=None if one.live is None else one.live._replace(version=rank[one.live.version]),
        )
        for one in world.processes
    )
    return world._replace(
        object=world.object._replace(version=rank[world.object.version]),
        processes=processes,
        flight=tuple(one._replace(version=rank[one.version]) for one in world.flight),
    )
