"""The pure side: what an event does to an execution (workflow/_decide.py with handlers/transitions/_task.py).

A reconcile here handles one event. Several events at once have the same effect as one after the other, in their order.
"""

from __future__ import annotations

from tests.model.configurations import Configuration
from tests.model.defects import (
    ENDED_PODS_DELETED,
    GIVEN_UP_AT_ONCE,
    HANDLER_IS_HASTY,
    HASTY_STOPS,
    NEXT_IS_HASTY,
    PODS_IGNORED,
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

NOT_OBSERVED = (0, 0)


class Reconcile:
    """One reconcile: `effects` and `broken` are its results, `live()` is the execution after it."""

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
        observed = self._live.observed
        return self._live._replace(
            nodes=tuple(self._nodes),
            phase=self._phase,
            observed=tuple(
                known if node.state is NOT_STARTED else NOT_OBSERVED
                for node, known in zip(self._nodes, observed, strict=True)
            ),
            waiting=tuple(waiting),
            dirty=self._dirty or bool(waiting),
        )

    # events

    def begin(self) -> Reconcile:
        """workflow/_decide.py: begin."""
        self._phase, self._dirty = RUNNING, True
        return self._start_ready()

    def resume(self, pods: tuple[Pod, ...]) -> Reconcile:
        """workflow/_decide.py: resume; handlers/transitions/_task.py: _resume; controller/_loading.py: stops_owed."""
        for number, node in enumerate(self._nodes):
            pod = pods[number * self._plan.width + node.attempt]
            if node.state in (SUCCEEDED, FAILED, ABORTED) and pod.owner == self._live.uid and pod.phase in ALIVE:
                self.effects.append((STOP, number, node.attempt))
            attempt, system = self._live.observed[number]
            if node.state not in ACTIVE:
                continue
            if attempt > node.attempt:
                self._launch(number, attempt, max(node.system, system))
            elif node.stopping and attempt == node.attempt:
                self._launch(number, attempt, max(node.system, system))  # it had begun
            elif (
                node.stopping
            ):  # controller/_loading.py: stops_owed, or handlers/transitions/_task.py: _resume_stopping
                self.effects.append((STOP, number, node.attempt - 1))
            elif node.state is RUNNING:
                self._nodes[number] = node._replace(looks=self._plan.looks)
                self.effects.append((ADOPT, number, node.attempt))
            elif node.state is LAUNCHING:
                self._ask(number, node.attempt)
        return self._start_ready()._finish_failed()

    def launched(self, number: int, attempt: int) -> Reconcile:
        """handlers/transitions/_task.py: _on_attempt_event, of Launched."""
        node = self._nodes[number]
        if node.attempt == attempt and node.state is LAUNCHING:
            self._set(number, node._replace(state=RUNNING, started=False, looks=self._plan.looks))
        elif node.attempt == attempt and node.state is RUNNING and node.started:
            self._set(number, node._replace(started=False))  # and no timer is set
        return self

    def refused(self, number: int, attempt: int) -> Reconcile:
        """handlers/transitions/_attempts.py: start_rejected."""
        node = self._nodes[number]
        if node.attempt == attempt and node.state is LAUNCHING:
            self._set(number, node._replace(state=WAITING))
        return self

    def seen(self, number: int, attempt: int, pod: Pod) -> Reconcile:
        """handlers/transitions/_task.py: _observed; the event is handlers/plugins/pod/_report.py: report, or gone."""
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
        elif pod.phase is LINGERS_WELL:  # handlers/transitions/_task.py: _stop_sidecars
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

    def again(self, number: int) -> Reconcile:
        """handlers/transitions/_task_timers.py: timer_fired, when a pause is over."""
        return self._launch(number, self._nodes[number].attempt, self._nodes[number].system)

    def stopped(self, number: int, attempt: int) -> Reconcile:
        """handlers/transitions/_attempts.py: last_attempt_stopped, if the pod has stopped or its grace is over."""
        node = self._nodes[number]
        if node.stopping and attempt == node.attempt - 1:
            self._launch(number, node.attempt, node.system)
        return self

    def out_of_time(self, number: int) -> Reconcile:
        """handlers/transitions/_task_timers.py: deadline_checked, of an attempt that is late."""
        return self._fail(number, system=False, stop=True)

    def look(self, number: int) -> Reconcile:
        """handlers/transitions/_task_timers.py: timer_fired, after `unseen_after`, of a pod not seen to start."""
        node = self._nodes[number]
        if node.started:
            self._nodes[number] = node._replace(looks=False)
        else:
            self.effects.append((ADOPT, number, node.attempt))
        return self

    def cancel(self) -> Reconcile:
        """workflow/_decide.py: _stop_all."""
        if self._phase not in ENDED:
            self._cancel_active()
            self._phase, self._dirty = ABORTED, True
        return self

    def stop(self, number: int, attempt: int) -> Reconcile:
        """controller/_effects.py: _launched, of a pod that was created after its attempt was given up."""
        self._waiting.append((STOP, number, attempt))
        return self

    def is_given_up(self, number: int, attempt: int) -> bool:
        """handlers/executors/_given_up.py: is_given_up."""
        return is_given_up(self._nodes[number], attempt)

    # what follows

    def _start_ready(self) -> Reconcile:
        """workflow/_graphs.py: ready_nodes, _dependency_completed. An attempt that has a pod is continued."""
        for number, node in enumerate(self._nodes):
            if node.state is not NOT_STARTED or number == self._plan.handler or not self._starts_nodes():
                continue
            if all(self._nodes[before].state is SUCCEEDED for before in self._plan.after[number]):
                self._launch(number, *self._live.observed[number])
        return self

    def _starts_nodes(self) -> bool:
        return self._phase is RUNNING or (self._phase is FAILING and not self._plan.fails_at_once)

    def _launch(self, number: int, attempt: int, system: int) -> Reconcile:
        self._set(number, Node(LAUNCHING, attempt, system))
        return self._ask(number, attempt)

    def _ask(self, number: int, attempt: int) -> Reconcile:
        done = self.done[number]
        if done and attempt > done - 1 and self.broken is None:
            what = f"{self._plan.of(number, attempt)} is launched, though attempt {done - 1} had succeeded"
            self.broken = Broken(RESULT_KEPT, what)
        self.effects.append((LAUNCH, number, attempt))
        return self

    def _succeed(self, number: int) -> Reconcile:
        node = self._nodes[number]
        done = self.done[number]
        if done and done - 1 != node.attempt and self.broken is None:
            what = f"attempt {node.attempt} of {self._plan.nodes[number]} succeeds, and attempt {done - 1} had before"
            self.broken = Broken(RESULT_KEPT, what)
        self.done[number] = node.attempt + 1
        self._set(number, Node(SUCCEEDED, node.attempt, node.system))
        if ENDED_PODS_DELETED in self._plan.planted:
            self.effects.append((STOP, number, node.attempt))
        self._start_ready()
        if all(node.state is SUCCEEDED for other, node in enumerate(self._nodes) if other != self._plan.handler):
            self._phase = SUCCEEDED
        return self._finish_failed()

    def _fail(self, number: int, *, system: bool, stop: bool = False) -> Reconcile:
        """handlers/transitions/_attempts.py: attempt_failed; workflow/_graphs.py: _fail."""
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
        return self._start_ready()._finish_failed()

    def _cancel_active(self) -> None:
        """handlers/transitions/_task.py: _cancel."""
        for number, node in enumerate(self._nodes):
            if node.state in ACTIVE:
                if node.state is not WAITING:
                    self._waiting.append((STOP, number, node.attempt))
                self._set(number, Node(ABORTED, node.attempt, node.system))

    def _finish_failed(self) -> Reconcile:
        """workflow/_graphs.py: finish_failed."""
        if self._phase is not FAILING or any(node.state in ACTIVE for node in self._nodes):
            return self
        handler = self._plan.handler
        if handler >= 0 and self._nodes[handler].state is NOT_STARTED:
            self._launch(handler, *self._live.observed[handler])
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
    """controller/_loading.py: load and recover_attempts: the snapshot, and the attempts of pods in the cache."""
    observed = []
    for number in range(len(plan.nodes)):
        known = NOT_OBSERVED
        for attempt in range(plan.width):
            pod = pods[number * plan.width + attempt]
            if pod.owner == workflow.uid and pod.phase in EXISTING:
                known = (attempt, pod.system)
        observed.append(NOT_OBSERVED if PODS_IGNORED in plan.planted else known)
    status = workflow.status
    nodes = status.nodes or (Node(),) * len(plan.nodes)
    return Live(workflow.uid, workflow.version, status, status.phase, nodes, tuple(observed))


def pod_event(before: Pod, now: Pod) -> Pod | None:
    """controller/_attempt_events.py: attempt_event, of a change in the cache; None if it is no event.

    A pod that was created and deleted between two watch events leaves none.
    """
    if now.phase in EXISTING:
        return now
    if before.phase not in EXISTING:
        return None
    if before.phase is FAILED:
        return before
    return Pod(before.owner, STOPPED if now.phase is STOPPED else VANISHED)


def as_found(pod: Pod) -> Pod | None:
    """handlers/executors/_attempts.py: found_resource, of a pod that the informer does not follow."""
    return None if pod.phase is RUNNING else pod
