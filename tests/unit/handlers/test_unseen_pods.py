"""Pods that run without an event of them."""

from __future__ import annotations

from propeller.handlers import TRANSITIONS
from propeller.handlers.plugins.pod import gone
from propeller.workflow import AttemptObserved, AttemptPhase, Launch, Launched, ObserveAttempt, begin, decide, resume
from tests.unit.workflow.drive import execution, graph, plan, task


def test_a_pod_without_events_is_looked_for_and_its_attempt_ends() -> None:
    running = execution(plan(graph(task("a"))))
    begin(running, TRANSITIONS, 1000.0)
    launched = decide(running, [(0, Launched(0))], 1001.0, TRANSITIONS)
    assert launched.wake is not None
    looked = decide(running, [], launched.wake, TRANSITIONS)
    assert looked.effects == [ObserveAttempt(0, 0)]
    assert not looked.changed  # nothing that a status would have to say
    assert looked.wake is not None
    lost = decide(running, [(0, gone(0, "e-a-0"))], launched.wake, TRANSITIONS)
    assert lost.wake is not None
    assert decide(running, [], lost.wake, TRANSITIONS).effects == [Launch(0, 1)]


def test_a_pod_that_the_informer_does_not_follow_is_looked_for_until_it_does() -> None:
    running = execution(plan(graph(task("a"))))
    begin(running, TRANSITIONS, 1000.0)
    wake = decide(running, [(0, Launched(0))], 1000.0, TRANSITIONS).wake
    for _ in range(10):
        assert wake is not None
        assert decide(running, [], wake, TRANSITIONS).effects == [ObserveAttempt(0, 0)]
        wake = decide(running, [(0, Launched(0))], wake, TRANSITIONS).wake  # found by a request, and not in the cache
        assert len(running.timers) == 1
    assert wake is not None
    decide(running, [(0, AttemptObserved(0, AttemptPhase.RUNNING))], wake - 1, TRANSITIONS)
    assert decide(running, [], wake, TRANSITIONS).effects == []


def test_a_pod_that_ran_before_a_restart_is_looked_for_if_the_informer_does_not_follow_it() -> None:
    running = execution(plan(graph(task("a"))))
    begin(running, TRANSITIONS, 1000.0)
    decide(running, [(0, Launched(0)), (0, AttemptObserved(0, AttemptPhase.RUNNING))], 1000.0, TRANSITIONS)
    running.timers.clear()
    assert resume(running, TRANSITIONS, 2000.0).effects == [ObserveAttempt(0, 0)]
    wake = decide(running, [(0, Launched(0))], 2000.0, TRANSITIONS).wake
    assert wake is not None
    assert decide(running, [], wake, TRANSITIONS).effects == [ObserveAttempt(0, 0)]
