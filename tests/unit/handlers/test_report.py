"""What a pod's status says about its attempt, in FlytePropeller 1.16's codes and kinds."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.errors import ErrorKind
from propeller.handlers.plugins.pod import gone, report
from propeller.kube import Pod
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, Remains
from tests.unit.handlers.pods import container, ended, pod, waiting

USER, SYSTEM = ErrorKind.USER, ErrorKind.SYSTEM


def seen(of: Pod) -> AttemptObserved:
    return report(of, 1)


def failure(of: Pod) -> Failure:
    found = seen(of)
    assert found.failure is not None
    return found.failure


@pytest.mark.parametrize(
    ("of", "phase"),
    [
        (pod(), AttemptPhase.PENDING),
        (pod("Pending"), AttemptPhase.PENDING),
        (pod("Unknown"), AttemptPhase.PENDING),
        (pod("Running"), AttemptPhase.RUNNING),
        (pod("Running", container(running={})), AttemptPhase.RUNNING),
        (pod("Running", container(running={}), primary=None), AttemptPhase.RUNNING),
        (pod("Succeeded", ended(0)), AttemptPhase.SUCCEEDED),
        (pod("Succeeded", ended(0), primary=None), AttemptPhase.SUCCEEDED),
        (pod("Failed", ended(1)), AttemptPhase.FAILED),
    ],
)
def test_each_phase_of_a_pod_is_one_of_ours(of: Pod, phase: AttemptPhase) -> None:
    found = seen(of)
    assert (found.attempt, found.phase) == (1, phase)
    assert (found.failure is not None) is (phase is AttemptPhase.FAILED)


@pytest.mark.parametrize(
    ("of", "code", "kind"),
    [
        # the user's own exit code
        (pod("Failed", ended(1, "Error")), "Error", USER),
        (pod("Failed", ended(2, "StartError")), "StartError", USER),
        (pod("Failed", ended(1)), "Error", USER),
        (pod("Failed", ended(3, "Error"), primary=None), "Error", USER),
        (pod("Failed", waiting("PodInitializing"), init=(ended(1, "Error", name="init"),)), "Error", USER),
        # memory
        (pod("Failed", ended(137, "OOMKilled")), "OOMKilled", USER),
        (pod("Failed", waiting("PodInitializing"), init=(ended(137, "OOMKilled", name="init"),)), "OOMKilled", USER),
        (pod("Failed", ended(137, "OOMKilled"), ended(137, "Error", name="sidecar")), "OOMKilled", USER),
        (pod("Succeeded", ended(0, "OOMKilled")), "OOMKilled", USER),
        # killed by somebody else
        (pod("Failed", ended(137, "Error")), "Interrupted", SYSTEM),
        (pod("Failed", ended(247, "Error")), "Interrupted", SYSTEM),
        (pod("Failed", ended(137, "Error"), primary=None), "Interrupted", SYSTEM),
        (pod("Failed", waiting(""), ended(137, "Error", name="sidecar")), "Interrupted", USER),
        # its machine is taken away
        (pod("Failed", reason="Shutdown", message="node shuts down"), "Interrupted", SYSTEM),
        (pod("Failed", ended(143, "Error"), reason="Terminated"), "Interrupted", SYSTEM),
        (pod("Failed", reason="NodeShutdown"), "Interrupted", SYSTEM),
        (pod("Failed", reason="NodeAffinity"), "Interrupted", SYSTEM),
        (pod("Failed", reason="Evicted", message="low on memory"), "Interrupted", SYSTEM),
        (pod("Failed", reason="Preempting"), "Interrupted", SYSTEM),
        (pod("Failed", reason="UnexpectedAdmissionError"), "Interrupted", SYSTEM),
        # Kubernetes' own reasons
        (pod("Failed", reason="DeadlineExceeded", message="too long"), "DeadlineExceeded", USER),
        # no reason at all
        (pod("Failed"), "Interrupted", SYSTEM),
    ],
)
def test_a_failed_pod_has_flytes_code_and_kind_and_may_be_tried_again(of: Pod, code: str, kind: ErrorKind) -> None:
    found = failure(of)
    assert (found.code, found.kind, found.recoverable, found.attempt) == (code, kind, True, 1)
    assert found.message


def test_the_message_has_what_kubernetes_says_of_pod_and_containers() -> None:
    of = pod(
        "Failed", ended(1, "Error", "Traceback\n  boom\n"), ended(0, "Completed", name="side"), message="the pod failed"
    )
    assert failure(of).message == (
        "the pod failed\n"
        "[main] terminated with exit code (1), reason Error: Traceback\n  boom\n"
        "[side] terminated with exit code (0), reason Completed"
    )


def test_a_log_of_empty_lines_alone_adds_nothing_to_the_message() -> None:
    assert (
        failure(pod("Failed", ended(3, "Error", " \n"))).message == "[main] terminated with exit code (3), reason Error"
    )


def test_a_restarted_container_tells_of_its_last_end() -> None:
    status = {
        "name": "main",
        "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }
    assert failure(pod("Failed", status)).code == "OOMKilled"


@pytest.mark.parametrize(
    ("of", "phase", "code", "kind"),
    [
        (ended(0), AttemptPhase.SUCCEEDED, "", USER),
        (ended(1, "Error"), AttemptPhase.FAILED, "Error", USER),
        (ended(1), AttemptPhase.FAILED, "Error", USER),
        (ended(137, "OOMKilled"), AttemptPhase.FAILED, "OOMKilled", USER),
        (ended(137, "Error"), AttemptPhase.FAILED, "Interrupted", SYSTEM),
        (ended(247, "Error"), AttemptPhase.FAILED, "Interrupted", SYSTEM),
        (container(running={}), AttemptPhase.RUNNING, "", USER),
        (waiting("CrashLoopBackOff"), AttemptPhase.RUNNING, "", USER),
        (ended(1, name="other"), AttemptPhase.RUNNING, "", USER),
    ],
)
def test_a_running_pod_ends_when_its_primary_container_does(
    of: dict[str, Any], phase: AttemptPhase, code: str, kind: ErrorKind
) -> None:
    found = seen(pod("Running", container("sidecar", running={}), of))
    assert found.phase is phase
    if found.failure is not None:
        assert (found.failure.code, found.failure.kind) == (code, kind)
    else:
        assert not code


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "ErrImagePull", "", "CrashLoopBackOff"])
def test_a_pod_that_gets_ready_is_pending(reason: str) -> None:
    assert seen(pod("Pending", waiting(reason, "x"))) == AttemptObserved(1, AttemptPhase.PENDING)


def test_a_pod_that_finds_no_machine_is_pending_with_the_schedulers_reason() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    assert seen(pod("Pending", conditions=[condition])) == AttemptObserved(
        1, AttemptPhase.PENDING, "Unschedulable: 0/1 nodes"
    )


@pytest.mark.parametrize(
    ("reason", "kind", "recoverable"),
    [
        ("InvalidImageName", USER, False),
        ("ErrImageNeverPull", USER, False),
        ("CreateContainerConfigError", USER, False),
        ("CreateContainerError", USER, False),
        ("ImagePullBackOff", USER, True),
        ("RunContainerError", SYSTEM, True),
        ("RegistryUnavailable", SYSTEM, True),
    ],
)
def test_a_pod_that_cannot_start_is_pending_with_the_failure_that_this_becomes(
    reason: str, kind: ErrorKind, recoverable: bool
) -> None:
    for of in (pod("Pending", waiting(reason, "why")), pod("Pending", init=(waiting(reason, "why"),))):
        found = seen(of)
        assert (found.phase, found.reason) == (AttemptPhase.PENDING, f"{reason}: why")
        assert found.failure == Failure(
            f"ContainersNotReady|{reason}", "[main] why", kind, recoverable=recoverable, attempt=1
        )


@pytest.mark.parametrize(
    ("phase", "is_seen"), [("", "PENDING"), ("Pending", "PENDING"), ("Running", "RUNNING"), ("Unknown", "PENDING")]
)
def test_a_pod_that_is_being_deleted_goes_on_for_its_grace_period(phase: str, is_seen: str) -> None:
    found = seen(pod(phase, container(running={}), deleted=True, grace=45)) if phase == "Running" else None
    found = found or seen(pod(phase, deleted=True, grace=45))
    assert found == AttemptObserved(1, AttemptPhase[is_seen], remains=Remains.ENDING, grace=45.0)


@pytest.mark.parametrize("code", [1, 137, 143])
def test_a_pod_that_is_told_to_stop_and_ends_badly_is_the_systems_failure(code: int) -> None:
    for end in (ended(code, "Error"), ended(code, "Error", at="2026-01-01T00:00:12Z")):
        found = failure(pod("Failed", end, deleted=True))
        assert (found.code, found.kind, found.recoverable) == ("UnexpectedObjectDeletion", SYSTEM, True)
        assert f"[main] terminated with exit code ({code})" in found.message


def test_a_pod_that_is_told_to_stop_and_ends_well_has_succeeded() -> None:
    assert seen(pod("Succeeded", ended(0), deleted=True)).phase is AttemptPhase.SUCCEEDED
    assert seen(pod("Running", ended(0), deleted=True)).phase is AttemptPhase.SUCCEEDED


def test_a_pod_that_is_deleted_or_evicted_after_its_end_keeps_its_end() -> None:
    """Its grace period of 30 seconds began at midnight."""
    before = ended(1, "Error", at="2025-12-31T23:59:59Z")
    assert failure(pod("Failed", before, deleted=True)).code == "Error"
    assert failure(pod("Running", before, container("side", running={}), deleted=True)).code == "Error"
    disrupted = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    found = failure(pod("Failed", before, reason="Evicted", conditions=[disrupted]))
    assert (found.code, found.kind) == ("Error", USER)
    after = ended(1, "Error", at="2026-01-01T00:00:01Z")
    assert failure(pod("Failed", after, reason="Evicted", conditions=[disrupted])).kind is SYSTEM


def test_a_pod_that_is_gone_is_the_systems_failure() -> None:
    found = gone(2, "e-n0-2")
    assert (found.attempt, found.phase) == (2, AttemptPhase.GONE)
    assert found.failure is not None
    assert (found.failure.code, found.failure.kind, found.failure.recoverable) == (
        "ResourceDeletedExternally",
        SYSTEM,
        True,
    )
    assert "pod e-n0-2 is gone before its end was seen" in found.failure.message


@pytest.mark.parametrize("reason", ["Er\x1b[31mror", "a\nb", "R" * 100_000, "\u202eError", "-1"])
def test_a_reason_that_is_no_word_is_no_code(reason: str) -> None:
    assert failure(pod("Failed", ended(1, reason))).code == "Error"
    assert failure(pod("Pending", waiting(reason))).code == "ContainersNotReady|Unknown"


@pytest.mark.parametrize("text", ["\x1b[31mred\nline", "x" * 3_000_000, "of https://me:hunter2@registry/image"])
def test_why_a_pod_waits_is_one_short_line_without_credentials(text: str) -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    for of in (pod("Pending", waiting("ImagePullBackOff", text)), pod("Pending", conditions=[unschedulable])):
        reason = seen(of).reason
        assert reason.isprintable()
        assert len(reason) <= 1100
        assert "hunter2" not in reason


@pytest.mark.parametrize(
    "when", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "garbage", "2026-01-01T00:00:00"]
)
def test_times_that_are_none_break_nothing(when: str) -> None:
    disrupted = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": when}
    assert failure(pod("Failed", ended(-1, "Error", at=when), conditions=[disrupted])).kind is SYSTEM


def test_what_a_pod_says_of_itself_shows_no_credential() -> None:
    message = failure(pod("Failed", reason="Evicted", message="pulling https://me:hunter2@registry/image")).message
    assert "hunter2" not in message
    assert "***" in message
