"""What a process's effects do: from their turn in the pool to the event that they end with."""

from __future__ import annotations

from tests.model.configurations import Configuration
from tests.model.controller import Controller, begun, described, name, with_process
from tests.model.decide import Reconcile, as_found, is_given_up
from tests.model.defects import ANY_STATUS, ANYBODYS_PODS, END_FORGOTTEN, ENDED_PODS_DELETED, NO_FENCE
from tests.model.search import Step
from tests.model.states import ALIVE, ENDED, LAUNCH, NOBODY, RUNNING, SENT, STOP, WRITE, Live, Message, Pod, World


class Effects:
    """Launch, ObserveAttempt, StopAttempt and the checkpoint's request."""

    def __init__(self, plan: Configuration, controller: Controller) -> None:
        self.plan = plan
        self._controller = controller

    def begin(self, world: World, message: Message) -> Step[World]:
        """An effect's turn has come: what it finds in the cache, else a request."""
        who, of = name(message.by), self.plan.of(message.node, message.attempt)
        pod = world.processes[message.by].pods[message.node * self.plan.width + message.attempt]
        sender = NOBODY if message.forgotten else message.by
        sent = world._replace(flight=(*world.flight, message._replace(step=SENT, by=sender, forgotten=False)))
        if message.kind is STOP:  # handlers/executors/_attempts.py: stop
            alive = pod.phase in ALIVE or ENDED_PODS_DELETED in self.plan.planted
            if pod.exists and not (pod.owner == message.uid and alive):
                return Step(f"{who} finds nothing to stop of {of}", world)
            return Step(f"{who} sends the stop of {of}", sent)
        if message.forgotten:
            if pod.exists:
                return Step(f"{who} finds {of}, for an execution that it has dropped", world)
            return Step(f"{who} sends the create of {of}, for an execution that it has dropped", sent)
        if pod.exists:  # handlers/executors/_launches.py: launch, and _attempts.py: observe, of a pod that is followed
            return self._found(f"{who} finds {of} in its cache: {pod.phase}", world, message, pod, followed=True)
        if message.kind is LAUNCH and self._is_given_up(world, message):
            return Step(f"{who} does not launch {of}: it was given up", world)
        return Step(f"{who} {'sends the create of' if message.kind is LAUNCH else 'asks for'} {of}", sent)

    def answer(self, world: World, message: Message) -> Step[World]:
        """An answer comes."""
        if message.kind is WRITE:
            return self._written(world, message)
        of = self.plan.of(message.node, message.attempt)
        if message.pod is not None:
            label = f"{name(message.by)} learns of {of}: {message.pod.phase}"
            step = self._found(label, world, message, message.pod, followed=False)
        else:
            step = self._created(f"{name(message.by)} learns that {of} was created", world, message)
        live = self._listener(step.state, message)
        if live is None or message.kind is not LAUNCH or not self._is_given_up(world, message):
            return step
        reconcile = Reconcile(self.plan, live, step.state.done).stop(message.node, message.attempt)
        return self._controller.carry_out(f"{step.label}, and was given up", step.state, message.by, reconcile)

    def _found(self, label: str, world: World, message: Message, pod: Pod, *, followed: bool) -> Step[World]:
        """handlers/executors/_attempts.py: found_resource, and the reconcile of its event."""
        live = self._listener(world, message)
        if live is None:
            return Step(label, world)
        reconcile = Reconcile(self.plan, live, world.done)
        if pod.exists and pod.owner != message.uid and ANYBODYS_PODS not in self.plan.planted:
            reconcile = reconcile.refused(message.node, message.attempt)
            return self._controller.carry_out(f"{label}, of somebody else", world, message.by, reconcile)
        if message.kind is LAUNCH or (not followed and pod.phase is RUNNING):
            reconcile = reconcile.launched(message.node, message.attempt)
        told = pod if followed else as_found(pod)
        if told is not None:
            reconcile = reconcile.seen(message.node, message.attempt, told)
        return self._controller.carry_out(label, world, message.by, reconcile)

    def _created(self, label: str, world: World, message: Message) -> Step[World]:
        live = self._listener(world, message)
        if live is None:
            return Step(label, world)
        reconcile = Reconcile(self.plan, live, world.done).launched(message.node, message.attempt)
        return self._controller.carry_out(label, world, message.by, reconcile)

    def _written(self, world: World, message: Message) -> Step[World]:
        """controller/_checkpoints.py: _write after the request; controller/_checkpointer.py: write after a conflict."""
        number, write, workflow = message.by, message.write, message.object
        who, process = name(number), world.processes[number]
        live = process.live
        assert live is not None
        assert write is not None
        assert workflow is not None
        if workflow.uid != write.uid:
            dropped = self._controller.forget(world, number, process)
            return Step(f"{who} learns that the object is gone, and drops the execution", dropped)
        if message.refused and workflow.status != live.mark and ANY_STATUS not in self.plan.planted:
            if NO_FENCE not in self.plan.planted:
                process = process._replace(fence=(workflow.uid, workflow.version))
            dropped = self._controller.forget(world, number, process)
            return Step(f"{who} learns of another status ({described(workflow)}), and drops the execution", dropped)
        if message.refused:
            write = write._replace(version=workflow.version)
            again = message._replace(step=SENT, refused=False, object=None, write=write)
            flight = (*world.flight, again)
            return Step(f"{who} sends the status again, onto {described(workflow)}", world._replace(flight=flight))
        live = live._replace(version=workflow.version, mark=write.status, writing=False, written=write.status.ended)
        after = with_process(world, number, process._replace(live=live))
        after = after._replace(flight=world.flight + begun(number, live, write.waiting))
        if live.written and END_FORGOTTEN in self.plan.planted:
            after = self._controller.forget(after, number, after.processes[number])
        return Step(f"{who} learns that its status is written", self._controller.finish(after, number))

    def _listener(self, world: World, message: Message) -> Live | None:
        """The execution that a response is an event of; None if it has ended (controller/_session.py: Ended)."""
        live = world.processes[message.by].live
        return None if live is None or live.phase in ENDED else live

    def _is_given_up(self, world: World, message: Message) -> bool:
        """handlers/executors/_given_up.py: is_given_up."""
        live = world.processes[message.by].live
        return live is not None and is_given_up(live.nodes[message.node], message.attempt)
