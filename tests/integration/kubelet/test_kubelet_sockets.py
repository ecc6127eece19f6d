"""Programs in pods put Unix sockets below TMPDIR and in volumes, whose paths have at most 107 bytes."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from propeller import config
from propeller.embedded.kubelet import Kubelet, _home
from tests.integration.kubelet import doomed

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster

RAY = "ray/session_2026-11-29_17-39-12_123456_4194304/sockets/dash_TaskEventsHead"
"""The longest of Ray's sockets below TMPDIR, with the longest pid that Linux has."""

BIND = """
import os, socket, sys
path = os.path.join(os.environ[sys.argv[1]], sys.argv[2])
os.makedirs(os.path.dirname(path), exist_ok=True)
with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as caller:
    listening.bind(path)
    listening.listen()
    caller.connect(path)
    caller.sendall(b"hello")
    with listening.accept()[0] as accepted:
        print(accepted.recv(5).decode(), path, flush=True)
"""

MULTIPROCESSING = """
import multiprocessing, tempfile
from multiprocessing.connection import Client, Listener
with Listener(family="AF_UNIX") as listener, Client(listener.address):
    print(listener.address, flush=True)
context = multiprocessing.get_context("forkserver")
process = context.Process(target=print, args=("forked",))
process.start()
process.join()
raise SystemExit(process.exitcode)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory such as `propeller run` makes for its cluster."""
    with tempfile.TemporaryDirectory(prefix="propeller-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    return tmp_path / ("a-directory-on-a-disk-with-room-for-temporary-files-" * 3)


@pytest.fixture
def links(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Takes the place of /tmp for links."""
    directory = tmp_path_factory.mktemp("links")
    monkeypatch.setattr(_home, "LINKS", directory)
    return directory


@asynccontextmanager
async def kubelet_in(workdir: Path, cluster: Cluster, settings: config.KubeletOptions) -> AsyncIterator[Kubelet]:
    async with Kubelet(cluster, settings=settings, workdir=workdir) as cluster.kubelet:
        yield cluster.kubelet


@pytest.mark.parametrize("place", ["short", "long"])
async def test_ray_can_put_its_sockets_below_tmpdir(
    cluster: Cluster, settings: config.KubeletOptions, place: str, request: pytest.FixtureRequest
) -> None:
    async with kubelet_in(request.getfixturevalue(place), cluster, settings):
        await cluster.create("p", sys.executable, "-c", BIND, "TMPDIR", RAY)
        assert (await cluster.over("p"))["exitCode"] == 0, await cluster.log("p")
        assert (await cluster.log("p")).startswith("hello ")


@pytest.mark.parametrize("place", ["short", "long"])
async def test_containers_of_a_pod_can_meet_at_a_socket_in_a_volume(
    cluster: Cluster, settings: config.KubeletOptions, place: str, request: pytest.FixtureRequest
) -> None:
    name = "a-volume-for-sockets"
    async with kubelet_in(request.getfixturevalue(place), cluster, settings):
        await cluster.create(
            *("p", sys.executable, "-c", BIND, "PROPELLER_VOLUME_A_VOLUME_FOR_SOCKETS", "proxy-of-the-sidecar.socket"),
            volumes=[{"name": name, "configMap": {"name": "none", "optional": True}}],
            volumeMounts=[{"name": name, "mountPath": "/sockets"}],
        )
        assert (await cluster.over("p"))["exitCode"] == 0, await cluster.log("p")


@pytest.mark.parametrize("place", ["short", "long"])
async def test_multiprocessing_can_listen_and_serve_forks(
    cluster: Cluster, settings: config.KubeletOptions, place: str, request: pytest.FixtureRequest
) -> None:
    async with kubelet_in(request.getfixturevalue(place), cluster, settings):
        await cluster.create("p", sys.executable, "-c", MULTIPROCESSING)
        assert (await cluster.over("p"))["exitCode"] == 0, await cluster.log("p")
        assert "forked" in await cluster.log("p")


async def test_each_pod_has_a_tmpdir_of_its_own_until_it_ends(
    cluster: Cluster, settings: config.KubeletOptions, short: Path
) -> None:
    show = 'stat -c "%a %n" "$TMPDIR"; ls -A "$TMPDIR"; touch "$TMPDIR/x"; '
    async with kubelet_in(short, cluster, settings):
        for name in ("p", "q"):
            await cluster.create(name, "sh", "-c", show + f"until [ -e {short}/go ]; do sleep 0.01; done")
        shown = [(await cluster.logged(name, "\n")).split() for name in ("p", "q")]
        assert [mode for mode, _ in shown] == ["700", "700"]
        assert len({path for _, path in shown}) == 2
        (short / "go").touch()
        for name in ("p", "q"):
            await cluster.phase(name, "Succeeded")
        await nothing_in(short / "t")


async def nothing_in(directory: Path) -> None:
    while list(directory.iterdir()):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("left", ["ln -s {kept}", "touch", "mkfifo", "mkdir -p"])
async def test_what_a_pod_has_made_of_its_tmpdir_is_removed_and_what_it_leads_to_is_not(
    cluster: Cluster, settings: config.KubeletOptions, short: Path, tmp_path: Path, left: str
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    made = left.format(kept=kept)
    async with kubelet_in(short, cluster, settings):
        await cluster.create("p", "sh", "-c", f'cd /; rmdir "$TMPDIR" && {made} "$TMPDIR"')
        assert (await cluster.over("p"))["exitCode"] == 0
        await nothing_in(short / "t")
    assert (kept / "file").exists()


async def test_a_long_directory_is_used_by_a_link_that_ends_with_the_kubelet(
    cluster: Cluster, settings: config.KubeletOptions, long: Path, links: Path
) -> None:
    async with kubelet_in(long, cluster, settings):
        (link,) = links.iterdir()
        assert link.readlink() == long
        await cluster.create("p", "sh", "-c", 'echo "$TMPDIR"; touch "$TMPDIR/x"; sleep 600')
        shown = (await cluster.logged("p", "\n")).strip()
        assert Path(shown).is_relative_to(link)
        assert Path(shown).resolve().is_relative_to(long.resolve())
    assert not list(links.iterdir())


async def test_a_kubelet_takes_the_link_and_removes_the_files_that_a_killed_one_has_left(
    cluster: Cluster, settings: config.KubeletOptions, long: Path, links: Path
) -> None:
    uid = await cluster.create("kept", "true", nodeName="embedded")
    killed = doomed.start(long, links, **{"another": ["sleep", "600"], uid: ["sleep", "600"]})
    while len(list(long.glob("pods/*/logs/main.log"))) < 2:
        await asyncio.sleep(0.02)
    killed.kill()
    killed.wait()
    (link,) = links.iterdir()
    assert len(list((long / "t").iterdir())) == len(list((long / "pods").iterdir())) == 2
    async with kubelet_in(long, cluster, settings):
        assert list(links.iterdir()) == [link]
        assert (await cluster.phase("kept", "Failed"))["reason"] == "NodeLost"
        while len(list((long / "pods").iterdir())) > 1 or list(long.glob("left.*")):
            await asyncio.sleep(0.01)
        assert not list((long / "t").iterdir())
        assert list(long.glob("pods/*/logs/main.log")), "of a pod that is still there"
        await cluster.delete("kept")
        await nothing_in(long / "pods")
    assert not list(links.iterdir())


@pytest.mark.parametrize("taken", ["file", "directory", "link"])
async def test_what_others_have_put_at_the_links_name_is_neither_used_nor_changed(
    cluster: Cluster, settings: config.KubeletOptions, long: Path, links: Path, tmp_path: Path, taken: str
) -> None:
    async with kubelet_in(long, cluster, settings):
        (theirs,) = links.iterdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if taken == "link":
        theirs.symlink_to(elsewhere)
    elif taken == "file":
        theirs.touch()
    else:
        theirs.mkdir()
    async with kubelet_in(long, cluster, settings):
        await cluster.create("p", sys.executable, "-c", BIND, "TMPDIR", "x")
        assert (await cluster.over("p"))["exitCode"] == 0, await cluster.log("p")
        (ours,) = set(links.iterdir()) - {theirs}
        assert ours.readlink() == long
    assert list(links.iterdir()) == [theirs]
    assert not list(elsewhere.iterdir())


async def test_where_no_link_can_be_made_pods_run_and_a_warning_says_what_fails(
    cluster: Cluster,
    settings: config.KubeletOptions,
    long: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_home, "LINKS", tmp_path / "none")
    with caplog.at_level(logging.WARNING, "propeller"):
        async with kubelet_in(long, cluster, settings):
            await cluster.create("p", "sh", "-c", 'touch "$TMPDIR/x"')
            await cluster.phase("p", "Succeeded")
    (warning,) = [record.getMessage() for record in caplog.records if "TMPDIR" in record.getMessage()]
    assert str(long) in warning
    assert "No such file or directory" in warning
    assert "at most 4 bytes" in warning
