"""Rows of `kubectl get` for pods, nodes and events, and their ages."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.embedded.server import ApiServer
from propeller.embedded.server.printers._durations import human
from propeller.embedded.server.printers._pod_row import pod_cells
from tests.unit.server.asking import ask
from tests.unit.server.negotiation.test_tables import TABLE

NOW = 1_700_000_000.0
CREATED = "2023-11-14T22:12:20Z"  # a minute before


def ended(code: int, reason: str = "", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **({"reason": reason} if reason else {}), **more}}


def row(
    *states: Any, init: tuple[Any, ...] = (), sidecars: int = 0, deleting: bool = False, **status: Any
) -> list[Any]:
    """The cells of a pod whose containers are in these states; a running one is ready."""

    def statuses(prefix: str, given: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [
            {
                "name": f"{prefix}{index}",
                "state": state,
                "ready": "running" in state,
                "started": "running" in state,
                "restartCount": state.get("restarts", 0),
            }
            for index, state in enumerate(given)
        ]

    pod: dict[str, Any] = {
        "metadata": {"name": "p", "creationTimestamp": CREATED},
        "spec": {
            "containers": [{"name": f"c{index}"} for index in range(max(len(states), 1))],
            "initContainers": [
                {"name": f"i{index}"} | ({"restartPolicy": "Always"} if index < sidecars else {})
                for index in range(len(init))
            ],
        },
        "status": {
            "containerStatuses": statuses("c", states),
            "initContainerStatuses": statuses("i", init),
            **status,
        },
    }
    if deleting:
        pod["metadata"]["deletionTimestamp"] = CREATED
    return pod_cells(pod, NOW)


RUNNING: dict[str, Any] = {"running": {}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("cells", "ready", "word"),
    [
        (row(phase="Pending"), "0/1", "Pending"),
        (row(RUNNING, phase="Running"), "1/1", "Running"),
        (row(RUNNING, waiting("ContainerCreating"), phase="Pending"), "1/2", "ContainerCreating"),
        (row(waiting("ImagePullBackOff"), phase="Pending"), "0/1", "ImagePullBackOff"),
        (row(ended(0, "Completed"), phase="Succeeded"), "0/1", "Completed"),
        (row(ended(1, "Error"), phase="Failed"), "0/1", "Error"),
        (row(ended(137, "OOMKilled"), phase="Failed"), "0/1", "OOMKilled"),
        (row(ended(3), phase="Failed"), "0/1", "ExitCode:3"),
        (row(ended(0, signal=9), phase="Failed"), "0/1", "Signal:9"),
        (row(ended(0, "Completed"), ended(1, "Error"), phase="Failed"), "0/2", "Error"),
        (row(RUNNING, ended(0, "Completed"), phase="Running", conditions=READY), "1/2", "Running"),
        (row(ended(0, "Completed"), RUNNING, phase="Running"), "1/2", "NotReady"),
        (row(phase="Failed", reason="Evicted"), "0/1", "Evicted"),
        (row(RUNNING, phase="Running", deleting=True), "1/1", "Terminating"),
        (row(ended(0, "Completed"), phase="Succeeded", deleting=True), "0/1", "Completed"),
        (row(RUNNING, phase="Running", reason="NodeLost", deleting=True), "1/1", "Unknown"),
        (row(init=(RUNNING, waiting("PodInitializing")), phase="Pending"), "0/1", "Init:0/2"),
        (row(init=(ended(0), RUNNING), phase="Pending"), "0/1", "Init:1/2"),
        (row(init=(ended(1, "Error"),), phase="Pending"), "0/1", "Init:Error"),
        (row(init=(ended(2),), phase="Pending"), "0/1", "Init:ExitCode:2"),
        (row(init=(waiting("CrashLoopBackOff"),), phase="Pending"), "0/1", "Init:CrashLoopBackOff"),
        (row(RUNNING, init=(RUNNING,), sidecars=1, phase="Running"), "2/2", "Running"),
    ],
)
def test_one_word_says_how_a_pod_is(cells: list[Any], ready: str, word: str) -> None:
    assert cells[:3] == ["p", ready, word]
    assert cells[4] == "60s"


def test_restarts_are_summed_with_the_time_of_the_last() -> None:
    crashed = {"restarts": 2, **RUNNING}
    assert row(crashed, {"restarts": 1, **RUNNING}, phase="Running")[3] == "3"
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{}]},
        "status": {
            "containerStatuses": [
                {"restartCount": 4, "state": RUNNING, "lastState": ended(1, finishedAt="2023-11-14T22:03:20Z")}
            ]
        },
    }
    assert pod_cells(pod, NOW)[3] == "4 (10m ago)"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600, "8h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (800 * 86400, "2y70d"),
        (3650 * 86400, "10y"),
    ],
)
def test_ages_are_the_coarser_the_longer(seconds: float, shown: str) -> None:
    assert human(seconds) == shown


async def test_nodes_and_events_have_rows_of_their_own(server: ApiServer) -> None:
    labels = {"node-role.kubernetes.io/worker": ""}
    node = {"metadata": {"name": "n", "labels": labels}, "spec": {"unschedulable": True}}
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": {"kubeletVersion": "v1.37.2"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
    }
    await ask(server, "POST", "/api/v1/nodes", node)
    merge = {"content_type": "application/merge-patch+json"}
    await ask(server, "PATCH", "/api/v1/nodes/n/status", {"status": status}, **merge)
    cells = (await ask(server, "GET", "/api/v1/nodes", accept=TABLE))["rows"][0]["cells"]
    assert cells[:7] == ["n", "Ready,SchedulingDisabled", "worker", "0s", "v1.37.2", "10.0.0.1", "<none>"]
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "type": "Normal",
        "reason": "Started",
        "message": "started\n",
        "count": 3,
        "source": {"component": "kubelet", "host": "n"},
    }
    await ask(server, "POST", "/api/v1/namespaces/default/events", event)
    cells = (await ask(server, "GET", "/api/v1/events", accept=TABLE))["rows"][0]["cells"]
    assert cells == ["<unknown>", "Normal", "Started", "pod/p", "", "kubelet, n", "started", "<unknown>", 3, "e"]
