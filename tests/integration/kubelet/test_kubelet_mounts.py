"""Service accounts' tokens in pods, and containers in the root file system of an unpacked image."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from propeller import config
from propeller.embedded.kubelet import Kubelet

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
IMAGE = "registry/tools:1"

TOKEN = {
    "name": "kube-api-access-x7k2p",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]
    },
}
"""As the admission of service accounts adds it."""


@pytest.fixture
def image(tmp_path: Path, namespaces: None) -> Path:
    """A root file system with a shell and a few commands, and nothing else."""
    root = tmp_path / "image"
    for name in ("sh", "cat", "touch", "id", "env", "sleep", "ls"):
        found = shutil.which(name)
        assert found is not None
        _copy(root, Path(found), Path("/bin") / name)
        for line in subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout.splitlines():
            for word in line.split():
                if word.startswith("/"):
                    _copy(root, Path(word), Path(word))
    (root / "proc").mkdir()
    return root


def _copy(root: Path, source: Path, target: Path) -> None:
    path = root / target.relative_to("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, path)


@pytest.fixture
def settings(settings: config.KubeletOptions, image: Path) -> config.KubeletOptions:
    return msgspec.structs.replace(settings, images={IMAGE: str(image)})


@pytest.fixture
async def kubelet(cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path) -> AsyncIterator[Kubelet]:
    """One whose pods can reach an API server."""
    at = tmp_path / "kubelet"
    async with Kubelet(cluster, settings=settings, workdir=at, api_server=("127.0.0.1", 6443)) as kubelet:
        cluster.kubelet = kubelet
        yield kubelet


def _with_account(cluster: Cluster) -> dict[str, Any]:
    cluster.objects["ConfigMap", "kube-root-ca.crt"] = {"data": {"ca.crt": "an authority"}}
    return {"volumes": [TOKEN], "volumeMounts": [{"name": TOKEN["name"], "mountPath": ACCOUNT, "readOnly": True}]}


@pytest.mark.usefixtures("kubelet")
async def test_a_pod_has_a_token_the_authority_and_its_namespace(cluster: Cluster) -> None:
    at = "$(PROPELLER_VOLUME_KUBE_API_ACCESS_X7K2P)"
    await cluster.create(
        "p", "cat", f"{at}/token", f"{at}/ca.crt", f"{at}/namespace", nodeName="embedded", **_with_account(cluster)
    )
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "1 for the serveran authorityns"


@pytest.mark.usefixtures("kubelet")
async def test_a_container_of_an_unpacked_image_sees_its_files_and_its_volumes_where_they_are_mounted(
    cluster: Cluster,
) -> None:
    await cluster.create("p", "sh", "-c", f"cat {ACCOUNT}/token; ls /; env", image=IMAGE, **_with_account(cluster))
    await cluster.phase("p", "Succeeded")
    log = await cluster.log("p")
    assert log.startswith("1 for the server")
    assert "serverbin\ndev\n" in log
    assert "\nhome\n" not in log, "this machine's own files"
    assert "LC_CTYPE" not in log, "a variable of the program that entered the root"
    assert "PATH=/usr/local/sbin:" in log


@pytest.mark.usefixtures("kubelet")
async def test_a_read_only_root_can_be_written_nowhere_but_in_its_volumes_and_by_its_own_user(cluster: Cluster) -> None:
    words = "touch /x; touch /bin/ls; touch /tmp/x && ls /tmp; touch /ro/x; id -u; cat /proc/self/status"
    await cluster.create(
        *("p", "sh", "-c", words),
        image=IMAGE,
        securityContext={"readOnlyRootFilesystem": True, "runAsUser": 65532},
        volumes=[{"name": "tmp", "emptyDir": {}}, {"name": "ro", "emptyDir": {}}],
        volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}, {"name": "ro", "mountPath": "/ro", "readOnly": True}],
    )
    await cluster.phase("p", "Succeeded")
    log = await cluster.log("p")
    assert log.count("Read-only file system") == 3, log
    assert "\nx\n" in log
    assert "\n65532\n" in log
    assert "CapEff:\t0000000000000000" in log


@pytest.mark.usefixtures("kubelet")
async def test_changes_of_a_writable_root_do_not_reach_the_image(cluster: Cluster, image: Path) -> None:
    await cluster.create("p", "sh", "-c", "touch /x /bin/sh && ls /x", image=IMAGE)
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "/x\n"
    assert not (image / "x").exists()


@pytest.mark.usefixtures("kubelet")
async def test_a_program_that_an_image_lacks_fails_its_container_with_the_reason(cluster: Cluster) -> None:
    await cluster.create("p", "python", image=IMAGE)
    assert (await cluster.over("p"))["exitCode"] == 128
    assert await cluster.log("p") == "exec python: No such file or directory\n"


async def test_a_token_is_replaced_before_it_expires(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    cluster.token_life = 4.0
    often = msgspec.structs.replace(settings, token_refresh=0.01)
    at = tmp_path / "kubelet"
    async with Kubelet(cluster, settings=often, workdir=at, api_server=("127.0.0.1", 6443)) as cluster.kubelet:
        await cluster.create(
            *("p", "sh", "-c", f"while true; do cat {ACCOUNT}/token; sleep 0.05; done"),
            image=IMAGE,
            **_with_account(cluster),
        )
        await cluster.phase("p", "Running")
        seen: list[str] = []
        async with asyncio.timeout(60):
            while len(set(seen)) < 3:
                await asyncio.sleep(0.05)
                seen = (await cluster.log("p")).split(" for the server")[:-1]
    numbers = [int(text) for text in seen]  # each time a whole token
    assert numbers == sorted(numbers)


async def test_where_pods_cannot_reach_an_api_server_they_get_no_tokens_and_start_all_the_same(
    cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path
) -> None:
    """The embedded API server issues none."""
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet") as cluster.kubelet:
        await cluster.create("p", "sh", "-c", f"ls {ACCOUNT}", image=IMAGE, **_with_account(cluster))
        await cluster.phase("p", "Succeeded")
        assert await cluster.log("p") == "ca.crt\nnamespace\n"
    assert cluster.tokens == 0
