"""kubectl against a server with TLS, and with kinds that it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import pytest

from propeller.embedded.server import ApiServer, own_certificate
from propeller.errors import Denied
from propeller.kube import NAMESPACES, Connection, connect
from tests.integration.kubectl.conftest import DEADLINE, Failed, Kubectl

pytestmark = pytest.mark.needs("kubectl")


async def test_with_tls_the_token_stands_in_no_path(server: ApiServer, tmp_path: Path) -> None:
    tls, ca = await own_certificate()
    async with server.serve(tls=tls, ca=ca) as front:
        content = front.kubeconfig()
        assert front.url.startswith("https://")
        assert front.token not in json.dumps(content["clusters"])
        path = tmp_path / "tls"
        path.write_text(json.dumps(content))
        assert "default" in await Kubectl(path)("get", "namespaces")
        async with connect(Connection(server=f"{front.url}/{front.token}", ca=ca)) as client:
            with pytest.raises(Denied):
                await client.list(NAMESPACES)


async def test_a_kind_that_the_server_lacks_is_named(kubectl: Kubectl) -> None:
    with pytest.raises(Failed, match=r"the embedded API server has no deployments\.apps; it serves .*, pods, "):
        await kubectl("create", "deployment", "d", "--image=i")
    with pytest.raises(Failed, match='resource type "deployments"'):
        await kubectl("get", "deployments")


async def test_a_cluster_of_the_command_line_takes_tls_and_a_number_of_pods(tmp_path: Path) -> None:
    path = tmp_path / "served"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "propeller.cli", "cluster", "--no-controller", "--kubeconfig", str(path)),
        *("--tls", "--max-pods", "3"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            assert b"serving 127.0.0.1:" in await process.stderr.readline()
        assert path.stat().st_mode & 0o777 == 0o600
        node = await Kubectl(path).json("get", "node", "embedded")
        assert node["status"]["capacity"]["pods"] == "3"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
    assert not path.exists()
