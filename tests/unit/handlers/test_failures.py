"""Each row of docs/failures.md happens as it says: code, kind, and whose retries the next attempt is taken from."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.config import LaunchOptions
from propeller.controller._failover import CODE
from propeller.dataloader import UPLOAD_FAILED, error_document
from propeller.errors import ErrorKind
from propeller.handlers.executors._outcome import collect
from propeller.handlers.plugins.pod import gone, report
from propeller.handlers.plugins.pod._dataloader import DOWNLOADER, UPLOADER
from propeller.handlers.transitions._attempts import attempt_failed
from propeller.handlers.transitions._task import task_transition
from propeller.kube import Pod, Response
from propeller.workflow import (
    AttemptObserved,
    AttemptOptions,
    EffectFailed,
    Expired,
    Fail,
    Failure,
    Launch,
    Launching,
    Lost,
    NodePhase,
    NodeView,
    Running,
    StartAttempt,
    Stay,
    TimerFired,
)
from tests.unit.handlers.build import World, graph, task, template
from tests.unit.handlers.failure_table import Row, failure_table
from tests.unit.handlers.other_failures import NO_PODS
from tests.unit.handlers.pods import ended, pod, waiting
from tests.unit.handlers.test_act import Bench, invalid
from tests.unit.handlers.test_refusals import Launcher, answer

NOW = 1767225600.0 + 86400
"""A day after the pods of these tests were made."""

EARLIER = "2026-01-01T00:00:00Z"
NODE_FULL = "Node didn't have enough resource"


def disrupted(reason: str, message: str = "") -> dict[str, Any]:
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}


def stopped(reason: str, **fields: Any) -> Pod:
    """A pod that was told to stop, and has by that."""
    return pod("Running", ended(143, "Error", at="2026-01-01T00:00:10Z"), deleted=True, **fields, reason=reason)


def scheduled(status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {
        "type": "PodScheduled",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": EARLIER,
    }


PODS: dict[str, Pod] = {
    "the container exits with a code over 0": pod("Failed", ended(3, "Error", "log of the task")),
    "the command cannot be executed or is not found (exit code 126, 127)": pod("Failed", ended(127, "Error")),
    "the container runtime cannot start the command": pod("Failed", ended(128, "StartError", "exec: no such file")),
    "a signal ends the container, other than SIGKILL (exit code 139 is SIGSEGV)": pod("Failed", ended(139, "Error")),
    "SIGKILL ends the container (exit code 137, or 247), and nobody says why": pod("Failed", ended(137, "Error")),
    "the container is killed as it uses more memory than its limit": pod("Failed", ended(137, "OOMKilled")),
    "an init container fails": pod(
        "Failed", waiting("PodInitializing"), init=(ended(1, "Error", "log of the task", name="init"),)
    ),
    "an init container is killed as it uses more memory than its limit": pod(
        "Failed", waiting("PodInitializing"), init=(ended(137, "OOMKilled", name="init"),)
    ),
    "the program of a raw container exits with a code over 0, and wrote `_ERROR`, whose text is the message": pod(
        "Failed", ended(3, "Error", "log"), init=(ended(4, "Error", "User Error: no rain", name=UPLOADER),)
    ),
    "inputs of a raw container cannot be files: a name, a blob that is not there, a limit": pod(
        "Failed",
        waiting("PodInitializing"),
        init=(ended(2, "Error", "error: an input is named '../x'", name=DOWNLOADER),),
    ),
    "inputs of a raw container are not downloaded: the object store does not answer, or not in time": pod(
        "Failed", waiting("PodInitializing"), init=(ended(3, "Error", "error: no answer from", name=DOWNLOADER),)
    ),
    "outputs of a raw container are not uploaded: the object store does not answer, or not in time": pod(
        "Succeeded", ended(0), init=(ended(3, "Error", "error: no answer from", name=UPLOADER),)
    ),
    "the kubelet evicts the pod, as its node lacks memory or disk": pod(
        "Failed", ended(137, "Error"), reason="Evicted", message="The node was low on resource: memory."
    ),
    "the kubelet preempts the pod for a critical one": pod(
        "Failed", ended(143, "Error"), reason="Preempting", message="Preempted in order to admit critical pod"
    ),
    "the scheduler preempts the pod for one of higher priority": stopped(
        "", conditions=[disrupted("PreemptionByScheduler", "preempting to accommodate a higher priority pod")]
    ),
    "the pod is evicted by the API, such as by `kubectl drain`": stopped(
        "", conditions=[disrupted("EvictionByEvictionAPI", "Eviction API: evicting")]
    ),
    "the node shuts down": pod(
        "Failed", ended(137, "Error"), reason="Terminated", message="Pod was terminated in response to node shutdown."
    ),
    "the node was away, and does not know any more how the container ended (ContainerStatusUnknown)": pod(
        "Failed", ended(137, "ContainerStatusUnknown", "The container could not be located when the pod was terminated")
    ),
    "a pod that is disrupted has a container that was killed for its memory": pod(
        "Failed", ended(137, "OOMKilled"), conditions=[disrupted("DeletionByTaintManager")]
    ),
    "the node is lost, and the pod is marked as disrupted": pod(
        "Failed", conditions=[disrupted("DeletionByPodGC", "PodGC: node no longer exists")]
    ),
    "somebody deletes the pod, and it ends by that": stopped(""),
    "its queue takes the pod back (Kueue)": stopped(
        "", conditions=[{"type": "TerminationTarget", "status": "True", "reason": "Preempted", "message": "by Kueue"}]
    ),
    "the node has too many pods (OutOfpods)": pod("Failed", reason="OutOfpods", message=NODE_FULL),
    "the node has too little CPU (OutOfcpu)": pod("Failed", reason="OutOfcpu", message=NODE_FULL),
    "the node has too little memory (OutOfmemory)": pod("Failed", reason="OutOfmemory", message=NODE_FULL),
    "the node has too little of another resource (OutOfnvidia.com/gpu)": pod(
        "Failed", reason="OutOfnvidia.com/gpu", message=NODE_FULL
    ),
    "the node cannot align the pod's resources (TopologyAffinityError)": pod("Failed", reason="TopologyAffinityError"),
    "the node cannot admit the pod (UnexpectedAdmissionError)": pod("Failed", reason="UnexpectedAdmissionError"),
    "the node's labels do not fit (NodeAffinity)": pod("Failed", reason="NodeAffinity"),
    "the pod fails, no container has failed, and the reason is unknown or missing": pod("Failed", reason="NewReason"),
    "the pod's own `activeDeadlineSeconds` are over": pod("Failed", reason="DeadlineExceeded", message="was active"),
}

STARTS: dict[str, Pod] = {
    "the image cannot be pulled for 3 minutes since the pod has a node (`attempts.start_grace`)": pod(
        "Pending", waiting("ImagePullBackOff", "Back-off pulling image"), conditions=[scheduled("True")]
    ),
    "the registry limits pulls (429)": pod(
        "Pending", waiting("ImagePullBackOff", "429 Too Many Requests"), conditions=[scheduled("True")]
    ),
    "the image's name is malformed": pod("Pending", waiting("InvalidImageName"), conditions=[scheduled("True")]),
    "the image is not on the node, and may not be pulled": pod(
        "Pending", waiting("ErrImageNeverPull"), conditions=[scheduled("True")]
    ),
    "a ConfigMap or Secret that the container needs is missing": pod(
        "Pending", waiting("CreateContainerConfigError", 'secret "s" not found'), conditions=[scheduled("True")]
    ),
    "the container cannot be created for 3 minutes since the pod has a node": pod(
        "Pending", waiting("CreateContainerError"), conditions=[scheduled("True")]
    ),
    "the container does not start, for another reason": pod(
        "Pending", waiting("RunContainerError"), conditions=[scheduled("True")]
    ),
    **{
        what: pod("Pending", waiting(reason), conditions=[scheduled("True")])
        for what, reason in {
            "a hook of the container fails as it starts": "PostStartHookError",
            "the signature of the image is not accepted": "SignatureValidationFailed",
            "the registry does not answer": "RegistryUnavailable",
            "the node cannot read its copy of the image": "ImageInspectError",
        }.items()
    },
    "no node is found for the pod for longer than `attempts.pending_limit`": pod(
        "Pending", conditions=[scheduled("False", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")]
    ),
    "the pod has a node, and does not start for longer than `attempts.pending_limit`": pod(
        "Pending", waiting("ContainerCreating"), conditions=[scheduled("True")]
    ),
}
"""Pods that do not start, at a time when none of them is waited for any more."""

TRANSITIONS: dict[str, tuple[dict[str, Any], Running | Launching]] = {
    "the node is lost, and the pod does not stop after its deletion": (
        {},
        Running(1, NOW - 60, started=True, until=NOW),
    ),
    "the task's timeout is over (`@task(timeout=)`)": ({"executionDeadline": "10s"}, Running(1, NOW - 60)),
    "the node's active deadline is over": ({"activeDeadline": "10s"}, Running(1, NOW - 60)),
}
"""Fields of nodes, and states, whose time is over."""

LAUNCHES: dict[str, Response] = {
    "the API server finds the pod invalid": invalid("spec.containers[0].image"),
    "the pod is too large for the API server": answer(413, "RequestEntityTooLarge", "Request entity too large: limit"),
    "a webhook, a policy or RBAC denies the pod for longer than `launches.limit` (until then it waits: "
    "[refusals.md](refusals.md))": answer(400, "", 'admission webhook "a.b.c" denied the request: no'),
}

OTHERS = {
    "outputs of a raw container are missing, of another type or over a limit, or it wrote `_ERROR` and exits with 0",
    "the pod is gone before its end was seen",
    "the task asks for what the policy for pods forbids, or its pod cannot be built",
    "the cluster of the attempt is given up ([routing.md](routing.md))",
}


def node_of(retries: int = 0, **fields: Any) -> NodeView:
    """A node with that many retries, in its attempt 1, which is the last one that any budget of 1 allows."""
    world = World(graph(task("n0", retry={"minAttempts": 1 + retries}, **fields)), {"t": template()})
    found = world.node("n0")
    world.execution.phases[found.number] = NodePhase.RUNNING
    world.execution.attempts[found.number] = 1
    world.execution.settings = AttemptOptions(system_retries=1, pending_limit=600.0)
    return found


def retries_of(failure: Failure) -> str:
    """Whose retries the next attempt is taken from: the one budget that has to be left for it."""
    exhausted = node_of()
    exhausted.execution.system_failures[exhausted.number] = 1
    if isinstance(attempt_failed(exhausted, 1, failure, NOW), StartAttempt):
        return "free"
    of_task = node_of(retries=2)
    of_task.execution.system_failures[of_task.number] = 1
    if isinstance(attempt_failed(of_task, 1, failure, NOW), StartAttempt):
        return "task"
    return "system" if isinstance(attempt_failed(node_of(), 1, failure, NOW), StartAttempt) else "none"


def failure_in(seen: AttemptObserved) -> Failure:
    """What the transition makes of an observation: the failure that it ends the attempt with, with all budgets left."""
    found = task_transition(node_of(retries=5), Running(1, NOW - 3600, started=False), seen, NOW)
    assert isinstance(found, Fail | StartAttempt), found
    assert found.failure is not None
    return found.failure


async def happens(what: str) -> Failure:
    """Make it happen; return the failure of the attempt."""
    if what in PODS:
        return failure_in(report(PODS[what], 1))
    if what in STARTS:
        return failure_in(report(STARTS[what], 1))
    if what in TRANSITIONS:
        return _over(*TRANSITIONS[what])
    if what in LAUNCHES:
        return await _launched(LAUNCHES[what])
    if what.startswith("outputs of a raw container are missing"):
        return await _uploaded_error()
    if what in NO_PODS:
        return await NO_PODS[what]()
    if what.startswith("the cluster of the attempt is given up"):
        return _given_up()
    if what == "the pod is gone before its end was seen":
        return failure_in(gone(1, "e-n0-1"))
    of = Bench(graph(task("n0")), {"t": template(k8sPod={"podSpec": HOST_NETWORK}, config=MAIN)})
    (event,) = await of.do(Launch, 0)
    assert isinstance(event, EffectFailed)
    return event.failure


HOST_NETWORK = {"hostNetwork": True, "containers": [{"name": "main", "image": "i"}]}
MAIN = {"primary_container_name": "main"}


def _given_up() -> Failure:
    """As `controller/_failover.py` tells it; tests/integration/clusters loses real ones."""
    failure = Failure(CODE, "cluster a is unhealthy", ErrorKind.SYSTEM, recoverable=True, attempt=1, evicted=True)
    found = task_transition(node_of(), Running(1, NOW - 60, started=True), Lost(1, failure), NOW)
    assert isinstance(found, StartAttempt)
    assert found.failure is not None
    return found.failure


async def _uploaded_error() -> Failure:
    of = World(graph(task("n0")), {"t": template(outputs=("o0",))})
    document = error_document("output 'o0' is missing", UPLOAD_FAILED, system=False, recoverable=True)
    directory = of.execution.output_directory(of.node("n0").number, 1)
    await of.storage.write(f"{directory}/error.pb", document.SerializeToString())
    found = await collect(of.node("n0"), 1, of.storage, of.launch_plans)
    assert isinstance(found, EffectFailed)
    return found.failure


def _over(fields: dict[str, Any], state: Running | Launching) -> Failure:
    of = node_of(retries=5, **fields)
    of.execution.started[of.number] = NOW - 3600 - of.execution.created_at
    event: Any = TimerFired()
    for _ in range(3):
        found = task_transition(of, state, event, NOW)
        if isinstance(found, Fail | StartAttempt):
            assert found.failure is not None
            return found.failure
        assert isinstance(found, Stay), found
        event = Expired(state.attempt)
    raise AssertionError("nothing is over")


async def _launched(refusal: Response) -> Failure:
    of = Launcher(launches=LaunchOptions(limit=60.0))
    while True:
        (event,) = await of.launch(refusal)
        if isinstance(event, EffectFailed):
            return event.failure
        of.hear(event)
        of.clock.time += event.after
        of.hear(TimerFired())


def test_every_row_of_the_table_is_made_to_happen() -> None:
    assert failure_table().keys() == {*PODS, *STARTS, *TRANSITIONS, *LAUNCHES, *NO_PODS, *OTHERS}


@pytest.mark.parametrize("what", failure_table())
async def test_a_failure_is_read_as_the_table_says(what: str) -> None:
    failure = await happens(what)
    assert Row(failure.code, failure.kind.value, retries_of(failure)) == failure_table()[what]
    assert failure.message


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("the container exits with a code over 0", ["[main]", "exit code (3)", "log of the task"]),
        (
            "the program of a raw container exits with a code over 0, and wrote `_ERROR`, whose text is the message",
            ["User Error: no rain\n[main]", "exit code (3)", "log"],
        ),
        ("an init container fails", ["[init]", "exit code (1)", "log of the task"]),
        ("the command cannot be executed or is not found (exit code 126, 127)", ["the command was not found"]),
        ("a signal ends the container, other than SIGKILL (exit code 139 is SIGSEGV)", ["(139), signal SIGSEGV"]),
        ("the container is killed as it uses more memory than its limit", ["Resources(mem=...)"]),
        ("the kubelet evicts the pod, as its node lacks memory or disk", ["Evicted: The node was low on resource"]),
        (
            "the scheduler preempts the pod for one of higher priority",
            ["DisruptionTarget: PreemptionByScheduler: preempting to accommodate"],
        ),
        ("the node is lost, and the pod is marked as disrupted", ["DeletionByPodGC", "node no longer exists"]),
        (
            "no node is found for the pod for longer than `attempts.pending_limit`",
            ["600 s (attempts.pending_limit)", "Unschedulable: 0/3 nodes are available"],
        ),
        ("a ConfigMap or Secret that the container needs is missing", ["[main]", 'secret "s" not found']),
    ],
)
async def test_the_message_says_what_happened(what: str, words: list[str]) -> None:
    message = (await happens(what)).message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    "of",
    [
        pod("Failed", ended(1, "Error", "connecting with password=hunter2\nrefused")),
        pod("Failed", waiting("PodInitializing"), init=(ended(1, "Error", "password=hunter2 refused", name="init"),)),
        pod("Pending", waiting("ImagePullBackOff", "pulling https://me:hunter2@registry/image: refused")),
    ],
)
def test_what_looks_like_a_credential_is_not_in_the_message(of: Pod) -> None:
    found = report(of, 1).failure
    assert found is not None
    assert "hunter2" not in found.message
    assert "***" in found.message
    assert "refused" in found.message


def test_a_message_is_bounded_and_keeps_its_end() -> None:
    found = report(pod("Failed", ended(1, "Error", "x" * 100_000 + "the last line")), 1).failure
    assert found is not None
    assert len(found.message) <= 16 * 1024
    assert found.message.endswith("the last line")


def test_a_pod_may_be_pending_for_ever_unless_a_limit_is_set() -> None:
    of = node_of()
    of.execution.settings = AttemptOptions()
    for what in ("no node is found for the pod for longer than `attempts.pending_limit`",):
        assert task_transition(of, Running(1, NOW - 3600), report(STARTS[what], 1), NOW) is None


def test_the_time_of_a_pending_pod_counts_from_when_the_scheduler_found_no_node() -> None:
    seen = report(STARTS["no node is found for the pod for longer than `attempts.pending_limit`"], 1)
    since = NOW - 86400
    assert task_transition(node_of(), Launching(1, since - 50), seen, since + 599) == Stay(wakes=(since + 600,))
    assert isinstance(task_transition(node_of(), Launching(1, since - 50), seen, since + 600), StartAttempt)


def test_kinds_are_flytes() -> None:
    assert {row.kind for row in failure_table().values()} == {kind.value for kind in ErrorKind}
