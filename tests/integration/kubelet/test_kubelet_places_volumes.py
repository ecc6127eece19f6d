"""Programs find the directories of their pod at the paths where they are mounted, in this machine's own root."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from propeller.embedded.kubelet import _launch

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster

pytestmark = pytest.mark.usefixtures("kubelet")

DATA = {"name": "data", "emptyDir": {}}
BELOW_NOTHING = "/var/there-is-no-such/directory"


def at(path: str, *, name: str = "data", **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "mountPath": path, **more}]


@pytest.fixture
def mounts(namespaces: None) -> None:
    """The user may mount."""


@pytest.fixture
def no_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user may not mount: stands for a machine without user namespaces."""
    monkeypatch.setattr(_launch, "can_mount", lambda: False)


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("path", [BELOW_NOTHING, "/there-is-no-such", "/mnt"])
async def test_containers_of_a_pod_share_a_directory_at_its_path(cluster: Cluster, path: str) -> None:
    before = [sorted(Path(one).iterdir()) for one in ("/", "/var")]
    init = {"name": "init", "command": ["sh", "-c", f"echo hello > {path}/x"], "volumeMounts": at(path)}
    # the path is no word of the command
    script = f"cat {path[:4]}''{path[4:]}/x; ls -d {path}; pwd; id -u; test -e /etc/passwd && echo files"
    await cluster.create("p", "sh", "-c", script, volumes=[DATA], volumeMounts=at(path), initContainers=[init])
    await cluster.phase("p", "Succeeded")
    hello, shown, cwd, user, files = (await cluster.log("p")).splitlines()
    assert (hello, shown, user, files) == ("hello", path, str(os.getuid()), "files")
    assert "work.main" in cwd
    assert [sorted(Path(one).iterdir()) for one in ("/", "/var")] == before


@pytest.mark.usefixtures("mounts")
async def test_a_directory_that_is_mounted_read_only_is(cluster: Cluster) -> None:
    await cluster.create(
        *("p", "sh", "-c", f"touch {BELOW_NOTHING}/x"),
        volumes=[DATA],
        volumeMounts=at(BELOW_NOTHING, readOnly=True),
    )
    await cluster.phase("p", "Failed")
    assert "Read-only file system" in await cluster.log("p")


@pytest.mark.usefixtures("mounts")
async def test_a_program_that_is_not_there_fails_as_it_does_without_mounts(cluster: Cluster) -> None:
    await cluster.create("p", "no-such-program", volumes=[DATA], volumeMounts=at(BELOW_NOTHING))
    ended = await cluster.over("p")
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert "executable file not found in $PATH" in ended["message"]


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("path", ["/tmp", BELOW_NOTHING])
async def test_a_directory_can_be_mounted_in_another_one(cluster: Cluster, path: str) -> None:
    volumes = [DATA, {"name": "more", "emptyDir": {}}]
    script = f"touch {path}/x {path}/in/y; ls $PROPELLER_VOLUME_MORE {path}/in; cat {path}/in/y {path}/x"
    inner_first = [*at(f"{path}/in", name="more"), *at(path)]
    await cluster.create("p", "sh", "-c", script, volumes=volumes, volumeMounts=inner_first)
    assert (await cluster.over("p"))["exitCode"] == 0, await cluster.log("p")
    assert (await cluster.log("p")).count("y\n") == 2


@pytest.mark.usefixtures("no_mounts")
async def test_without_the_right_to_mount_paths_are_replaced_in_command_and_variables(cluster: Cluster) -> None:
    script = f"echo hello > {BELOW_NOTHING}/x; cat $PLACE/x; echo {BELOW_NOTHING}-else /a{BELOW_NOTHING}"
    await cluster.create(
        *("p", "sh", "-c", script),
        env=[{"name": "PLACE", "value": BELOW_NOTHING}],
        volumes=[DATA],
        volumeMounts=at(f"{BELOW_NOTHING}/"),
    )
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == f"hello\n{BELOW_NOTHING}-else /a{BELOW_NOTHING}\n"
    assert not Path(BELOW_NOTHING).exists()


async def test_a_volume_shows_an_annotation_as_it_changes(cluster: Cluster) -> None:
    field = {"path": "told", "fieldRef": {"fieldPath": "metadata.annotations['told']"}}
    script = 'until [ -s "$PROPELLER_VOLUME_INFO/told" ]; do sleep 0.02; done; cat "$PROPELLER_VOLUME_INFO/told"'
    volumes = [{"name": "info", "downwardAPI": {"items": [field]}}]
    await cluster.create("p", "sh", "-c", script, volumes=volumes, volumeMounts=at("/info", name="info"))
    await cluster.phase("p", "Running")
    cluster.pods["p"]["metadata"]["annotations"] = {"told": "yes"}
    await cluster._tell(cluster.pods["p"])
    await cluster.phase("p", "Succeeded")
    assert await cluster.log("p") == "yes"


async def test_a_native_sidecar_is_asked_to_end_after_the_other_containers(cluster: Cluster) -> None:
    """As by the kubelet: it sees all that they have done, also if the pod is deleted."""
    order = "$PROPELLER_VOLUME_DATA/order"

    def program(name: str, before_it_ends: str) -> str:
        return f'trap "{before_it_ends} echo {name} >> {order}; exit" TERM; echo begun; while :; do sleep 0.02; done'

    sidecar = {
        "name": "proxy",
        "command": ["sh", "-c", program("sidecar", f"cat {order};")],
        "restartPolicy": "Always",
        "volumeMounts": at("/data"),
    }
    await cluster.create(
        *("p", "sh", "-c", program("main", "sleep 0.3;")),
        initContainers=[sidecar],
        volumes=[DATA],
        volumeMounts=at("/data"),
        finalizers=["test/keeps"],
    )
    await cluster.logged("p", "begun")
    await cluster.delete("p", grace=20)
    await cluster.until("p", lambda status: status["phase"] in {"Succeeded", "Failed"})
    assert cluster.kubelet is not None
    log = b"".join([chunk async for chunk in cluster.kubelet.logs("ns", "p", "proxy")])
    assert log.splitlines()[0] == b"begun"
    assert log.splitlines()[-1] == b"main"
