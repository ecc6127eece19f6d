"""The pure side: what an event does to an execution (workflow/_decide.py with handlers/transitions/_task.py).

A round here takes one event. Several at once do what one after the other does, in the order in which they came.
"""

from __future__ import annotations

from tests.model.configurations import Configuration
from tests.model.defects import (
    ENDED_PODS_DELETED,
    GIVEN_UP_AT_ONCE,
    HANDLER_IS_HASTY,
    HASTY_STOPS,
    NEXT_IS_HASTY,
    NOTHING_PROVEN,
    SIDECARS_AT_ONCE,
)
from tests.model.invariants import NO_FAULT_OF_OURS, OURS_ALONE, RESULT_KEPT
from tests.model.search import Broken
from tests.model.states import (
    ABORTED,
    ACTIVE,
    ADOPT,
    ALIVE,
    ENDED,
    EXISTING,
    FAILED,
    FAILING,
    LAUNCH,
    LAUNCHING,
    LEAVING,
    LINGERS_BADLY,
    LINGERS_WELL,
    NOT_STARTED,
    RUNNING,
    STOP,
    STOPPED,
    STOPPING,
    SUCCEEDED,
    UNSTOPPED,
    VANISHED,
    WAITING,
    Effect,
    Live,
    Node,
    Object,
    Pod,
)

UNPROVEN = (0, 0)


class Round:
    """One round; `effects` and `broken` say what came of it, `live()` the execution after it."""

    def __init__(self, plan: Configuration, live: Live, done: tuple[int, ...]) -> None:
        self._plan = plan
        self._live = live
        self._nodes = list(live.nodes)
        self._phase = live.phase
        self._waiting = list(live.waiting)
        self._dirty = live.dirty
        self.done = list(done)
        self.effects: list[Effect] = []
        self.broken: Broken | None = None

    def live(self) -> Live:
        waiting = self._waiting
        if HASTY_STOPS in self._plan.planted:
            self.effects += waiting
            waiting = []
        proven = self._live.proven
        return self._live._replace(
            nodes=tuple(self._nodes),
            phase=self._phase,
            proven=tuple(
                known if node.state is NOT_STARTED else UNPROVEN
                for node, known in zip(self._nodes, proven, strict=True)
            ),
            waiting=tuple(waiting),
            dirty=self._dirty or bool(waiting),
        )

    # events

    def begin(self) -> Round:
        """workflow/_decide.py: begin."""
        self._phase, self._dirty = RUNNING, True
        return self._start_what_may()

    def resume(self, pods: tuple[Pod, ...]) -> Round:
        """workflow/_decide.py: resume, handlers/_task.py: _resume; _loading.py: owed_stops."""
        for number, node in enumerate(self._nodes):
            pod = pods[number * self._plan.width + node.attempt]
            if node.state in (SUCCEEDED, FAILED, ABORTED) and pod.owner == self._live.uid and pod.phase in ALIVE:
                self.effects.append((STOP, number, node.attempt))
            attempt, system = self._live.proven[number]
            if node.state not in ACTIVE:
                continue
            if attempt > node.attempt:
                self._launch(number, attempt, max(node.system, system))
            elif node.stopping and attempt == node.attempt:
                self._launch(number, attempt, max(node.system, system))  # it had begun
            elif node.stopping:  # _loading.py: owed_stops, or _resume_stopping
                self.effects.append((STOP, number, node.attempt - 1))
            elif node.state is RUNNING:
                self._nodes[number] = node._replace(looks=self._plan.looks)
                self.effects.append((ADOPT, number, node.attempt))
            elif node.state is LAUNCHING:
                self._ask(number, node.attempt)
        return self._start_what_may()._settle()

    def launched(self, number: int, attempt: int) -> Round:
        """task_transition: Launched."""
        node = self._nodes[number]
        if node.attempt == attempt and node.state is LAUNCHING:
            self._set(number, node._replace(state=RUNNING, started=False, looks=self._plan.looks))
        elif node.attempt == attempt and node.state is RUNNING and node.started:
            self._set(number, node._replace(started=False))  # and no timer is set
        return self

    def refused(self, number: int, attempt: int) -> Round:
        """task_transition: Refused."""
        node = self._nodes[number]
        if node.attempt == attempt and node.state is LAUNCHING:
            self._set(number, node._replace(state=WAITING))
        return self

    def seen(self, number: int, attempt: int, pod: Pod) -> Round:
        """task_transition: AttemptObserved; what the pod says is handlers/tasks/_report.py: report, and gone."""
        node = self._nodes[number]
        if pod.phase not in UNSTOPPED:
            self.stopped(number, attempt)
        if node.attempt != attempt or node.state not in (LAUNCHING, RUNNING):
            return self
        if pod.exists and pod.owner != self._live.uid and self.broken is None:
            self.broken = Broken(OURS_ALONE, f"{self._plan.of(number, attempt)} of uid {pod.owner} is taken for ours")
        if pod.phase is RUNNING:
            if node.state is LAUNCHING or (self._plan.looks and not node.started):
                self._set(number, node._replace(state=RUNNING, started=self._plan.looks))
        elif pod.phase is SUCCEEDED:
            self._succeed(number)
        elif pod.phase is LINGERS_WELL:  # _task.py: _sidecars_end
            (self.effects if SIDECARS_AT_ONCE in self._plan.planted else self._waiting).append((STOP, number, attempt))
            self._succeed(number)
        elif pod.phase is FAILED or pod.phase is LINGERS_BADLY:
            self._fail(number, system=False, stop=pod.phase is LINGERS_BADLY)
        elif (
            pod.phase not in (STOPPING, LEAVING) or GIVEN_UP_AT_ONCE in self._plan.planted
        ):  # else it may still end well
            if pod.phase is STOPPED and self.broken is None:
                what = f"{self._plan.of(number, attempt)}, which a controller stopped, counts as lost"
                self.broken = Broken(NO_FAULT_OF_OURS, what)
            self._fail(number, system=True)
        return self

    def again(self, number: int) -> Round:
        """_time_is_up: a pause is over."""
        return self._launch(number, self._nodes[number].attempt, self._nodes[number].system)

    def stopped(self, number: int, attempt: int) -> Round:
        """_decide.py: AllStopped. The pod of an attempt that is over has stopped, or its grace is."""
        node = self._nodes[number]
        if node.stopping and attempt == node.attempt - 1:
            self._launch(number, node.attempt, node.system)
        return self

    def out_of_time(self, number: int) -> Round:
        """_time_is_up: an attempt has run out of time."""
        return self._fail(number, system=False, stop=True)

    def look(self, number: int) -> Round:
        """_time_is_up: UNSEEN seconds are over. A pod that was seen to start is not looked for again."""
        node = self._nodes[number]
        if node.started:
            self._nodes[number] = node._replace(looks=False)
        else:
            self.effects.append((ADOPT, number, node.attempt))
        return self

    def cancel(self) -> Round:
        """_Round._abort."""
        if self._phase not in ENDED:
            self._cancel_active()
            self._phase, self._dirty = ABORTED, True
        return self

    def stop(self, number: int, attempt: int) -> Round:
        """WorkflowController._do_effect: a pod that was created though its attempt had been given up meanwhile."""
        self._waiting.append((STOP, number, attempt))
        return self

    def is_given_up(self, number: int, attempt: int) -> bool:
        """handlers/_pods.py: is_given_up."""
        return is_given_up(self._nodes[number], attempt)

    # what follows

    def _start_what_may(self) -> Round:
        """_decide.py: _ready, and Start of successors. An attempt that pods prove is gone on with."""
        for number, node in enumerate(self._nodes):
            if node.state is not NOT_STARTED or number == self._plan.handler or not self._may_go_on():
                continue
            if all(self._nodes[before].state is SUCCEEDED for before in self._plan.after[number]):
                self._launch(number, *self._live.proven[number])
        return self

    def _may_go_on(self) -> bool:
        return self._phase is RUNNING or (self._phase is FAILING and not self._plan.fails_at_once)

    def _launch(self, number: int, attempt: int, system: int) -> Round:
        self._set(number, Node(LAUNCHING, attempt, system))
        return self._ask(number, attempt)

    def _ask(self, number: int, attempt: int) -> Round:
        done = self.done[number]
        if done and attempt > done - 1 and self.broken is None:
            what = f"{self._plan.of(number, attempt)} is launched, though attempt {done - 1} had succeeded"
            self.broken = Broken(RESULT_KEPT, what)
        self.effects.append((LAUNCH, number, attempt))
        return self

    def _succeed(self, number: int) -> Round:
        node = self._nodes[number]
        done = self.done[number]
        if done and done - 1 != node.attempt and self.broken is None:
            what = f"attempt {node.attempt} of {self._plan.nodes[number]} succeeds, and attempt {done - 1} had before"
            self.broken = Broken(RESULT_KEPT, what)
        self.done[number] = node.attempt + 1
        self._set(number, Node(SUCCEEDED, node.attempt, node.system))
        if ENDED_PODS_DELETED in self._plan.planted:
            self.effects.append((STOP, number, node.attempt))
        self._start_what_may()
        if all(node.state is SUCCEEDED for other, node in enumerate(self._nodes) if other != self._plan.handler):
            self._phase = SUCCEEDED
        return self._settle()

    def _fail(self, number: int, *, system: bool, stop: bool = False) -> Round:
        """handlers/_task.py: _failed; _decide.py: _fail."""
        node = self._nodes[number]
        if stop:
            self._waiting.append((STOP, number, node.attempt))
        waits = stop and NEXT_IS_HASTY not in self._plan.planted
        if system and node.system < self._plan.system_retries:
            self._set(number, Node(WAITING, node.attempt + 1, node.system + 1))
            return self
        if not system and node.attempt + 1 - node.system < self._plan.attempts:
            if waits:
                self._set(number, Node(WAITING, node.attempt + 1, node.system, stopping=True))
                return self
            return self._launch(number, node.attempt + 1, node.system)
        if self.done[number] and self.broken is None:
            what = f"{self._plan.nodes[number]} fails, though attempt {self.done[number] - 1} had succeeded"
            self.broken = Broken(RESULT_KEPT, what)
        self._set(number, Node(FAILED, node.attempt, node.system))
        if self._phase is RUNNING:
            self._phase = FAILING
            if self._plan.fails_at_once:
                self._cancel_active()
        return self._start_what_may()._settle()

    def _cancel_active(self) -> None:
        """handlers/_task.py: _cancel."""
        for number, node in enumerate(self._nodes):
            if node.state in ACTIVE:
                if node.state is not WAITING:
                    self._waiting.append((STOP, number, node.attempt))
                self._set(number, Node(ABORTED, node.attempt, node.system))

    def _settle(self) -> Round:
        """_Round._settle: a failed execution in which nothing is active ends, after its failure node if it has one."""
        if self._phase is not FAILING or any(node.state in ACTIVE for node in self._nodes):
            return self
        handler = self._plan.handler
        if handler >= 0 and self._nodes[handler].state is NOT_STARTED:
            self._launch(handler, *self._live.proven[handler])
            if HANDLER_IS_HASTY not in self._plan.planted:
                self._waiting.append(self.effects.pop())
            return self
        self._phase = FAILED
        return self

    def _set(self, number: int, node: Node) -> None:
        if self._nodes[number] != node:
            self._nodes[number] = node
            self._dirty = True


def is_given_up(node: Node, attempt: int) -> bool:
    return node.state in (ABORTED, FAILED) or node.attempt != attempt


def new_live(plan: Configuration, workflow: Object, pods: tuple[Pod, ...]) -> Live:
    """_loading.py: Loader.load and prove: the snapshot, and what the pods in the cache say."""
    proven = []
    for number in range(len(plan.nodes)):
        known = UNPROVEN
        for attempt in range(plan.width):
            pod = pods[number * plan.width + attempt]
            if pod.owner == workflow.uid and pod.phase in EXISTING:
                known = (attempt, pod.system)
        proven.append(UNPROVEN if NOTHING_PROVEN in plan.planted else known)
    status = workflow.status
    nodes = status.nodes or (Node(),) * len(plan.nodes)
    return Live(workflow.uid, workflow.version, status, status.phase, nodes, tuple(proven))


def news(before: Pod, now: Pod) -> Pod | None:
    """WorkflowController._pod_changed: what a change of a pod in the cache says; None for nothing.

    One that came and went between two looks leaves no event.
    """
    if now.phase in EXISTING:
        return now
    if before.phase not in EXISTING:
        return None
    if before.phase is FAILED:
        return before
    return Pod(before.owner, STOPPED if now.phase is STOPPED else VANISHED)


def as_found(pod: Pod) -> Pod | None:
    """executors/_attempts.py: _found of a pod that the informer does not follow: that it runs is no news."""
    return None if pod.phase is RUNNING else pod
