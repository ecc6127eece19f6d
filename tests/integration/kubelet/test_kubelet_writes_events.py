"""What `kubectl describe pod` shows of pods that run as real processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from propeller import config
from propeller.embedded.kubelet import Kubelet

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster

PULLED = 'Container image "none" already present on machine and can be accessed by the pod'


@pytest.mark.usefixtures("kubelet")
async def test_a_pod_is_scheduled_pulled_created_and_started(cluster: Cluster) -> None:
    await cluster.create("p", "true")
    await cluster.over("p")
    assert await cluster.events_of("p", "Started") == [
        ("default-scheduler", "Normal", "Scheduled", "Successfully assigned ns/p to embedded", 1),
        ("kubelet", "Normal", "Pulled", PULLED, 1),
        ("kubelet", "Normal", "Created", "Container created", 1),
        ("kubelet", "Normal", "Started", "Container started", 1),
    ]


@pytest.mark.usefixtures("kubelet")
async def test_a_container_that_fails_again_and_again_backs_off(cluster: Cluster) -> None:
    uid = await cluster.create("p", "false", restartPolicy="Always")
    await cluster.until("p", lambda status: status["phase"] == "Running")
    await cluster.until("p", lambda status: status["containerStatuses"][0]["restartCount"] >= 3)
    events = await cluster.events_of("p", "BackOff", count=3)
    by_reason = {reason: (message, count) for _, _, reason, message, count in events}
    message, backoffs = by_reason["BackOff"]
    assert message == f"Back-off restarting failed container main in pod p_ns({uid})"
    assert backoffs >= 3
    assert by_reason["Started"][1] >= 3


@pytest.mark.usefixtures("kubelet")
async def test_a_program_that_is_not_there_fails_with_its_name(cluster: Cluster) -> None:
    await cluster.create("p", "no-such-program")
    events = await cluster.events_of("p", "Failed")
    assert [reason for _, _, reason, _, _ in events] == ["Scheduled", "Pulled", "Created", "Failed"]
    _, type_, _, message, _ = events[-1]
    assert type_ == "Warning"
    assert message.startswith('Error: exec: "no-such-program": executable file not found')


@pytest.mark.usefixtures("kubelet")
async def test_a_pod_that_is_deleted_is_killed(cluster: Cluster) -> None:
    await cluster.create("p", "sleep", "60", finalizers=["keep/it"])
    await cluster.phase("p", "Running")
    await cluster.delete("p", grace=1)
    events = await cluster.events_of("p", "Killing")
    assert ("kubelet", "Normal", "Killing", "Stopping container main", 1) in events


@pytest.mark.usefixtures("kubelet")
async def test_a_pod_over_its_deadline_says_so_before_it_is_killed(cluster: Cluster) -> None:
    await cluster.create("p", "sleep", "60", activeDeadlineSeconds=0.1)
    events = await cluster.events_of("p", "Killing")
    assert [reason for _, _, reason, _, _ in events[-2:]] == ["DeadlineExceeded", "Killing"]


@pytest.mark.usefixtures("kubelet")
async def test_a_volume_and_a_variable_without_their_config_map_have_the_kubelets_reasons(cluster: Cluster) -> None:
    source = {"configMapKeyRef": {"name": "absent", "key": "k"}}
    await cluster.create("variable", "true", env=[{"name": "A", "valueFrom": source}])
    await cluster.create("volume", "true", volumes=[{"name": "v", "configMap": {"name": "absent"}}])
    *_, (_, _, _, message, _) = events = await cluster.events_of("variable", "Failed")
    assert [reason for _, _, reason, _, _ in events] == ["Scheduled", "Pulled", "Failed"]
    assert message == 'Error: configmap "absent" not found'
    *_, (_, _, _, message, _) = events = await cluster.events_of("volume", "FailedMount")
    assert [reason for _, _, reason, _, _ in events] == ["Scheduled", "FailedMount"]  # volumes come before images
    assert message == 'MountVolume.SetUp failed for volume "v" : configmap "absent" not found'


async def test_a_pod_without_room_says_so(cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(settings, max_pods=1, unschedulable_after=0.01)
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet"):
        await cluster.create("first", "sleep", "60")
        await cluster.create("second", "true")
        ((component, type_, reason, message, _),) = await cluster.events_of("second", "FailedScheduling")
        assert (component, type_, reason) == ("default-scheduler", "Warning", "FailedScheduling")
        assert message.startswith("0/1 nodes are available: 1 Too many pods")


async def test_no_events_are_written_if_they_are_turned_off(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(settings, events=False)
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet"):
        await cluster.create("p", "true")
        await cluster.over("p")
        await asyncio.sleep(0.5)
    assert cluster.events == {}


@pytest.mark.usefixtures("kubelet")
async def test_a_server_that_refuses_events_disturbs_no_pod(cluster: Cluster) -> None:
    cluster.takes_events = False
    await cluster.create("p", "true")
    await cluster.over("p")
    await asyncio.sleep(0.5)
    await cluster.create("q", "true")
    await cluster.over("q")
    assert (cluster.events, cluster.requests_of("q")[-1]) == ({}, "Succeeded")
