"""A controller's process: its caches, when it loads, what its timers and its checkpoints do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.model.configurations import Configuration
from tests.model.decide import Reconcile, new_live, pod_event
from tests.model.defects import ANYBODYS_PODS, DEADLINES_DO_NOT_ASK, DROPPED_LAUNCHES, NO_SWEEP
from tests.model.search import Step
from tests.model.states import (
    ADOPT,
    ALIVE,
    ENDED,
    FAILED,
    LAUNCH,
    LAUNCHING,
    NOBODY,
    QUEUED,
    RUNNING,
    SENT,
    STOP,
    SUCCEEDED,
    SWEEP,
    UNSTOPPED,
    WAITING,
    WRITE,
    Effect,
    Live,
    Message,
    Node,
    Object,
    Pod,
    Process,
    Status,
    World,
    Write,
)


class Controller:
    """The steps of a process without those of its effects."""

    def __init__(self, plan: Configuration) -> None:
        self.plan = plan

    def steps(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        yield from self._caches(world, number, process)
        live, workflow = process.live, process.object
        if live is None:
            if workflow.status.ended:
                yield from self._sweep(world, number, process)
            elif self._may_load(world, process):
                yield self._load(world, number, process)
            return
        if live.dirty and not live.writing:
            yield self._checkpoint(world, number, process, live)
        if live.phase not in ENDED:
            for node, state in enumerate(live.nodes):
                yield from self._timers(world, number, live, node, state)

    def carry_out(self, label: str, world: World, number: int, reconcile: Reconcile) -> Step[World]:
        """controller/_controller.py: _carry_out: effects start at once, unless they wait for a status."""
        live = reconcile.live()
        flight = world.flight + begun(number, live, reconcile.effects)
        after = with_process(world, number, world.processes[number]._replace(live=live))
        return Step(label, after._replace(flight=flight, done=tuple(reconcile.done)), broken=reconcile.broken)

    def forget(self, world: World, number: int, process: Process) -> World:
        """controller/_executions.py: forget: effects that were started go on, and their events are dropped."""
        flight = []
        for message in world.flight:
            if message.by != number or message.kind in (STOP, SWEEP):
                flight.append(message)
            elif message.step is SENT and message.kind is not ADOPT:
                flight.append(message._replace(by=NOBODY))
            elif message.step is QUEUED and message.kind is LAUNCH and DROPPED_LAUNCHES in self.plan.planted:
                flight.append(message._replace(forgotten=True))
        return with_process(world, number, process._replace(live=None))._replace(flight=tuple(flight))

    def finish(self, world: World, number: int) -> World:
        """controller/_controller.py: _finished: an execution is forgotten when the cache has its end."""
        process = world.processes[number]
        if process.live is not None and process.live.written and process.object.status.ended:
            return self.forget(world, number, process)
        return world

    # caches

    def _caches(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        """controller/_controller.py: _workflow_changed and _reconcile; _observing.py: attempt_changed."""
        if process.object != world.object:
            yield self._object_seen(world, number, process)
        for at, (cached, pod) in enumerate(zip(process.pods, world.pods, strict=True)):
            if cached != pod and (cached.exists or pod.exists):
                yield self._pod_seen(world, number, process, at, cached, pod)

    def _pod_seen(self, world: World, number: int, process: Process, at: int, cached: Pod, pod: Pod) -> Step[World]:
        node, attempt = divmod(at, self.plan.width)
        label = f"{name(number)}'s cache gets {self.plan.of(node, attempt)}: {pod.phase}"
        pods = (*process.pods[:at], pod if pod.exists else Pod(), *process.pods[at + 1 :])
        after = with_process(world, number, process._replace(pods=pods))
        told, live = pod_event(cached, pod), process.live
        if told is None or live is None or live.phase in ENDED:
            return Step(label, after)
        if told.owner != live.uid and ANYBODYS_PODS not in self.plan.planted:
            return Step(label, after)
        return self.carry_out(label, after, number, Reconcile(self.plan, live, world.done).seen(node, attempt, told))

    def _object_seen(self, world: World, number: int, process: Process) -> Step[World]:
        """controller/_controller.py: _reconcile, of a change of the object."""
        workflow, live = world.object, process.live
        label = f"{name(number)}'s cache gets the object: {described(workflow)}"
        process = process._replace(object=workflow)
        if live is not None and workflow.uid != live.uid:
            return Step(label, self.forget(world, number, process))
        after = with_process(world, number, process)
        if live is not None and workflow.cancelled and live.phase not in ENDED:
            return self.carry_out(label, after, number, Reconcile(self.plan, live, world.done).cancel())
        return Step(label, self.finish(after, number))

    # reconciles

    def _timers(self, world: World, number: int, live: Live, node: int, state: Node) -> Iterator[Step[World]]:
        """handlers/transitions/_task_timers.py: timer_fired, for each of a node's timers."""
        plan, who, of = self.plan, name(number), self.plan.of(node, state.attempt)
        reconcile = Reconcile(plan, live, world.done)
        if state.stopping:
            if self._is_over(world, number, live, node, state.attempt - 1):
                last = plan.of(node, state.attempt - 1)
                reconcile = reconcile.stopped(node, state.attempt - 1)
                yield self.carry_out(
                    f"{who} knows that {last} has stopped, or its grace is over", world, number, reconcile
                )
        elif state.state is WAITING:
            yield self.carry_out(f"{who} has waited long enough for {of}", world, number, reconcile.again(node))
        elif plan.nodes[node] in plan.overdue and state.state in ((RUNNING, LAUNCHING) if plan.early else (RUNNING,)):
            yield self._out_of_time(world, number, node, state, reconcile)
        asked = any(other.kind is ADOPT and (other.by, other.node) == (number, node) for other in world.flight)
        if state.looks and (state.started or not asked):
            reconcile = Reconcile(plan, live, world.done).look(node)
            yield self.carry_out(f"{who} has not seen {of} for a minute", world, number, reconcile)

    def _is_over(self, world: World, number: int, live: Live, node: int, attempt: int) -> bool:
        """Whether an attempt that was told to stop is past its grace, in which it has stopped. stop says since when
        it counts; a stop waits for the answer to the attempt's launch (Live.launching).
        """
        stop = (STOP, node, attempt)
        owed = list(live.waiting)
        for message in world.flight:
            if message.by == number and message.write is not None:
                owed += message.write.waiting
            if message.by == number and message.kind in (STOP, LAUNCH) and message[4:6] == (node, attempt):
                return False
        return stop not in owed and world.pods[node * self.plan.width + attempt].phase not in UNSTOPPED

    def _out_of_time(self, world: World, number: int, node: int, state: Node, reconcile: Reconcile) -> Step[World]:
        """_time_is_up: TimeoutExpired. A question asked before is one moment with its answer."""
        label = f"{name(number)}: {self.plan.of(node, state.attempt)} is out of time"
        pod = world.pods[node * self.plan.width + state.attempt]
        ended = pod.owner == world.processes[number].object.uid and pod.phase in (SUCCEEDED, FAILED)
        if ended and DEADLINES_DO_NOT_ASK not in self.plan.planted:
            return self.carry_out(
                f"{label}, and has {pod.phase}", world, number, reconcile.seen(node, state.attempt, pod)
            )
        return self.carry_out(label, world, number, reconcile.out_of_time(node))

    def _may_load(self, world: World, process: Process) -> bool:
        """controller/_cache_lag.py: wait_to_load, and controller/_plans.py: _fetch if the closure was used up."""
        workflow, fence = process.object, process.fence
        if fence is not None and fence[0] == workflow.uid and fence[1] > workflow.version:
            return False
        return process.loaded != workflow.uid or world.object.uid == workflow.uid

    def _load(self, world: World, number: int, process: Process) -> Step[World]:
        """controller/_intake.py: begin, _load and _loaded, and the first controller/_controller.py: _decide."""
        workflow = process.object
        live = new_live(self.plan, workflow, process.pods)
        new = not workflow.status.nodes
        label = f"{name(number)} loads the execution" + ("" if new else f" from {described(workflow)}")
        after = with_process(world, number, process._replace(live=live, fence=None, loaded=workflow.uid))
        reconcile = Reconcile(self.plan, live, world.done)
        reconcile = reconcile.begin() if new else reconcile.resume(process.pods)
        return self.carry_out(label, after, number, reconcile.cancel() if workflow.cancelled else reconcile)

    def _checkpoint(self, world: World, number: int, process: Process, live: Live) -> Step[World]:
        """controller/_checkpoints.py: _write up to the request: the snapshot, and the stops whose reasons it has."""
        nodes = tuple(node._replace(looks=False) for node in live.nodes)
        write = Write(live.uid, live.version, Status(live.phase, nodes), live.waiting)
        live = live._replace(writing=True, dirty=False, waiting=())
        message = Message(WRITE, number, SENT, live.uid, write=write)
        told = ", ".join(
            f"{letter}-{node.attempt} {node.state}" for letter, node in zip(self.plan.nodes, nodes, strict=True)
        )
        after = with_process(world, number, process._replace(live=live))
        label = f"{name(number)} sends the status: {live.phase} ({told})"
        return Step(label, after._replace(flight=(*world.flight, message)))

    def _sweep(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        """controller/_retention.py: _stop_what_runs and _stop."""
        uid = process.object.uid
        for at, pod in enumerate(process.pods):
            if pod.owner == uid and pod.phase in ALIVE and NO_SWEEP not in self.plan.planted:
                node, attempt = divmod(at, self.plan.width)
                message = Message(SWEEP, number, SENT, uid, node, attempt)
                if message not in world.flight:
                    label = f"{name(number)} sends the stop of {self.plan.of(node, attempt)}: the execution has ended"
                    yield Step(label, world._replace(flight=(*world.flight, message)))


def begun(number: int, live: Live, effects: Iterable[Effect]) -> tuple[Message, ...]:
    """controller/_effects.py: start."""
    return tuple(
        Message(kind, number, QUEUED, live.uid, node, attempt, live.nodes[node].system if kind is LAUNCH else 0)
        for kind, node, attempt in effects
    )


def with_process(world: World, number: int, process: Process) -> World:
    return world._replace(processes=(*world.processes[:number], process, *world.processes[number + 1 :]))


def name(number: int) -> str:
    return "AB"[number]


def described(workflow: Object) -> str:
    return f"version {workflow.version}, {workflow.status.phase}" + ", to be deleted" * workflow.cancelled
