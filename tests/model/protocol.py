"""The protocol between controllers, API server and pods (docs/consistency.md), as states and what can happen in each.

Every action names the function that it models, and a test holds that it exists: controller.py and effects.py have those
of a process, decide.py the pure side, server.py those of the API server, of pods and of people. Faults are here.

Assumptions
    Time is left out: an action that waits may happen at any moment, however early or late.
    A reconcile follows each event at once. A later reconcile is the same as a later event.
    The kubelet is the pods themselves: created is running. A pod that is asked to stop does not end well any more.
    A pod that was asked to stop has stopped when its grace period and the margin are over.
    A watch may skip what has changed again before it is looked at; each pod and the object lag by themselves.
    What reads before it writes, or after a refusal (stop, observe, Checkpointer._metadata_now), reads and is answered
    in the one moment in which the request has its effect. ObserveAttempt's answer may be old.
    A crash is followed by a start with fresh lists, at any later moment: who does nothing may as well be down.
    A request of a process that has crashed has its effect before the next one lists, or never. One that was given up
    without an answer may have it later, but before the pod that it names is deleted. `late` takes both away.
    An attempt runs out of time once its launch was answered, not before; `early` takes that away.
    Configurations that are `prompt` or `instant` leave interleavings out, as they say, and those alone.
    A task that succeeded has its outputs in the object store, where they can be read.
    Left out: maxParallelism, graphs inside of nodes, quotas, what the object store may do, more than five conflicts,
    the collection of ended workflows.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.canonical import canonical
from tests.model.configurations import Configuration
from tests.model.controller import Controller, described, name, with_process
from tests.model.decide import Reconcile
from tests.model.defects import NO_FENCE_AFTER_RAISE, UNFENCED
from tests.model.effects import Effects
from tests.model.invariants import QUIET
from tests.model.search import Broken, Step
from tests.model.server import Server
from tests.model.states import (
    ADOPT,
    ALIVE,
    ANSWERED,
    ENDED,
    LAUNCH,
    NOBODY,
    QUEUED,
    SENT,
    STOP,
    WRITE,
    Message,
    Object,
    Pod,
    Process,
    World,
)


class Protocol:
    """A model for `search`: one execution of a configuration."""

    def __init__(self, plan: Configuration) -> None:
        self.plan = plan
        self._server = Server(plan)
        self._controller = Controller(plan)
        self._effects = Effects(plan, self._controller)
        self._fenced = not plan.faults.defects and not plan.planted & UNFENCED

    def initial(self) -> World:
        pods = (Pod(),) * (len(self.plan.nodes) * self.plan.width)
        workflow = Object(1, 1)
        process = Process(workflow, pods)
        return World(
            workflow, pods, (process,) * self.plan.processes, (), self.plan.faults, (0,) * len(self.plan.nodes)
        )

    def steps(self, world: World) -> Iterator[Step[World]]:
        for step in self._steps(world):
            if self.plan.prompt or self.plan.instant:
                step = self._at_once(step)
            yield step._replace(state=canonical(step.state, late=self.plan.late, fenced=self._fenced))

    def ended(self, world: World) -> bool:
        """The execution has ended, or is gone, nobody holds it in memory, and nothing of it runs."""
        if any(process.live is not None for process in world.processes):
            return False
        return world.object.status.ended and not any(pod.phase in ALIVE for pod in world.pods)

    def quiet(self, world: World) -> Broken | None:
        if self.ended(world):
            return None
        runs = [self.plan.of(*divmod(at, self.plan.width)) for at, pod in enumerate(world.pods) if pod.phase in ALIVE]
        left = f"still there: {', '.join(runs) or 'no pod'}"
        return Broken(QUIET, f"nothing more will happen. The object: {described(world.object)}; {left}")

    def _steps(self, world: World) -> Iterator[Step[World]]:
        for number, process in enumerate(world.processes):
            yield from self._controller.steps(world, number, process)
            yield from self._faults(world, number, process)
        for at, message in enumerate(world.flight):
            if not _is_held(world, message):
                rest = world._replace(flight=world.flight[:at] + world.flight[at + 1 :])
                yield self._go_on(rest, message)
        yield from self._server.by_itself(world)

    def _at_once(self, step: Step[World]) -> Step[World]:
        """The step, and with it what does not wait in this configuration: effects for their turn, requests."""
        now = (QUEUED, SENT, ANSWERED) if self.plan.instant else (QUEUED,)
        while (
            at := next((at for at, sent in enumerate(step.state.flight) if _is_due(step.state, sent, now)), -1)
        ) >= 0:
            flight = step.state.flight
            following = self._go_on(step.state._replace(flight=flight[:at] + flight[at + 1 :]), flight[at])
            label, broken = f"{step.label}; {following.label}", step.broken or following.broken
            step = step._replace(label=label, state=following.state, broken=broken)
        return step

    def _go_on(self, rest: World, message: Message) -> Step[World]:
        if message.step is SENT:
            return self._server.take(rest, message)
        if message.step is QUEUED:
            return self._effects.begin(rest, message)
        return self._effects.answer(rest, message)

    def _faults(self, world: World, number: int, process: Process) -> Iterator[Step[World]]:
        left = world.left
        if left.crashes:
            yield Step(f"{name(number)} crashes and starts", self._crash(world, number), fault=True)
        if left.losses:
            spent = world._replace(left=left._replace(losses=left.losses - 1))
            for at, message in enumerate(world.flight):
                if message.by == number and message.step is not QUEUED and message.kind in (LAUNCH, WRITE):
                    rest = spent._replace(flight=world.flight[:at] + world.flight[at + 1 :])
                    yield self._lose(rest, message)._replace(fault=True)
        if left.defects and process.live is not None and process.live.phase not in ENDED:
            if NO_FENCE_AFTER_RAISE not in self.plan.planted:
                process = process._replace(fence=(process.live.uid, process.live.version))
            spent = world._replace(left=left._replace(defects=left.defects - 1))
            dropped = self._controller.forget(spent, number, process)
            yield Step(f"a reconcile of {name(number)} raises, and it drops the execution", dropped, fault=True)

    def _crash(self, world: World, number: int) -> World:
        """Memory is lost; what was sent has had its effect, or has none. The next process lists."""
        flight = [message for message in world.flight if message.by != number]
        if self.plan.late:
            sent = [message for message in world.flight if message.by == number and message.step is SENT]
            flight += [message._replace(by=NOBODY) for message in sent if message.kind is not ADOPT]
        left = world.left._replace(crashes=world.left.crashes - 1)
        lists = tuple(pod if pod.exists else Pod() for pod in world.pods)
        after = with_process(world, number, Process(world.object, lists))
        return after._replace(flight=tuple(flight), left=left)

    def _lose(self, world: World, message: Message) -> Step[World]:
        """A request or its answer is lost: Unavailable. `_create` then says Refused, `_put_off_writing` keeps stops."""
        number = message.by
        if message.step is SENT:  # it may yet have its effect
            world = world._replace(flight=(*world.flight, message._replace(by=NOBODY)))
        process = world.processes[number]
        live = process.live
        assert live is not None
        label = f"{name(number)} gets no answer to {self._server.request(message)}"
        if message.write is not None:
            live = live._replace(writing=False, dirty=True, waiting=message.write.waiting + live.waiting)
            return Step(label, with_process(world, number, process._replace(live=live)))
        if live.phase in ENDED:
            return Step(label, world)
        reconcile = Reconcile(self.plan, live, world.done).refused(message.node, message.attempt)
        if reconcile.is_given_up(message.node, message.attempt):
            reconcile = reconcile.stop(message.node, message.attempt)
        return self._controller.carry_out(label, world, number, reconcile)


def _is_due(world: World, message: Message, now: tuple[str, ...]) -> bool:
    return message.step in now and not _is_held(world, message)


def _is_held(world: World, message: Message) -> bool:
    """controller/_effects.py: start: a stop waits for the response to the launch of its attempt."""
    if message.kind is not STOP or message.step is not QUEUED:
        return False
    launch = (LAUNCH, message.by)
    return any(sent[:2] == launch and sent[4:6] == message[4:6] and not sent.forgotten for sent in world.flight)
