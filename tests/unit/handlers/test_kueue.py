"""Pods as Kueue 0.17 makes them: what their state says, and which queue admits them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from propeller.config import KueueOptions, KueueQueue
from propeller.errors import ErrorKind
from propeller.handlers.plugins import PodSettings
from propeller.handlers.plugins.pod import build_pod, grace_of, has_ended, is_alive, report
from propeller.kube import Pod
from propeller.workflow import AttemptPhase, Remains
from tests.unit.handlers.build import World, graph, literals, task, template
from tests.unit.handlers.pods import ended, pod

LABEL = "kueue.x-k8s.io/queue-name"
PREBUILT = "kueue.x-k8s.io/prebuilt-workload-name"
GATED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "non-empty scheduling gates",
}
TAKEN_BACK = {
    "type": "TerminationTarget",
    "status": "True",
    "reason": "WorkloadEvicted",
    "message": "Preempted to accommodate a workload",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def gated(*gates: str, queue: str = "team-ml", **fields: Any) -> Pod:
    found: dict[str, Any] = msgspec.to_builtins(pod("Pending", **{"conditions": [GATED], **fields}))
    found["metadata"]["labels"] = {LABEL: queue} if queue else {}
    found["spec"]["schedulingGates"] = [{"name": name} for name in gates or ("kueue.x-k8s.io/admission",)]
    return msgspec.convert(found, Pod)


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (gated(), "waits for Kueue: LocalQueue team-ml"),
        (gated("kueue.x-k8s.io/topology", "kueue.x-k8s.io/admission"), "waits for Kueue: LocalQueue team-ml"),
        (gated(queue=""), "waits for Kueue"),
        (gated("kueue.x-k8s.io/topology"), "waits for scheduling gates: kueue.x-k8s.io/topology"),
        (gated("a.b/c", "d"), "waits for scheduling gates: a.b/c, d"),
        (gated(*"abcdefg"), "waits for scheduling gates: a, b, c, d, e, ..."),
    ],
)
def test_a_gated_pod_waits_and_says_for_what(of: Pod, why: str) -> None:
    seen = report(of, 1)
    assert (seen.phase, seen.gated, seen.reason, seen.failure) == (AttemptPhase.PENDING, True, why, None)
    assert is_alive(of)
    assert not has_ended(of)
    assert grace_of(of) == 0.0, "none of its containers has begun"


def test_the_names_of_gates_are_bounded() -> None:
    assert len(report(gated(*(f"{letter * 253}/{letter * 63}" for letter in "abcdef")), 1).reason) <= 300


def test_a_gated_pod_that_is_deleted_has_ended_whoever_keeps_its_object() -> None:
    of = gated(deleted=True, grace=0)
    seen = report(of, 1)
    assert seen.failure is not None
    assert (seen.phase, seen.remains, seen.failure.kind) == (AttemptPhase.FAILED, Remains.NOTHING, ErrorKind.SYSTEM)
    assert not seen.failure.evicted, "somebody has deleted it"
    assert has_ended(of)
    assert not is_alive(of)


@pytest.mark.parametrize(
    "of",
    [
        pod("Failed", ended(143, "Error"), deleted=True, conditions=[TAKEN_BACK]),
        pod("Failed", ended(137, "Error"), deleted=True, conditions=[TAKEN_BACK]),
        pod("Failed", deleted=True, conditions=[TAKEN_BACK]),
        gated(deleted=True, conditions=[GATED, {**TAKEN_BACK, "reason": "WorkloadDeleted"}]),
    ],
)
def test_a_pod_that_kueue_takes_back_is_evicted(of: Pod) -> None:
    failure = report(of, 1).failure
    assert failure is not None
    assert (failure.code, failure.kind, failure.recoverable, failure.evicted) == (
        "Interrupted",
        ErrorKind.SYSTEM,
        True,
        True,
    )
    assert "Preempted to accommodate a workload" in failure.message


@pytest.mark.parametrize(
    ("of", "code"),
    [
        (pod("Failed", ended(1, "Error"), conditions=[{**TAKEN_BACK, "status": "False"}]), "Error"),
        (pod("Failed", ended(1, "Error", at="2025-12-31T23:59:58Z"), deleted=True, conditions=[TAKEN_BACK]), "Error"),
        (pod("Failed", ended(137, "OOMKilled", at="2025-12-31T23:59:58Z"), conditions=[TAKEN_BACK]), "OOMKilled"),
        (pod("Failed", ended(143, "Error"), deleted=True), "UnexpectedObjectDeletion"),
    ],
)
def test_what_ended_by_itself_before_was_not_evicted(of: Pod, code: str) -> None:
    failure = report(of, 1).failure
    assert failure is not None
    assert (failure.code, failure.evicted) == (code, False)


def test_a_task_that_ended_well_while_kueue_took_its_pod_back_has_succeeded() -> None:
    of = pod("Running", ended(0), deleted=True, conditions=[TAKEN_BACK])
    assert report(of, 1).phase is AttemptPhase.SUCCEEDED


def labels_of(options: KueueOptions, own: dict[str, str] | None = None, **labels: str) -> dict[str, str]:
    of_task = template(metadata={"metadata": {"labels": own or {}}})
    world = World(graph(task("n0")), {"t": of_task}, labels={"project": "ml", "domain": "production", **labels})
    settings = PodSettings(raw_output_prefix="s3://raw", kueue=options)
    found: dict[str, str] = build_pod(world.node("n0"), 0, literals(), settings)["metadata"]["labels"]
    return found


@pytest.mark.parametrize(
    ("queues", "queue"),
    [
        ((), None),
        ((KueueQueue(queue="all"),), "all"),
        ((KueueQueue(project="ml", queue="team"),), "team"),
        ((KueueQueue(project="other", queue="team"),), None),
        ((KueueQueue(queue="all"), KueueQueue(project="ml", domain="production", queue="nightly")), "nightly"),
        ((KueueQueue(queue="all"), KueueQueue(project="ml", domain="staging", queue="nightly")), "all"),
        ((KueueQueue(queue="all"), KueueQueue(project="ml", queue="")), None),
    ],
)
def test_the_last_mapping_that_matches_names_the_queue(queues: tuple[KueueQueue, ...], queue: str | None) -> None:
    assert labels_of(KueueOptions(queues=queues)).get(LABEL) == queue


def test_a_task_of_a_mapped_project_cannot_choose_another_queue_nor_anothers_admission() -> None:
    mine = {LABEL: "boss", PREBUILT: "boss-workload", "kueue.x-k8s.io/priority-class": "high"}
    mapped = KueueOptions(queues=(KueueQueue(project="ml", queue="team"),))
    found = labels_of(mapped, mine, **{LABEL: "boss"})
    assert (found[LABEL], found.get(PREBUILT)) == ("team", None)
    assert found["kueue.x-k8s.io/priority-class"] == "high"
    assert labels_of(KueueOptions(), mine)[LABEL] == "boss", "without a mapping labels are the author's"


@pytest.mark.parametrize("name", ["Team", "a b", "-a", "a-", "a" * 64, "a/b"])
def test_a_queue_that_cannot_exist_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a LocalQueue"):
        KueueQueue(queue=name)
