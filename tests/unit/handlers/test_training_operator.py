"""The plugins of examples/training-operator: the jobs that tasks ask for, and what their conditions mean."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from propeller.errors import ErrorKind, Invalid
from propeller.handlers.plugins import PodSettings
from propeller.workflow import AttemptObserved, AttemptPhase, Failure, Remains
from tests.unit.handlers.build import World, graph, literals, task, template

PACKAGE = Path(__file__).parents[3] / "examples" / "training-operator"


@pytest.fixture(scope="module")
def training() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PACKAGE)
        yield importlib.import_module("propeller_training_operator")


def build(plugin: Any, custom: dict[str, Any], version: int = 1) -> dict[str, Any]:
    (task_type,) = plugin.task_types
    of = template(type=task_type, custom=custom, taskTypeVersion=version)
    node = World(graph(task("n0")), {"t": of}).node("n0")
    spec: dict[str, Any] = plugin.build(node, 0, literals(), PodSettings(raw_output_prefix="s3://raw"))["spec"]
    return spec


def container(group: dict[str, Any]) -> dict[str, Any]:
    (found,) = group["template"]["spec"]["containers"]
    return dict(found)


def test_a_pytorch_job_has_a_master_and_its_workers(training: ModuleType) -> None:
    worker = {"common": {"replicas": 3, "restartPolicy": "RESTART_POLICY_ON_FAILURE"}}
    spec = build(training.PYTORCH, {"workerReplicas": worker, "masterReplicas": {"common": {"replicas": 1}}})
    groups = spec["pytorchReplicaSpecs"]
    assert {role: (group["replicas"], group["restartPolicy"]) for role, group in groups.items()} == {
        "Master": (1, "Never"),
        "Worker": (3, "OnFailure"),
    }
    assert {container(group)["name"] for group in groups.values()} == {"pytorch"}, (
        "the name that the operator looks for"
    )
    assert spec["runPolicy"] == {}
    assert "elasticPolicy" not in spec


def test_the_pods_of_a_job_are_not_taken_for_the_attempt(training: ModuleType) -> None:
    spec = build(training.PYTORCH, {"workerReplicas": {"replicas": 1}})
    annotations = spec["pytorchReplicaSpecs"]["Worker"]["template"]["metadata"]["annotations"]
    assert not [name for name in annotations if name.startswith("propeller/")]


def test_an_elastic_job_has_only_workers(training: ModuleType) -> None:
    elastic = {"rdzvBackend": "c10d", "minReplicas": 2, "maxReplicas": 4, "nprocPerNode": 8, "maxRestarts": 1}
    spec = build(training.PYTORCH, {"workerReplicas": {"replicas": 4}, "elasticConfig": elastic})
    assert spec["pytorchReplicaSpecs"].keys() == {"Worker"}
    assert spec["elasticPolicy"] == {
        "rdzvBackend": "c10d",
        "minReplicas": 2,
        "maxReplicas": 4,
        "nProcPerNode": 8,
        "maxRestarts": 1,
    }


def test_a_group_may_have_another_image_and_other_resources(training: ModuleType) -> None:
    cpu = {"requests": [{"name": "CPU", "value": "4"}], "limits": [{"name": "GPU", "value": "1"}]}
    worker = {"common": {"replicas": 1, "image": "trainer:2", "resources": cpu}}
    groups = build(training.PYTORCH, {"workerReplicas": worker})["pytorchReplicaSpecs"]
    own = container(groups["Worker"])
    assert own["image"] == "trainer:2"
    assert own["resources"] == {
        "requests": {"cpu": "4", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "4", "nvidia.com/gpu": "1"},
    }
    assert container(groups["Master"])["image"] != "trainer:2", "a group's overrides are its own"
    assert container(groups["Master"])["resources"] != own["resources"]


def test_a_run_policy_is_passed_on(training: ModuleType) -> None:
    policy = {"cleanPodPolicy": "CLEANPOD_POLICY_ALL", "backoffLimit": 2, "activeDeadlineSeconds": 600}
    spec = build(training.TENSORFLOW, {"workerReplicas": {"replicas": 1}, "runPolicy": policy})
    assert spec["runPolicy"] == {"cleanPodPolicy": "All", "backoffLimit": 2, "activeDeadlineSeconds": 600}


def test_a_tensorflow_job_has_the_roles_with_replicas(training: ModuleType) -> None:
    custom = {"workerReplicas": {"replicas": 2}, "psReplicas": {"replicas": 1}, "chiefReplicas": {"replicas": 0}}
    groups = build(training.TENSORFLOW, custom)["tfReplicaSpecs"]
    assert {role: group["replicas"] for role, group in groups.items()} == {"Worker": 2, "PS": 1}
    assert {container(group)["name"] for group in groups.values()} == {"tensorflow"}


def test_tasks_of_the_older_form_are_read(training: ModuleType) -> None:
    groups = build(training.PYTORCH, {"workers": 2}, version=0)["pytorchReplicaSpecs"]
    assert {role: group["replicas"] for role, group in groups.items()} == {"Master": 1, "Worker": 2}
    groups = build(training.TENSORFLOW, {"workers": 2, "chiefReplicas": 1}, version=0)["tfReplicaSpecs"]
    assert {role: group["replicas"] for role, group in groups.items()} == {"Worker": 2, "Chief": 1}


@pytest.mark.parametrize(
    ("custom", "version", "says"),
    [
        ({}, 1, "needs at least one worker"),
        ({"workers": 0}, 0, "needs at least one worker"),
        ({"workerReplicas": {"replicas": 1001}}, 1, r"workerReplicas\.replicas must be from 0 to 1000, and is 1001"),
        ({"workers": -1}, 0, "workers must be from 0 to 1000, and is -1"),
        ({"workerReplicas": "two"}, 1, "custom of the task is no DistributedPyTorchTrainingTask"),
        (
            {"workerReplicas": {"replicas": 1}, "runPolicy": {"backoffLimit": -2}},
            1,
            r"runPolicy\.backoffLimit must not",
        ),
        ({"workers": 1}, 2, "task_type_version of a PyTorchJob must be 0 or 1, and is 2"),
    ],
)
def test_a_job_of_nonsense_is_the_users_fault(
    training: ModuleType, custom: dict[str, Any], version: int, says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        build(training.PYTORCH, custom, version)


def seen(training: ModuleType, *conditions: tuple[str, str], **replicas: dict[str, int]) -> AttemptObserved:
    listed = [{"type": type_, "status": status, "message": f"it {type_}"} for type_, status in conditions]
    status = {"conditions": listed, "replicaStatuses": replicas}
    plugin = training.PYTORCH
    observed: AttemptObserved = plugin.observe(msgspec.convert({"status": status}, plugin.resource.type), 1)
    return observed


@pytest.mark.parametrize(
    ("conditions", "phase", "gated"),
    [
        ([], AttemptPhase.PENDING, False),
        ([("Created", "True")], AttemptPhase.PENDING, False),
        ([("Created", "True"), ("Suspended", "True")], AttemptPhase.PENDING, True),
        ([("Created", "True"), ("Running", "False"), ("Suspended", "True")], AttemptPhase.PENDING, True),
        ([("Created", "True"), ("Suspended", "False"), ("Running", "True")], AttemptPhase.RUNNING, False),
        ([("Created", "True"), ("Running", "False"), ("Restarting", "True")], AttemptPhase.RUNNING, False),
        ([("Created", "True"), ("Running", "False"), ("Succeeded", "True")], AttemptPhase.SUCCEEDED, False),
        ([("Created", "True"), ("Running", "True"), ("Succeeded", "True")], AttemptPhase.SUCCEEDED, False),
    ],
)
def test_a_job_is_as_far_as_its_conditions_say(
    training: ModuleType, conditions: list[tuple[str, str]], phase: AttemptPhase, gated: bool
) -> None:
    observed = seen(training, *conditions)
    assert (observed.phase, observed.gated, observed.failure) == (phase, gated, None)


def test_workers_that_still_run_after_the_master_are_stopped(training: ModuleType) -> None:
    assert seen(training, ("Succeeded", "True"), Worker={"active": 1}).remains is Remains.RUNNING
    assert seen(training, ("Succeeded", "True"), Worker={"succeeded": 1}).remains is Remains.NOTHING


def test_a_job_that_failed_says_why_and_how_many_of_its_replicas(training: ModuleType) -> None:
    observed = seen(training, ("Failed", "True"), Worker={"failed": 1, "active": 2}, Master={"active": 0})
    message = "Failed: it Failed (Worker: 1 failed, 2 active)"
    assert observed.failure == Failure("DownstreamSystemError", message, ErrorKind.USER, recoverable=True, attempt=1)
    assert (observed.phase, observed.remains) == (AttemptPhase.FAILED, Remains.RUNNING)


def test_a_status_that_is_null_is_one_of_a_new_job(training: ModuleType) -> None:
    plugin = training.PYTORCH
    job = msgspec.convert({"status": {"conditions": None, "replicaStatuses": None}}, plugin.resource.type)
    assert plugin.observe(job, 0).phase is AttemptPhase.PENDING
