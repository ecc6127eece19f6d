"""The end of a pod's primary container is the end of its attempt, whichever of the pod's events is seen."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from propeller.handlers.plugins.pod import is_alive, report
from propeller.kube import Pod
from propeller.workflow import AttemptObserved, AttemptPhase, Remains
from tests.unit.handlers.pods import container, ended, pod, waiting

OF_PRIMARY = [ended(0), ended(0, "Completed"), ended(1, "Error"), ended(3), ended(137, "Error"), ended(143, "Error")]
OF_PRIMARY += [ended(247), ended(137, "OOMKilled"), ended(0, "OOMKilled")]

OF_SIDECAR = [ended(0), ended(1, "Error"), ended(137, "Error"), ended(143, "Error"), ended(137, "OOMKilled")]

NAMES = {"declared": ("main", "main", "e-n0-1"), "by its pod": ("e-n0-1", None, "e-n0-1")}
NAMES |= {"primary": ("primary", None, "e-n0-1"), "declared in vain": ("e-n0-1", "nothing", "e-n0-1")}


def _named(name: str, status: dict[str, Any]) -> dict[str, Any]:
    return {**status, "name": name}


def _verdict(of: Pod) -> tuple[Any, ...] | None:
    """What an attempt's end is to its node; None while it has none."""
    seen = report(of, 1)
    if seen.phase in {AttemptPhase.PENDING, AttemptPhase.RUNNING}:
        return None
    return seen.phase, seen.failure and (seen.failure.code, seen.failure.kind, seen.failure.recoverable)


def _events(primary: dict[str, Any], sidecar: dict[str, Any], naming: str, *, native: bool) -> list[Pod]:
    """What may be seen of a pod, in order; any of it may be missed."""
    own, annotation, name = NAMES[naming]
    runs, waits = container(running={}), waiting("ContainerCreating")

    def of(phase: str, main: dict[str, Any], side: dict[str, Any]) -> Pod:
        containers, beside = (_named(own, main),), (_named("proxy", side),)
        if native:
            return pod(phase, *containers, init=beside, primary=annotation, name=name)
        return pod(phase, *beside, *containers, primary=annotation, name=name)

    bad = any(end["state"]["terminated"]["exitCode"] for end in (primary, sidecar) if not (native and end is sidecar))
    return [
        of("Pending", waits, waits),
        of("Pending", runs, waiting("ImagePullBackOff")),
        of("Running", runs, runs),
        of("Running", runs, sidecar),
        of("Pending", primary, waiting("ImagePullBackOff")),
        of("Running", primary, runs),
        of("Running", primary, sidecar),
        of("Failed" if bad else "Succeeded", primary, sidecar),
    ]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("naming", NAMES)
def test_the_outcome_does_not_depend_on_which_events_are_seen(naming: str, native: bool) -> None:
    for primary, sidecar in itertools.product(OF_PRIMARY, OF_SIDECAR):
        verdicts = [_verdict(of) for of in _events(primary, sidecar, naming, native=native)]
        assert verdicts[:4] == [None] * 4, "the primary container runs"
        assert verdicts[4] is not None
        assert set(verdicts[4:]) == {verdicts[4]}, (primary, sidecar)
        well = primary["state"]["terminated"]["exitCode"] == 0 and "OOM" not in primary["state"]["terminated"]["reason"]
        assert (verdicts[4][0] is AttemptPhase.SUCCEEDED) is well


@pytest.mark.parametrize("end", OF_PRIMARY)
def test_a_pod_that_is_deleted_after_its_primary_container_ended_says_what_it_said_before(end: dict[str, Any]) -> None:
    end["state"]["terminated"]["finishedAt"] = "2026-01-01T00:00:00Z"
    side = container("proxy", running={})
    before = pod("Running", end, side)
    for phase, beside in (("Running", side), ("Failed", ended(143, "Error", name="proxy"))):
        assert _verdict(pod(phase, end, beside, deleted="2026-01-01T00:00:40Z")) == _verdict(before)


def test_a_container_that_the_kubelet_starts_again_has_not_ended() -> None:
    again = {"name": "main", "state": {"running": {}}, "lastState": ended(1)["state"], "restartCount": 1}
    assert _verdict(pod("Running", ended(1), restarts="OnFailure")) is None
    assert _verdict(pod("Running", again, restarts="OnFailure")) is None
    assert _verdict(pod("Succeeded", ended(0), restarts="OnFailure")) == (AttemptPhase.SUCCEEDED, None)


def test_a_container_that_is_started_for_ever_has_ended_with_its_first_end() -> None:
    again = {"name": "main", "state": {"running": {}}, "lastState": ended(0)["state"], "restartCount": 1}
    assert _verdict(pod("Running", ended(0), restarts="Always")) == (AttemptPhase.SUCCEEDED, None)
    assert _verdict(pod("Running", again, restarts="Always")) == (AttemptPhase.SUCCEEDED, None)
    assert is_alive(pod("Running", ended(0), restarts="Always"))


SIDE = container("proxy", running={})


@pytest.mark.parametrize(
    ("of", "remains", "alive"),
    [
        (pod("Succeeded", ended(0)), Remains.NOTHING, False),
        (pod("Failed", ended(1), ended(137, name="proxy")), Remains.NOTHING, False),
        (pod("Running", ended(0), SIDE), Remains.RUNNING, True),
        (pod("Running", ended(1), SIDE), Remains.RUNNING, True),
        (pod("Pending", ended(1), waiting("ImagePullBackOff", name="proxy")), Remains.RUNNING, True),
        (pod("Running", ended(0), SIDE, deleted=True), Remains.ENDING, False),
        (pod("Running", ended(0), init=(SIDE,)), Remains.ENDING, False),
        (pod("Running", ended(0), ended(0, name="proxy")), Remains.ENDING, False),
    ],
)
def test_what_is_left_of_a_pod_whose_attempt_is_over(of: Pod, remains: Remains, alive: bool) -> None:
    seen = report(of, 1)
    assert isinstance(seen, AttemptObserved)
    assert (seen.remains, is_alive(of)) == (remains, alive)
    assert (seen.grace > 0) is (remains is not Remains.NOTHING)


def test_a_sidecar_that_ran_out_of_memory_is_no_failure_of_its_task() -> None:
    for of in (pod("Succeeded", ended(0), ended(137, "OOMKilled", name="proxy")), pod("Failed", ended(0), reason="x")):
        assert _verdict(of) == (AttemptPhase.SUCCEEDED, None)
