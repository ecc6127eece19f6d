"""How pods end before their time: deletion, deadlines, memory, and a kubelet that stops, dies or comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from propeller import config
from propeller.embedded.kubelet import Kubelet, _zygote
from propeller.embedded.kubelet._home import Home
from propeller.embedded.kubelet._volumes import PodDirectory
from propeller.errors import Conflict
from tests.integration.kubelet import doomed

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pid: int) -> None:
    while alive(pid):
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("kubelet")
async def test_deletion_asks_first_and_removes_the_pod_when_its_processes_are_gone(cluster: Cluster) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.02; done"
    await cluster.create("p", "sh", "-c", script, finalizers=["keep/it"])
    await cluster.logged("p", "up")
    await cluster.delete("p")
    assert (await cluster.over("p"))["exitCode"] == 3
    assert "bye" in await cluster.log("p")
    await cluster.until("p", lambda _: "remove" in cluster.requests_of("p"))
    assert "p" in cluster.pods  # its finalizer holds it


@pytest.mark.usefixtures("kubelet")
async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(cluster: Cluster) -> None:
    await cluster.create("p", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done", finalizers=["keep/it"])
    await cluster.logged("p", "up")
    await cluster.delete("p", grace=1)
    assert (await cluster.over("p"))["signal"] == signal.SIGKILL


@pytest.mark.usefixtures("kubelet")
async def test_a_deletion_with_a_shorter_grace_hurries_the_first(cluster: Cluster) -> None:
    await cluster.create("p", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done")
    await cluster.logged("p", "up")
    await cluster.delete("p", grace=3600)
    await cluster.delete("p", grace=0)
    await cluster.absent("p")


@pytest.mark.usefixtures("kubelet")
async def test_children_of_a_container_die_with_it(cluster: Cluster) -> None:
    await cluster.create("p", "sh", "-c", "sleep 600 & echo $!")
    await cluster.phase("p", "Succeeded")
    await gone(int(await cluster.log("p")))


@pytest.mark.usefixtures("kubelet")
async def test_a_finished_pod_is_removed_with_its_files_when_deleted(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.create("p", "true")
    await cluster.phase("p", "Succeeded")
    (directory,) = (tmp_path / "kubelet" / "pods").iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    await cluster.delete("p")
    await cluster.absent("p")
    while directory.exists():
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("kubelet")
async def test_a_deadline_fails_the_pod(cluster: Cluster) -> None:
    await cluster.create("p", "sleep", "600", activeDeadlineSeconds=0.2)
    status = await cluster.phase("p", "Failed")
    assert status["reason"] == "DeadlineExceeded"
    assert status["containerStatuses"][0]["state"]["terminated"]["signal"] == signal.SIGTERM


@pytest.mark.usefixtures("kubelet")
async def test_a_container_over_its_memory_limit_is_reported_as_oom_killed(cluster: Cluster) -> None:
    code = "b = bytearray(200_000_000); import time; time.sleep(600)"
    await cluster.create("p", sys.executable, "-c", code, resources={"limits": {"memory": "100Mi"}})
    ended = await cluster.over("p")
    assert (ended["reason"], ended["exitCode"], ended["signal"]) == ("OOMKilled", 137, 9)


@pytest.mark.usefixtures("kubelet")
async def test_memory_of_child_processes_counts_toward_the_limit(cluster: Cluster) -> None:
    code = "b = bytearray(200_000_000); import time; time.sleep(600)"
    script = f'{sys.executable} -c "{code}" & wait'
    await cluster.create("p", "sh", "-c", script, resources={"limits": {"memory": "100Mi"}})
    assert (await cluster.over("p"))["reason"] == "OOMKilled"


async def test_a_kubelet_that_stops_fails_its_pods_and_leaves_no_process(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    async with Kubelet(cluster, settings=settings, workdir=tmp_path) as cluster.kubelet:
        await cluster.create("p", "sh", "-c", "echo $$$$; exec sleep 600")
        pid = int(await cluster.logged("p", "\n"))
        assert alive(pid)
    assert not alive(pid)
    status = cluster.pods["p"]["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "Terminated")


async def test_a_cancelled_kubelet_leaves_no_process(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    started = asyncio.Event()

    async def run() -> None:
        async with Kubelet(cluster, settings=settings, workdir=tmp_path) as cluster.kubelet:
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await started.wait()
    await cluster.create("p", "sh", "-c", "echo $$$$; exec sleep 600")
    pid = int(await cluster.logged("p", "\n"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)


async def test_a_pod_that_ran_under_an_earlier_kubelet_is_failed_and_not_run_again(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    await cluster.create("p", "touch", str(tmp_path / "ran"), nodeName="embedded")
    cluster.pods["p"]["status"] = {"phase": "Running", "startTime": "2024-01-01T00:00:00Z"}
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet"):
        status = await cluster.phase("p", "Failed")
    assert status["reason"] == "NodeLost"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    assert not (tmp_path / "ran").exists()


async def test_a_pod_that_started_without_a_report_is_not_run_again(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    uid = await cluster.create("p", "true", nodeName="embedded")
    Home(tmp_path / "kubelet").pod(uid).mkdir(parents=True)
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet"):
        assert (await cluster.phase("p", "Failed"))["reason"] == "NodeLost"


async def test_a_bind_whose_answer_was_lost_still_runs_the_pod_once(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = cluster.bind

    async def lossy(namespace: str, name: str, uid: str, node: str) -> None:
        await bind(namespace, name, uid, node)
        await asyncio.sleep(0.01)  # its own watch hears of the binding first
        raise Conflict("pod is already assigned to node")

    monkeypatch.setattr(cluster, "bind", lossy)
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet"):
        await cluster.create("p", "sh", "-c", f"echo x >> {tmp_path}/runs")
        await cluster.phase("p", "Succeeded")
    assert (tmp_path / "runs").read_text() == "x\n"


async def test_what_a_refused_run_leaves_to_clear_does_not_take_the_next_ones_directories(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is so slow that what the run before left is cleared when the next one's process has started."""
    bind, clear, started, cleared = cluster.bind, PodDirectory.clear, threading.Event(), threading.Event()

    async def lossy(namespace: str, name: str, uid: str, node: str) -> None:
        await bind(namespace, name, uid, node)
        await asyncio.sleep(0.01)
        raise Conflict("pod is already assigned to node")

    def clear_late(directory: PodDirectory) -> None:
        started.wait(60)
        clear(directory)
        cleared.set()

    monkeypatch.setattr(cluster, "bind", lossy)
    monkeypatch.setattr(PodDirectory, "clear", clear_late)
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet"):
        await cluster.create("p", "sh", "-c", f'until [ -e {tmp_path}/go ]; do sleep 0.01; done; [ -d "$TMPDIR" ]')
        await cluster.phase("p", "Running")
        started.set()
        await asyncio.to_thread(cleared.wait, 0.2)  # for nothing, if the kubelet is right
        (tmp_path / "go").touch()
        assert (await cluster.over("p"))["exitCode"] == 0


async def test_a_kubelet_killed_by_sigkill_takes_its_processes_along(tmp_path: Path) -> None:
    kubelet = doomed.start(tmp_path, tmp_path, u=["sh", "-c", "sleep 600 & echo $! $$$$; wait"])
    log = Home(tmp_path).pod("u") / "logs" / "main.log"
    while not (log.exists() and log.read_text().endswith("\n")):
        await asyncio.sleep(0.02)
    pids = [int(word) for word in log.read_text().split()]
    assert all(map(alive, pids))
    kubelet.kill()
    kubelet.wait()
    for pid in pids:
        await gone(pid)


async def test_a_kubelet_killed_before_it_has_read_that_a_process_started_takes_it_along(tmp_path: Path) -> None:
    """A socket that closes with unread messages resets its peer, which then does not read an orderly end."""
    kubelet, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with kubelet, theirs:
        server = subprocess.Popen(
            [sys.executable, str(_zygote.__file__), str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
        theirs.close()
        assert json.loads(await asyncio.to_thread(kubelet.recv, 4096))["ready"]
        words = ["sh", "-c", "sleep 600 & echo $! $$; wait"]
        request = {"op": "run", "id": 0, "argv": words, "executable": "/bin/sh", "env": dict(os.environ)}
        request |= {"cwd": str(tmp_path), "entry": None, "project": "", "populate": False, "reuse": 1}
        body, log = tmp_path / "body", tmp_path / "log"
        body.write_text(json.dumps(request))
        with body.open("rb") as read, log.open("wb") as written:
            socket.send_fds(kubelet, [b"\0"], [read.fileno(), written.fileno()])
        while not log.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
        pids = [int(word) for word in log.read_text().split()]
        assert all(map(alive, pids))
    assert await asyncio.to_thread(server.wait) == 0
    for pid in pids:
        await gone(pid)
