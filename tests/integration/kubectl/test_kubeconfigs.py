"""kubectl and propeller take or refuse the same kubeconfigs on a real kube-apiserver, and blame the same party.

Caveats
    kubectl waits without end for a plugin that hangs; what propeller does then is in tests/unit/cli/test_connecting.py.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from propeller.cli._connecting import connected
from propeller.config import Settings
from propeller.errors import PropellerError
from propeller.kube import CONFIG_MAPS, load_connection
from propeller.testing import KubeApiserver
from tests.assets import binary
from tests.integration.kubectl.kubeconfigs import CASES, NAMED, Case, World, prepare
from tests.unit.kube.forward_proxy import forward_proxy

pytestmark = pytest.mark.needs("kubectl")

DEADLINE = 60.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture(scope="module")
def directory(kube_apiserver: KubeApiserver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("kubeconfigs")
    prepare(kube_apiserver, found)
    return found


@pytest.fixture
async def world(
    kube_apiserver: KubeApiserver, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    for name in (*PROXIES, "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(directory))
    pair = kube_apiserver.authority.server("proxy")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    async with AsyncExitStack() as stack:
        proxies = {"dead": "http://127.0.0.1:9"}
        for scheme in ("http", "https", "socks5"):
            names = {NAMED: "127.0.0.1"}
            proxy = forward_proxy(scheme, tls=tls if scheme == "https" else None, names=names)
            proxies[scheme] = (await stack.enter_async_context(proxy)).url
        yield World(kube_apiserver, directory, proxies)


async def said_by_kubectl(*arguments: str) -> tuple[bool, str]:
    """Whether it works, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(str(binary("kubectl")), *arguments, "get", "--raw", "/api/v1/namespaces/default/configmaps"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode == 0, out.decode()


async def said_by_us(kubeconfig: str | None) -> tuple[bool, str]:
    try:
        async with connected(kubeconfig, None, Settings()) as (client, _):
            await client.list(CONFIG_MAPS, "default")
    except PropellerError as error:
        return False, str(error)
    return True, ""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_kubectl_and_we_take_or_refuse_the_same_kubeconfig(
    world: World, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    path = world.directory / "config"
    path.write_text(yaml.safe_dump(case.make(world)))
    for name, value in case.env(world).items():
        monkeypatch.setenv(name, value)
    (ours, we_say), (theirs, kubectl_says) = await asyncio.gather(
        said_by_us(str(path)), said_by_kubectl(f"--kubeconfig={path}")
    )
    works = case.blames is None
    assert (ours, theirs) == (works, works), f"we say: {we_say}\nkubectl says: {kubectl_says}"
    if case.blames is not None:
        ours_blames, theirs_blames = case.blames
        assert re.search(ours_blames, we_say), we_say
        assert re.search(theirs_blames, kubectl_says), kubectl_says


async def test_several_files_are_one_kubeconfig_for_both(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.directory / "a").mkdir(exist_ok=True)
    (world.directory / "a" / "token").write_text(world.server.token)
    parts = {
        "empty": None,
        "a/users": {"users": [{"name": "u", "user": {"tokenFile": "token"}}]},
        "rest": world.document({"token": "wrong"}) | {"current-context": "x"},
        "later": {"current-context": "z", "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:9"}}]},
    }
    for name, part in parts.items():
        (world.directory / name).write_text("" if part is None else yaml.safe_dump(part))
    paths = [str(world.directory / name) for name in ("nowhere", *parts, "a/users")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", *paths]))
    (ours, we_say), (theirs, kubectl_says) = await asyncio.gather(said_by_us(None), said_by_kubectl())
    assert (ours, theirs) == (True, True), f"we say: {we_say}\nkubectl says: {kubectl_says}"
    assert load_connection().token_file == str(world.directory / "a" / "token")


async def test_a_kubeconfig_behind_a_link_has_its_files_beside_the_link_for_both(world: World) -> None:
    (world.directory / "b").mkdir(exist_ok=True)
    (world.directory / "b" / "real").write_text(yaml.safe_dump(world.document({"tokenFile": "token"})))
    link = world.directory / "link"
    link.symlink_to("b/real")
    (ours, we_say), (theirs, kubectl_says) = await asyncio.gather(
        said_by_us(str(link)), said_by_kubectl(f"--kubeconfig={link}")
    )
    assert (ours, theirs) == (True, True), f"we say: {we_say}\nkubectl says: {kubectl_says}"
