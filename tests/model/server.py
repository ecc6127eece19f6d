"""The API server, the kubelet and the garbage collector: what requests do, and what happens by itself."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.configurations import Configuration
from tests.model.defects import ANY_VERSION, BLIND_DELETES, ENDED_PODS_DELETED, NAMES_NOT_FIXED
from tests.model.invariants import END_STAYS, END_TRUE, ONE_AT_ONCE, REASON_FIRST, RECORD_KEPT, RUNS_ONCE
from tests.model.search import Broken, Step
from tests.model.states import (
    ABORTED,
    ABSENT,
    ADOPT,
    ALIVE,
    ANSWERED,
    DROPPED,
    FAILED,
    LAUNCH,
    LEAVING,
    LINGERS_BADLY,
    LINGERS_WELL,
    NOBODY,
    RUNNING,
    SENT,
    STOP,
    STOPPED,
    STOPPING,
    SUCCEEDED,
    SWEEP,
    UNSTOPPED,
    VANISHED,
    Left,
    Message,
    Object,
    Pod,
    Status,
    World,
)


class Server:
    """Its steps; `plan` says what may fail."""

    def __init__(self, plan: Configuration) -> None:
        self.plan = plan

    def take(self, world: World, message: Message) -> Step[World]:
        """A request has its effect. Where nobody waits for it, it may also never have one."""
        return self._take(world, message)._replace(fault=message.by == NOBODY)

    def request(self, message: Message) -> str:
        """What a request is called in a trace."""
        if message.write is not None:
            return f"the status {message.write.status.phase} onto version {message.write.version}"
        verb = {LAUNCH: "the create of", STOP: "the stop of", SWEEP: "the stop of", ADOPT: "the question for"}
        return f"{verb[message.kind]} {self.plan.of(message.node, message.attempt)}"

    def _take(self, world: World, message: Message) -> Step[World]:
        label = f"the server takes {self.request(message)}" + ", late" * (message.by == NOBODY)
        if message.write is not None:
            return self._status(label, world, message)
        at = message.node * self.plan.width + message.attempt
        pod = world.pods[at]
        if message.kind is ADOPT:  # GET
            found = Pod(pod.owner, SUCCEEDED) if pod.phase is DROPPED else pod  # its documents speak (has_ended)
            return Step(label, self._answered(world, message._replace(pod=found)))
        if message.kind is LAUNCH:
            return self._create(label, world, message, at, pod)
        return self._delete(label, world, message, at, pod)

    def _create(self, label: str, world: World, message: Message, at: int, pod: Pod) -> Step[World]:
        """POST of a pod: AlreadyExists where its name is taken; then `_find` reads what is there."""
        name = self.plan.of(message.node, message.attempt)
        if pod.exists and NAMES_NOT_FIXED not in self.plan.planted:
            return Step(label, self._answered(world, message._replace(pod=pod)))
        broken = None
        if pod.owner == message.uid:
            broken = Broken(RUNS_ONCE, f"{name} is created, and was before: {pod.phase}")
        others = [other for other in range(self.plan.width) if other != message.attempt]
        beside = [other for other in others if self._runs(world, message.uid, message.node, other)]
        if beside and broken is None:
            broken = Broken(ONE_AT_ONCE, f"{name} is created beside {self.plan.of(message.node, beside[0])}")
        created = _put(world, at, Pod(message.uid, RUNNING, message.system))
        return Step(label, self._answered(created, message), broken=broken)

    def _runs(self, world: World, uid: int, node: int, attempt: int) -> bool:
        pod = world.pods[node * self.plan.width + attempt]
        return pod.owner == uid and pod.phase in UNSTOPPED

    def _delete(self, label: str, world: World, message: Message, at: int, pod: Pod) -> Step[World]:
        """DELETE of a pod, by its UID (and version, but for BLIND_DELETES: what has changed since is looked at again).

        A running pod is asked to stop, a pod that has ended is gone at once.
        """
        if pod.owner != message.uid or pod.phase not in ALIVE | {SUCCEEDED, FAILED}:
            return Step(label, world)
        if pod.phase not in ALIVE and not self.plan.planted & {BLIND_DELETES, ENDED_PODS_DELETED}:
            return Step(f"{label}: refused, it has {pod.phase}", world)
        broken = None
        if pod.phase not in ALIVE:
            broken = Broken(
                RECORD_KEPT, f"{self.plan.of(message.node, message.attempt)} is deleted, and had {pod.phase}"
            )
        if not self._has_reason(world.object, message):
            what = f"{self.plan.of(message.node, message.attempt)} ({pod.phase}) is deleted, and no status says why"
            broken = Broken(REASON_FIRST, what)
        stops = STOPPING if self.plan.slow_stops else STOPPED
        after = {SUCCEEDED: DROPPED, FAILED: STOPPED}.get(pod.phase, stops)
        if not self.plan.late:  # creates that are under way find the pod there, before it goes
            world = world._replace(flight=tuple(self._hurried(world.flight, message, pod)))
        return Step(label, _put(world, at, pod._replace(phase=after)), broken=broken)

    def _hurried(self, flight: tuple[Message, ...], stop: Message, pod: Pod) -> Iterator[Message]:
        for message in flight:
            if (message.kind, message.step, message.node, message.attempt) != (LAUNCH, SENT, stop.node, stop.attempt):
                yield message
            elif message.by != NOBODY:
                yield message._replace(step=ANSWERED, pod=pod)

    def _has_reason(self, workflow: Object, message: Message) -> bool:
        if workflow.uid != message.uid:
            return True  # its pods are to be collected in any case
        if workflow.status.ended:
            return True
        if not workflow.status.nodes:
            return False
        node = workflow.status.nodes[message.node]
        return node.attempt > message.attempt or node.state in (SUCCEEDED, FAILED, ABORTED)

    def _status(self, label: str, world: World, message: Message) -> Step[World]:
        """PATCH of the status, with version and UID; where it is refused, what is there is read."""
        write, workflow = message.write, world.object
        assert write is not None
        if workflow.uid != write.uid:
            return Step(f"{label}: it is gone", self._answered(world, message._replace(object=workflow, refused=True)))
        if workflow.version != write.version and ANY_VERSION not in self.plan.planted:
            refused = message._replace(object=workflow, refused=True)
            return Step(f"{label}: refused, it is at {workflow.version}", self._answered(world, refused))
        after = workflow._replace(version=workflow.version + 1, status=write.status)
        answered = message._replace(object=after)
        return Step(
            label, self._answered(world._replace(object=after), answered), broken=self._judge(world, write.status)
        )

    def _judge(self, world: World, status: Status) -> Broken | None:
        before = world.object.status
        if before.ended and before.phase != status.phase:
            return Broken(END_STAYS, f"it was {before.phase}, and is {status.phase} now")
        if status.phase is SUCCEEDED and not all(
            done for node, done in enumerate(world.done) if node != self.plan.handler
        ):
            return Broken(END_TRUE, "it is written as succeeded, and not all nodes have")
        handler = self.plan.handler
        if handler >= 0 and status.phase is SUCCEEDED and world.pods[handler * self.plan.width].phase is not ABSENT:
            return Broken(END_TRUE, "it is written as succeeded, and its failure node has run")
        return None

    def _answered(self, world: World, message: Message) -> World:
        if message.by == NOBODY:
            return world
        return world._replace(flight=(*world.flight, message._replace(step=ANSWERED)))

    # what happens by itself

    def by_itself(self, world: World) -> Iterator[Step[World]]:
        yield from self._pods(world)
        yield from self._people(world)

    def _pods(self, world: World) -> Iterator[Step[World]]:
        plan, workflow = self.plan, world.object
        for at, pod in enumerate(world.pods):
            if not pod.exists:
                continue
            node, attempt = divmod(at, plan.width)
            letter, name = plan.nodes[node], plan.of(node, attempt)
            if workflow.uid != pod.owner:
                yield Step(f"{name} is collected with its owner", _put(world, at, Pod()))
            if pod.phase is STOPPING:
                yield Step(f"{name} has stopped", _put(world, at, pod._replace(phase=STOPPED)))
            if pod.phase is LINGERS_WELL or pod.phase is LINGERS_BADLY:
                end = SUCCEEDED if pod.phase is LINGERS_WELL else FAILED
                yield Step(f"the sidecar of {name} ends", _put(world, at, pod._replace(phase=end)), fault=True)
            if pod.phase is LEAVING:
                yield Step(f"{name} succeeds in its grace period", _put(world, at, pod._replace(phase=SUCCEEDED)))
                yield Step(f"{name} is gone", _put(world, at, pod._replace(phase=VANISHED)))
            if pod.phase is not RUNNING:
                continue
            for_ever = letter in plan.overdue or workflow.status.ended
            yield Step(f"{name} succeeds", _put(world, at, pod._replace(phase=SUCCEEDED)), fault=for_ever)
            if letter in plan.fails:
                yield Step(f"{name} fails", _put(world, at, pod._replace(phase=FAILED)), fault=True)
            if letter in plan.sidecars:
                well, badly = pod._replace(phase=LINGERS_WELL), pod._replace(phase=LINGERS_BADLY)
                yield Step(f"{name} succeeds, and its sidecar runs on", _put(world, at, well), fault=True)
                yield Step(f"{name} fails, and its sidecar runs on", _put(world, at, badly), fault=True)
            if world.left.vanishings:
                left = world.left._replace(vanishings=world.left.vanishings - 1)
                leaves = LEAVING if plan.graceful else VANISHED
                gone = _put(world, at, pod._replace(phase=leaves))._replace(left=left)
                yield Step(f"{name} is deleted by somebody else", gone, fault=True)

    def _people(self, world: World) -> Iterator[Step[World]]:
        """Other writers of the object."""
        left, workflow = world.left, world.object
        newer = workflow._replace(version=workflow.version + 1)
        if left.touches:
            yield _by_people("somebody changes a label", world, newer, left._replace(touches=left.touches - 1))
        if left.ends and not workflow.status.ended:
            ended = newer._replace(status=Status(ABORTED, workflow.status.nodes))
            yield _by_people("somebody writes a status: aborted", world, ended, left._replace(ends=left.ends - 1))
        if left.aborts and not workflow.cancelled:
            cancelled = newer._replace(cancelled=True)
            label = "somebody deletes the object, and a finalizer keeps it"
            yield _by_people(label, world, cancelled, left._replace(aborts=left.aborts - 1))
        if left.recreations:
            left = left._replace(recreations=left.recreations - 1)
            anew = Object(workflow.uid + 1, newer.version)
            step = _by_people("somebody deletes the object and makes it anew", world, anew, left)
            yield step._replace(state=step.state._replace(done=(0,) * len(world.done)))


def _by_people(label: str, world: World, workflow: Object, left: Left) -> Step[World]:
    return Step(label, world._replace(object=workflow, left=left), fault=True)


def _put(world: World, at: int, pod: Pod) -> World:
    return world._replace(pods=(*world.pods[:at], pod, *world.pods[at + 1 :]))
