"""The status that follows from the states of a pod's containers."""

from __future__ import annotations

from propeller.embedded.kubelet._status import (
    Container,
    Failure,
    Running,
    State,
    Terminated,
    Waiting,
    keep_transitions,
    phase_of,
    pod_status,
)


def ended(code: int = 0) -> Terminated:
    return Terminated(code, 0, "Completed" if code == 0 else "Error", "", 1.0, 2.0)


def container(state: State, *, init: bool = False, sidecar: bool = False, name: str = "c") -> Container:
    made = Container(
        {"name": name, "image": "i"} | ({"restartPolicy": "Always"} if sidecar else {}), init=init or sidecar
    )
    made.state = state
    return made


def phase(*containers: Container, policy: str = "Never", failure: Failure | None = None) -> str:
    return phase_of(list(containers), policy=policy, failure=failure)


def test_a_pod_is_pending_until_a_main_container_has_started() -> None:
    assert phase(container(Waiting())) == "Pending"
    assert phase(container(Running(1.0), init=True), container(Waiting())) == "Pending"


def test_a_pod_runs_while_any_container_does() -> None:
    assert phase(container(Running(1.0)), container(ended(1))) == "Running"


def test_a_pod_succeeds_only_if_all_containers_did() -> None:
    assert phase(container(ended()), container(ended())) == "Succeeded"
    assert phase(container(ended()), container(ended(3))) == "Failed"


def test_a_failed_init_container_fails_the_pod_that_never_restarts() -> None:
    assert phase(container(ended(1), init=True), container(Waiting())) == "Failed"
    assert phase(container(ended(1), init=True), container(Waiting()), policy="OnFailure") == "Pending"


def test_a_container_between_two_runs_keeps_the_pod_running() -> None:
    crashed = container(Waiting("CrashLoopBackOff"))
    crashed.restarts = 1
    assert phase(crashed, policy="Always") == "Running"


def test_a_failure_of_the_pod_overrides_its_containers() -> None:
    one = container(ended())
    failure = Failure("DeadlineExceeded", "too late")
    status = pod_status([one], policy="Never", bound_at=0.0, started_at=0.0, now=3.0, failure=failure)
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too late")


def test_conditions_follow_the_containers() -> None:
    status = pod_status([container(Running(1.0))], policy="Never", bound_at=0.0, started_at=0.0, now=3.0)
    assert {one["type"]: one["status"] for one in status["conditions"]} == dict.fromkeys(
        ["PodScheduled", "Initialized", "Ready", "ContainersReady"], "True"
    )
    status = pod_status([container(ended())], policy="Never", bound_at=0.0, started_at=0.0, now=3.0)
    assert {one["type"]: one.get("reason") for one in status["conditions"]}["Ready"] == "PodCompleted"


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    before = [{"type": "Ready", "status": "False", "lastTransitionTime": "t1"}]
    same = [{"type": "Ready", "status": "False", "lastTransitionTime": "t2"}]
    other = [{"type": "Ready", "status": "True", "lastTransitionTime": "t2"}]
    assert keep_transitions(before, same)[0]["lastTransitionTime"] == "t1"
    assert keep_transitions(before, other)[0]["lastTransitionTime"] == "t2"


def test_a_signal_is_reported_beside_the_exit_code() -> None:
    killed = container(Terminated(137, 9, "OOMKilled", "", 1.0, 2.0))
    status = pod_status([killed], policy="Never", bound_at=0.0, started_at=0.0, now=3.0)
    assert status["containerStatuses"][0]["state"]["terminated"] == {
        "exitCode": 137,
        "signal": 9,
        "reason": "OOMKilled",
        "startedAt": "1970-01-01T00:00:01Z",
        "finishedAt": "1970-01-01T00:00:02Z",
    }


def test_a_pod_has_not_ended_while_its_sidecar_still_runs() -> None:
    sidecar = container(Running(1.0), sidecar=True, name="proxy")
    assert phase(sidecar, container(ended())) == "Running"
    sidecar.state = ended(143)
    assert phase(sidecar, container(ended())) == "Succeeded"


def test_a_pod_over_its_deadline_has_not_failed_while_a_container_still_runs() -> None:
    late = Failure("DeadlineExceeded", "too long")
    running = container(Running(1.0))
    status = pod_status([running], policy="Never", bound_at=0.0, started_at=0.0, now=5.0, failure=late)
    assert (status["phase"], "reason" in status) == ("Running", False)
    running.state = ended(143)
    status = pod_status([running], policy="Never", bound_at=0.0, started_at=0.0, now=5.0, failure=late)
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
