"""Run the effects of decisions: inline if they need no waiting, otherwise in lanes, some only after a checkpoint.

Guarantees
    Effects of one execution run concurrently, and share the workers of their lane fairly with those of other
    executions. A launch and the stop of the same attempt never overtake each other.
    An effect that could be decided differently a second time starts only once a status has its reason.
"""

from __future__ import annotations

import functools

from propeller.controller import _settled
from propeller.controller._duty import Shared
from propeller.controller._lanes import ClusterLanes
from propeller.controller._session import Running
from propeller.handlers import (
    TRANSITIONS,
    RetryAfter,
    RetryState,
    Services,
    execute,
    is_given_up,
    refusals_of,
    try_execute_inline,
)
from propeller.reconcile import FairPool
from propeller.status import wait_of
from propeller.workflow import (
    AttemptEffect,
    AttemptObserved,
    AttemptPhase,
    AwaitSignal,
    Decision,
    Effect,
    Execution,
    Expire,
    Follow,
    Launch,
    Launched,
    NodeEvent,
    NodeView,
    ObserveAttempt,
    OpenGate,
    Remains,
    StopAttempt,
    Submitted,
    WriteInputs,
    decide,
)


class EffectRunner:
    """See the module's text."""

    def __init__(self, shared: Shared, services: Services) -> None:
        self._services = services
        self._cache = services.cache
        self._placing = shared.placing
        self._executions = shared.executions
        self._lanes = shared.lanes
        self._milestones = shared.milestones
        self._causes = shared.causes
        self._clock = shared.clock
        self._inline = shared.settings.controller.inline_effects

    def begin(self, session: Running, decision: Decision) -> Decision:
        """Start the effects of a decision. Some run inline, and their events are decided at once: returns the final
        decision, with the effects of the first one.
        """
        execution = session.execution
        effects, changed, left = decision.effects, decision.changed, self._inline
        while True:
            if decision.ended or decision.retried:
                self._milestones.decided(execution, decision)
                _settled.note(session, decision.ended)
                if self._cache is not None:
                    self._cache.ended(decision.ended)
            events: list[tuple[int, NodeEvent]] = []
            for effect in decision.effects:
                if type(effect) is Launch and (waits := self._place(execution, effect)) is not None:
                    events.append((effect.node, waits))
                elif type(effect) is AwaitSignal:
                    self._await_signal(session, effect)
                elif needs_checkpoint(execution, effect):
                    session.deferred.append(effect)
                elif (
                    left
                    and (found := try_execute_inline(execution.view(effect.node), effect, self._services)) is not None
                ):
                    left -= 1
                    events += [(effect.node, event) for event in found]
                else:
                    self.start(session, effect)
            if not events:
                return Decision(effects, decision.wake, changed, decision.more)
            decision = decide(execution, events, self._clock.now(), TRANSITIONS)
            changed |= decision.changed

    def _await_signal(self, session: Running, effect: AwaitSignal) -> None:
        """Have the execution's object looked at for an answer, now and when it changes."""
        execution, node = session.execution, effect.node
        session.gates.add(node)
        self._executions.reconcile(session.key)
        if effect.begins and (wait := wait_of(execution, node)) is not None:
            self._milestones.waits(session, execution.view(node), wait["reason"])

    def _place(self, execution: Execution, launch: Launch) -> NodeEvent | None:
        """Choose the cluster of a launch; returns why it has to wait for one, if it does."""
        if not self._placing.applies_to(execution):
            return None
        node = execution.view(launch.node)
        if node.spec.workflow is not None:
            self._placing.keep_here(node)
            return None
        return None if self._runs_remotely(node) else self._placing.place(node, launch.attempt)

    def _runs_remotely(self, node: NodeView) -> bool:
        """Whether attempts of the node are jobs of a remote service: in no cluster, and for another lane."""
        jobs = self._services.jobs
        return jobs is not None and jobs.is_used and jobs.of(node) is not None

    def start(self, session: Running, effect: Effect) -> None:
        """Run an effect; its events are handled by a later reconcile."""
        if isinstance(effect, AttemptEffect):
            attempt = effect.attempt
            session.follow(session.execution.pod_name(effect.node, attempt), effect.node)
            if isinstance(effect, Launch):
                session.launching.setdefault((effect.node, attempt))
            elif isinstance(effect, StopAttempt) and (effect.node, attempt) in session.launching:
                session.launching[effect.node, attempt] = effect
                return
        session.in_flight += 1
        self._lane_of(session, effect).submit(session.key, lambda: self._run(session, effect, RetryState()))

    def is_doubtful(self, session: Running, node: int, seen: AttemptObserved) -> bool:
        """Whether the failure or deletion of a pod may be that of an earlier pod of the same name, because a create
        without an answer was repeated.
        """
        attempt = node, seen.attempt
        is_going = seen.remains is Remains.ENDING and seen.phase is not AttemptPhase.SUCCEEDED
        if seen.phase is not AttemptPhase.FAILED and not is_going:
            return False
        return attempt in session.created_again or (
            attempt in session.launching and refusals_of(session.execution.view(node)).tries > 0
        )

    def look_for(self, session: Running, node: int, attempt: int, seen: AttemptObserved | None = None) -> None:
        """GET a pod that was deleted before its end was observed, or whose end, `seen`, is doubtful. Another pod of
        that name may exist, and outputs in the object store may prove its success.
        """
        if (node, attempt) in session.launching:
            session.looks[node, attempt] = seen  # once the launch is answered
        else:
            self.start(session, ObserveAttempt(node, attempt, fresh=True))

    def _lane_of(self, session: Running, effect: Effect) -> FairPool[str]:
        match effect:
            case Launch() if self._runs_remotely(session.execution.view(effect.node)):
                return self._lanes.remote
            case Launch():
                return self._lanes_of(session, effect).launch
            case StopAttempt() | Expire() if session.execution.jobs.of(effect.node, effect.attempt) is not None:
                return self._lanes.remote
            case StopAttempt():
                return self._lanes_of(session, effect).stop
            case ObserveAttempt() | Expire():
                return self._lanes_of(session, effect).observe
            case _:
                return self._lanes.observe

    def _lanes_of(self, session: Running, effect: AttemptEffect) -> ClusterLanes:
        placements = session.execution.placements
        return self._lanes.of(None if placements is None else placements.cluster_of(effect.node, effect.attempt))

    async def _run(self, session: Running, effect: Effect, tries: RetryState) -> None:
        node = session.execution.view(effect.node)
        events = await execute(node, effect, self._services, tries)
        if isinstance(events, RetryAfter):
            after, made, error = events
            self._causes.report(error, "%s: %s is tried again in %.2g s", node.log_name, type(effect).__name__, after)
            again = functools.partial(self._run, session, effect, made)
            self._lane_of(session, effect).submit_after(session.key, again, after)
            return
        session.in_flight -= 1
        if isinstance(effect, Launch):
            self._launched(session, node, effect, events)
        if events:
            self._executions.notify(session, effect.node, *events)

    def _launched(self, session: Running, node: NodeView, effect: Launch, events: tuple[NodeEvent, ...]) -> None:
        """Handle the answer to a launch, and start what waited for it."""
        attempt = effect.node, effect.attempt
        created = any(isinstance(event, Launched | Submitted) for event in events)
        self._milestones.launched(session, node, events)
        self._placing.answered(node, effect.attempt, events)
        if created:
            session.record_launch(self._clock.now())
        if created and refusals_of(node).tries:
            session.created_again.add(attempt)
        stop = session.launching.pop(attempt, None)
        is_job = any(isinstance(event, Submitted) for event in events)
        if stop is not None and not is_job:  # a job of an attempt that was given up is stopped once a status has its id
            self.start(session, stop)
        elif is_given_up(node, effect.attempt) and not is_job:
            session.deferred.append(StopAttempt(*attempt))  # another stop may have come before the pod
            self._executions.reconcile(session.key)
        elif attempt in session.looks and created:
            self.start(session, ObserveAttempt(*attempt, fresh=True))
        elif (seen := session.looks.get(attempt)) is not None:
            self._executions.notify(session, effect.node, seen)
        session.looks.pop(attempt, None)


def needs_checkpoint(execution: Execution, effect: Effect) -> bool:
    """Whether a status must hold the reason of an effect before it starts, as it could be decided differently a second
    time: stops, looks at a job whose id no status has, the start of a failure node, what runs again inside a node whose
    time was up, launches whose cluster was chosen among several, launches with inputs from the cache, and the opening
    of a gate. Everything, if the execution is unclaimed.
    """
    kind = type(effect)
    if execution.placements is not None and execution.placements.is_unclaimed:
        return True
    if kind is StopAttempt or kind is OpenGate:
        return True
    if isinstance(effect, (Follow, Expire)):  # a job whose time is up is looked at, too
        return execution.jobs.is_unwritten(effect.node, effect.attempt)
    if kind is Launch and execution.placements is not None and execution.placements.unwritten:
        return True
    if kind is not Launch and kind is not WriteInputs:
        return False
    node = execution.view(effect.node)
    if kind is Launch and execution.cache.builds_on(node.frame):
        return True
    again = kind is WriteInputs and execution.attempts[effect.node] > 0
    return again or node.graph_index == node.graph.failure
