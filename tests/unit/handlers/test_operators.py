"""Tasks that operators run: what becomes of their resources' statuses, and which resources they ask for."""

from __future__ import annotations

import base64
from typing import Any, get_args

import msgspec
import pytest

from propeller.config import OperatorName
from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins import POD, load_plugins
from propeller.handlers.plugins.operators import OPERATORS
from propeller.workflow import AttemptPhase, Remains
from tests.unit.handlers.build import literals
from tests.unit.handlers.operator_tasks import ELASTIC, SETTINGS, TASKS, Json, built, node_of, plugin_of, plugins

PENDING, RUNNING, SUCCEEDED, FAILED = (
    AttemptPhase.PENDING,
    AttemptPhase.RUNNING,
    AttemptPhase.SUCCEEDED,
    AttemptPhase.FAILED,
)
KUBEFLOW = ("pytorch", "tensorflow", "mpi")


def observed(task_type: str, status: Json) -> Any:
    plugin = plugin_of(task_type)
    body = {"metadata": {"name": "e-n0-0", "namespace": "ns"}, "status": status}
    return plugin.observe(msgspec.convert(body, plugin.resource.type), 1)


def conditions(*types: str, **fields: Any) -> Json:
    """True ones, a second apart; the last one has these fields."""
    found = [
        {"type": one, "status": "True", "lastTransitionTime": f"2026-01-01T00:00:{number:02}Z"}
        for number, one in enumerate(types)
    ]
    return {"conditions": [*found[:-1], {**found[-1], **fields}]}


@pytest.mark.parametrize("task_type", KUBEFLOW)
@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ({}, PENDING),
        ({"conditions": None}, PENDING),
        (conditions("Created"), PENDING),
        (conditions("Created", "Running"), RUNNING),
        (conditions("Created", "Running", "Restarting"), RUNNING),
        (conditions("Created", "Suspended"), PENDING),
        (conditions("Created", "Suspended", "Running"), RUNNING),
        (conditions("Created", "Running", "Succeeded"), SUCCEEDED),
        (conditions("Created", "Running", "Failed"), FAILED),
        (conditions("Created", "SomethingNew"), PENDING),
    ],
)
def test_a_training_job_is_as_far_as_its_latest_condition_says(
    task_type: str, status: Json, phase: AttemptPhase
) -> None:
    assert observed(task_type, status).phase is phase


def test_of_two_conditions_of_one_second_the_last_one_counts() -> None:
    same = {"status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    assert (
        observed("pytorch", {"conditions": [{"type": "Created", **same}, {"type": "Running", **same}]}).phase is RUNNING
    )


@pytest.mark.parametrize(
    ("task_type", "status"),
    [
        ("mpi", conditions("Created", "Suspended")),
        ("kubernetes-job", conditions("Suspended")),
        ("ray", {"jobDeploymentStatus": "Suspended"}),
        ("spark", {"applicationState": {"state": "SUSPENDED"}}),
    ],
)
def test_what_is_suspended_is_held_back_and_not_stuck(task_type: str, status: Json) -> None:
    assert observed(task_type, status).gated
    assert not observed(task_type, {}).gated


@pytest.mark.parametrize("end", ["Succeeded", "Failed"])
@pytest.mark.parametrize(("active", "remains"), [(0, Remains.NOTHING), (2, Remains.RUNNING)])
def test_a_training_job_that_has_ended_is_deleted_if_pods_of_it_still_run(
    end: str, active: int, remains: Remains
) -> None:
    status = {**conditions("Running", end), "replicaStatuses": {"Worker": {"active": active}, "Master": None}}
    assert observed("pytorch", status).remains is remains


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("", PENDING),
        ("Initializing", PENDING),
        ("Suspending", PENDING),
        ("Suspended", PENDING),
        ("Retrying", PENDING),
        ("Running", RUNNING),
        ("Complete", SUCCEEDED),
        ("Failed", FAILED),
        ("ValidationFailed", FAILED),
        ("SomethingNew", PENDING),
    ],
)
def test_a_ray_job_is_as_far_as_its_deployment(status: str, phase: AttemptPhase) -> None:
    assert observed("ray", {"jobDeploymentStatus": status}).phase is phase


@pytest.mark.parametrize(
    ("status", "phase", "remains"),
    [
        ({}, PENDING, Remains.NOTHING),
        ({"active": 2}, PENDING, Remains.NOTHING),
        ({"active": 2, "ready": 1}, RUNNING, Remains.NOTHING),
        ({"active": 1, "succeeded": 3}, RUNNING, Remains.NOTHING),
        ({"active": 1, **conditions("Suspended")}, PENDING, Remains.NOTHING),
        ({"ready": 1, **conditions("SuccessCriteriaMet")}, RUNNING, Remains.NOTHING),
        ({"ready": 1, **conditions("FailureTarget")}, RUNNING, Remains.NOTHING),
        ({"succeeded": 4, **conditions("SuccessCriteriaMet", "Complete")}, SUCCEEDED, Remains.NOTHING),
        ({"succeeded": 3, "terminating": 1, **conditions("Complete")}, SUCCEEDED, Remains.RUNNING),
        ({"active": 1, **conditions("FailureTarget", "Failed")}, FAILED, Remains.RUNNING),
    ],
)
def test_a_job_of_kubernetes_is_as_far_as_its_conditions_say(
    status: Json, phase: AttemptPhase, remains: Remains
) -> None:
    seen = observed("kubernetes-job", status)
    assert (seen.phase, seen.remains) == (phase, remains)


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("", PENDING),
        ("SUBMITTED", PENDING),
        ("PENDING_SUBMISSION", PENDING),
        ("SUSPENDED", PENDING),
        ("RUNNING", RUNNING),
        ("SUCCEEDING", RUNNING),
        ("FAILING", RUNNING),
        ("COMPLETED", SUCCEEDED),
        ("FAILED", FAILED),
        ("SUBMISSION_FAILED", FAILED),
    ],
)
def test_a_spark_application_is_in_the_state_that_it_names(status: str, phase: AttemptPhase) -> None:
    assert observed("spark", {"applicationState": {"state": status, "errorMessage": "why"}}).phase is phase


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("", PENDING),
        ("JobCreated", PENDING),
        ("ClusterCreated", PENDING),
        ("Running", RUNNING),
        ("Successful", SUCCEEDED),
        ("Failed", FAILED),
    ],
)
def test_a_dask_job_is_in_the_state_that_it_names(status: str, phase: AttemptPhase) -> None:
    assert observed("dask", {"jobStatus": status}).phase is phase


@pytest.mark.parametrize(
    ("task_type", "status", "kind", "recoverable", "said"),
    [
        ("mpi", conditions("Failed", reason="R", message="M"), ErrorKind.USER, True, "the job failed: R - M"),
        ("dask", {"jobStatus": "Failed"}, ErrorKind.USER, True, "its operator gave no reason"),
        (
            "kubernetes-job",
            conditions("Failed", reason="BackoffLimitExceeded", message="the limit"),
            ErrorKind.USER,
            True,
            "the Job failed: BackoffLimitExceeded - the limit",
        ),
        ("kubernetes-job", conditions("Failed", reason="PodFailurePolicy"), ErrorKind.USER, False, "PodFailurePolicy"),
        (
            "spark",
            {"applicationState": {"state": "FAILED", "errorMessage": "driver gone"}},
            ErrorKind.USER,
            True,
            "failed: driver gone",
        ),
        ("ray", {"jobDeploymentStatus": "Failed", "reason": "AppFailed"}, ErrorKind.USER, False, "failed: AppFailed"),
        (
            "ray",
            {"jobDeploymentStatus": "Failed", "reason": "JobDeploymentStatusTransitionGracePeriodExceeded"},
            ErrorKind.SYSTEM,
            True,
            "GracePeriodExceeded",
        ),
    ],
)
def test_a_failure_says_why_and_whose_budget_another_attempt_is_on(
    task_type: str, status: Json, kind: ErrorKind, recoverable: bool, said: str
) -> None:
    failure = observed(task_type, status).failure
    assert (failure.kind, failure.recoverable, failure.attempt) == (kind, recoverable, 1)
    assert said in failure.message


def containers(template: Json) -> dict[str, Json]:
    return {one["name"]: one for one in template["spec"]["containers"]}


def test_parts_have_their_own_image_and_resources_and_the_others_the_tasks() -> None:
    parts = built("pytorch")["spec"]["pytorchReplicaSpecs"]
    master, worker = (containers(parts[part]["template"])["pytorch"] for part in ("Master", "Worker"))
    assert (parts["Master"]["replicas"], parts["Worker"]["replicas"]) == (1, 3)
    assert (master["image"], worker["image"]) == ("image:1", "own:2")
    assert master["resources"]["limits"]["cpu"] == "1500m"
    assert worker["resources"] == {"requests": {"cpu": "4"}, "limits": {"cpu": "8"}}
    assert master["args"] == worker["args"] != []
    assert parts["Worker"]["restartPolicy"] == "Never"


def test_the_pods_of_a_resource_are_not_taken_for_attempts() -> None:
    for task_type in TASKS:
        metadata = built(task_type)["metadata"]
        assert metadata["name"] == "e-n0-0"
        assert metadata["annotations"]["propeller/attempt"] == "0"
    template = built("pytorch")["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["metadata"]
    assert not [name for name in template["annotations"] if name.startswith("propeller/")]


def test_an_elastic_job_has_workers_alone() -> None:
    spec = built("pytorch", TASKS["pytorch"] | {"elasticConfig": ELASTIC})["spec"]
    assert set(spec["pytorchReplicaSpecs"]) == {"Worker"}
    assert spec["elasticPolicy"]["nProcPerNode"] == 2


@pytest.mark.parametrize(
    ("task_type", "custom", "field", "parts"),
    [
        ("pytorch", {"workers": 2}, "pytorchReplicaSpecs", {"Master": 1, "Worker": 2}),
        ("tensorflow", {"workers": 2, "psReplicas": 1}, "tfReplicaSpecs", {"PS": 1, "Worker": 2}),
        ("mpi", {"numWorkers": 2, "slots": 4}, "mpiReplicaSpecs", {"Launcher": 1, "Worker": 2}),
    ],
)
def test_the_first_form_of_a_training_task_runs_as_well(
    task_type: str, custom: Json, field: str, parts: dict[str, int]
) -> None:
    found = built(task_type, custom, version=0, config={"worker_spec_command": "sleep 1"})["spec"][field]
    assert {name: part["replicas"] for name, part in found.items()} == parts
    if task_type == "mpi":
        assert containers(found["Worker"]["template"])["mpi"]["args"] == ["sleep", "1"]


def test_a_ray_group_has_what_its_author_says_of_its_pods() -> None:
    cluster = built("ray")["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]
    assert head["spec"]["nodeSelector"] == {"pool": "big"}
    assert head["metadata"]["labels"]["team"] == "a"
    variables = {one["name"]: one.get("value") for one in containers(head)["ray-head"]["env"]}
    assert (variables["A"], variables["C"]) == ("B", "D")
    small, _ = cluster["workerGroupSpecs"]
    assert (small["minReplicas"], small["replicas"], small["maxReplicas"]) == (1, 2, 5)


def test_the_command_of_a_ray_job_keeps_its_arguments_apart() -> None:
    assert built("ray")["spec"]["entrypoint"].endswith("'a b'")


@pytest.mark.parametrize(
    ("task_type", "custom", "message"),
    [
        ("pytorch", {"workerReplicas": {}}, "number of workers must be greater than 0, and is 0"),
        ("tensorflow", {"psReplicas": {"replicas": 1}}, "number of workers"),
        ("mpi", {"launcherReplicas": {}}, "number of workers"),
        ("dask", {"workers": {}}, "number of workers"),
        ("kubernetes-job", {"completions": 0}, r"Task, as fields of a Job: Expected `int` >= 1 - at `\$.completions`"),
        ("kubernetes-job", {"parallelism": 10_001}, "`int` <= 10000"),
        ("kubernetes-job", {"template": {}}, "unknown field `template`"),
        ("kubernetes-job", {"completionMode": "Indexed"}, "completionMode Indexed needs completions"),
        ("pytorch", {"workerReplicas": 7}, "custom of task mod.Task is no DistributedPyTorchTrainingTask"),
        ("spark", {}, "needs its main_application_file or main_class"),
        (
            "ray",
            {"rayCluster": {"headGroupSpec": {"k8sPod": {"podSpec": {"hostNetwork": True}}}}},
            "hostNetwork",
        ),
        (
            "ray",
            {"rayCluster": {"headGroupSpec": {"k8sPod": {"podSpec": {"containers": [{"name": "head"}]}}}}},
            "names 'head', and the part has ray-head",
        ),
        ("ray", {"rayCluster": {"workerGroupSpec": [{"groupName": "a"}]}}, "workers of group a must be greater"),
        ("ray", {"runtimeEnv": "%%"}, "no JSON in Base64"),
        ("ray", {"runtimeEnv": "é"}, "no JSON in Base64"),
        ("ray", {"runtimeEnv": base64.b64encode(b"[" * 400 + b"]" * 400).decode()}, "no JSON in Base64"),
        (
            "pytorch",
            {"workerReplicas": {"replicas": 1, "resources": {"requests": [{"name": "CPU", "value": "x"}]}}},
            "cpu",
        ),
    ],
)
def test_what_cannot_be_run_names_the_field(task_type: str, custom: Json, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        built(task_type, custom)


def test_a_version_of_a_type_that_is_not_known_is_refused() -> None:
    with pytest.raises(Invalid, match="version 7, and versions 0 and 1 are known"):
        built("mpi", version=7)


def test_a_name_that_is_too_long_for_its_operator_is_refused() -> None:
    with pytest.raises(Invalid, match="has 50 characters, and its operator accepts 47"):
        plugin_of("ray").build(node_of("ray", name="x" * 45), 0, literals(), SETTINGS)


def test_each_name_that_the_setting_takes_is_an_operator() -> None:
    assert set(get_args(OperatorName)) == OPERATORS.keys() == TASKS.keys()


def test_nothing_is_enabled_unless_it_is_named() -> None:
    assert list(load_plugins(())) == [POD]
    assert [plugin.task_types for plugin in plugins("ray", "ray")] == [POD.task_types, frozenset({"ray"})]


def test_the_gpus_of_a_ray_autoscaler_are_those_of_the_platform() -> None:
    """Regression: they were always nvidia.com/gpu, so that the autoscaler waited for GPUs that no node has."""
    resources = {"limits": [{"name": "GPU", "value": "1"}]}
    custom = {
        **TASKS["ray"],
        "rayCluster": {**TASKS["ray"]["rayCluster"], "autoscalerOptions": {"resources": resources}},
    }
    amd = msgspec.structs.replace(
        SETTINGS, defaults=msgspec.structs.replace(SETTINGS.defaults, gpu_resource="amd.com/gpu")
    )
    made = plugin_of("ray").build(node_of("ray", custom), 0, literals(), amd)
    assert made["spec"]["rayClusterSpec"]["autoscalerOptions"]["resources"]["limits"] == {"amd.com/gpu": "1"}
