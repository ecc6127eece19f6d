"""Why pods fail that their node, a scheduler or a controller took away; and since when one cannot start."""

from __future__ import annotations

import pytest

from propeller.errors import ErrorKind
from propeller.handlers.plugins.pod import report
from propeller.handlers.transitions._task import MAX_CLOCK_SKEW, task_transition
from propeller.kube import Pod
from propeller.workflow import (
    AttemptObserved,
    AttemptOptions,
    AttemptPhase,
    Fail,
    Failure,
    Launching,
    Running,
    State,
    Stay,
)
from tests.unit.handlers.pods import ended, pod, waiting
from tests.unit.handlers.test_task import NOW, node

SYSTEMS = [
    *("OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfnvidia.com/gpu", "OutOfexample.com/thing"),
    *("UnexpectedAdmissionError", "TopologyAffinityError", "NodeAffinity", "NodeLost", "NodeShutdown", "Shutdown"),
    *("Terminated", "Preempting", "Evicted", "NodeUnreachable", "PodAntiAffinity"),
]


def failure(of: Pod) -> Failure:
    found = report(of, 1).failure
    assert found is not None
    return found


@pytest.mark.parametrize("reason", [*SYSTEMS, "SomethingNew", "", "outofnothing"])
def test_a_pod_that_never_ran_is_the_systems_failure_by_whatever_reason(reason: str) -> None:
    found = failure(pod("Failed", reason=reason, message="m"))
    assert (found.code, found.kind, found.recoverable) == ("Interrupted", ErrorKind.SYSTEM, True)
    assert reason in found.message


@pytest.mark.parametrize("reason", SYSTEMS)
def test_a_pod_that_was_taken_away_while_it_ran_is_the_systems_failure(reason: str) -> None:
    assert failure(pod("Failed", ended(143, "Error"), reason=reason)).kind is ErrorKind.SYSTEM


@pytest.mark.parametrize(
    ("end", "code", "kind"),
    [
        (ended(1, "Error"), "Error", ErrorKind.USER),
        (ended(137, "OOMKilled"), "OOMKilled", ErrorKind.USER),
        (ended(137, "ContainerStatusUnknown"), "Interrupted", ErrorKind.SYSTEM),
        (ended(0, "Completed", name="init"), "Interrupted", ErrorKind.SYSTEM),
    ],
)
def test_an_unknown_reason_of_a_pod_that_ran_is_judged_by_its_exit(
    end: dict[str, object], code: str, kind: str
) -> None:
    found = failure(pod("Failed", end, reason="SomethingNew"))
    assert (found.code, found.kind) == (code, kind)
    assert "SomethingNew" in found.message


def test_a_disruption_is_the_systems_whatever_the_exit() -> None:
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    of = pod("Failed", ended(1, "Error"), conditions=[disrupted])
    assert (failure(of).code, failure(of).kind) == ("Interrupted", ErrorKind.SYSTEM)
    spared = pod("Failed", ended(1, "Error"), conditions=[disrupted | {"status": "False"}])
    assert failure(spared).kind is ErrorKind.USER


def test_the_time_that_a_pods_own_spec_gives_it_is_the_users() -> None:
    found = failure(pod("Failed", reason="DeadlineExceeded", message="too long"))
    assert (found.code, found.kind) == ("DeadlineExceeded", ErrorKind.USER)


def test_a_registry_that_has_no_room_is_not_the_users_fault() -> None:
    found = report(pod("Pending", waiting("ImagePullBackOff", "pull: 429 Too Many Requests")), 1).failure
    assert found is not None
    assert (found.kind, found.recoverable) == (ErrorKind.SYSTEM, True)


@pytest.mark.parametrize("condition", ["PodScheduled", "Ready"])
def test_a_pod_that_cannot_start_says_since_when_it_has_a_node(condition: str) -> None:
    at = {"type": condition, "status": "True" if condition == "PodScheduled" else "False"}
    for text, epoch in (("2026-01-01T00:00:00Z", 1767225600.0), ("99999-01-01T00:00:00Z", 0.0), ("soon", 0.0)):
        of = pod("Pending", waiting("ImagePullBackOff"), conditions=[at | {"lastTransitionTime": text}])
        assert report(of, 1).since == epoch


@pytest.mark.parametrize("state", [Launching(0, NOW), Running(0, NOW)])
@pytest.mark.parametrize("reason", sorted(AttemptOptions().start_grace))
@pytest.mark.parametrize("waited", [0.0, 900.0])
def test_its_time_to_start_counts_from_when_it_got_its_node(state: State, reason: str, waited: float) -> None:
    failing = Failure(f"ContainersNotReady|{reason}", "why", recoverable=True, attempt=0)
    seen = AttemptObserved(0, AttemptPhase.PENDING, reason, failing, since=NOW + waited)
    due = NOW + waited + AttemptOptions().start_grace[reason]
    assert task_transition(node(), state, seen, due - 1) == Stay(wakes=(due,))
    assert isinstance(task_transition(node(), state, seen, due), Fail)


def test_a_time_far_in_the_future_is_not_believed() -> None:
    failing = Failure("ContainersNotReady|ImagePullBackOff", "why", recoverable=True, attempt=0)
    seen = AttemptObserved(0, AttemptPhase.PENDING, "", failing, since=NOW + 180 + MAX_CLOCK_SKEW + 1)
    assert isinstance(task_transition(node(), Running(0, NOW), seen, NOW + 180), Fail)
