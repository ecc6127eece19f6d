"""Probes of pods that are real processes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from propeller import config
from propeller.embedded.kubelet import Kubelet
from propeller.testing import free_ports

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster

SERVER = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        there = pathlib.Path(sys.argv[3], self.path.strip("/")).exists()
        self.send_response(200 if there else 503)
        self.end_headers()
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
"""Answers with 200 to the paths of files that are in a directory."""

EAGER = {"periodSeconds": 0.02, "failureThreshold": 2}


def _get(path: str, **fields: Any) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, **EAGER, **fields}


async def _serve(cluster: Cluster, files: Path, **fields: Any) -> None:
    (port,) = free_ports(1)
    await cluster.create(
        *("p", sys.executable, "-c", SERVER, "$(IP)", str(port), str(files)),
        env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        ports=[{"name": "http", "containerPort": port}],
        restartPolicy="Always",
        **fields,
    )


def _is_ready(status: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.mark.usefixtures("kubelet")
async def test_a_pod_is_ready_only_while_its_probe_succeeds(cluster: Cluster, files: Path) -> None:
    await _serve(cluster, files, readinessProbe=_get("/ready"))
    await cluster.phase("p", "Running")
    assert not _is_ready(cluster.pods["p"]["status"])
    (files / "ready").touch()
    await cluster.until("p", _is_ready)
    (files / "ready").unlink()
    await cluster.until("p", lambda status: not _is_ready(status))
    assert cluster.pods["p"]["status"]["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.usefixtures("kubelet")
async def test_a_container_whose_liveness_fails_is_restarted_and_one_that_starts_is_left_time(
    cluster: Cluster, files: Path
) -> None:
    await _serve(cluster, files, livenessProbe=_get("/live"), startupProbe=_get("/started", failureThreshold=1_000_000))
    status = await cluster.phase("p", "Running")
    assert status["containerStatuses"][0]["started"] is False
    (files / "live").touch()
    (files / "started").touch()
    await cluster.until("p", lambda status: status["containerStatuses"][0]["started"])
    (files / "live").unlink()
    await cluster.until("p", lambda status: status["containerStatuses"][0]["restartCount"] > 0)
    events = await cluster.events_of("p", "Unhealthy")
    assert any("Liveness probe failed: HTTP probe failed with statuscode: 503" in one[3] for one in events)


@pytest.mark.usefixtures("kubelet")
async def test_a_container_that_does_not_start_in_time_is_restarted(cluster: Cluster, files: Path) -> None:
    await _serve(cluster, files, startupProbe=_get("/started"))
    await cluster.phase("p", "Running")
    await cluster.until("p", lambda status: status["containerStatuses"][0]["restartCount"] > 0)


async def test_two_pods_may_listen_on_one_port_if_each_has_an_address(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    own = msgspec.structs.replace(settings, pod_addresses=True)
    (port,) = free_ports(1)
    async with Kubelet(cluster, settings=own, workdir=tmp_path / "kubelet"):
        for name in ("a", "b"):
            await cluster.create(
                *(name, sys.executable, "-c", SERVER, "$(IP)", str(port), "/"),
                env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                readinessProbe={"tcpSocket": {"port": port}, **EAGER},
            )
        async with asyncio.timeout(60):
            found = {(await cluster.until(name, _is_ready))["podIP"] for name in ("a", "b")}
    assert len(found) == 2
    assert all(address.startswith("127.") for address in found)
