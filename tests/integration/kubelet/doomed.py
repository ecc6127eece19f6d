"""A kubelet in a process of its own, to be killed: WORKDIR, LINKS (where a link to it may be) and PODS, as JSON."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from propeller import config
from propeller.embedded.kubelet import Kubelet, PodSeen, _home


def start(workdir: Path, links: Path, **pods: list[str]) -> subprocess.Popen[bytes]:
    """Start it, with the command of each pod by its uid."""
    words = [sys.executable, "-m", "tests.integration.kubelet.doomed", str(workdir), str(links), json.dumps(pods)]
    return subprocess.Popen(words, cwd=Path(__file__).parents[3])


class Cluster:
    """Has pods, and takes what the kubelet says of them."""

    def __init__(self, pods: Mapping[str, list[str]]) -> None:
        self._pods = pods

    async def register(self, node: object) -> None: ...

    async def bind(self, *given: object) -> None: ...

    async def report(self, *given: object) -> None: ...

    async def create_event(self, *given: object) -> None: ...

    @asynccontextmanager
    async def watch(self, seen: PodSeen) -> AsyncIterator[None]:
        for uid, words in self._pods.items():
            spec = {"containers": [{"name": "main", "command": words}], "restartPolicy": "Never"}
            seen({"metadata": {"name": uid, "namespace": "ns", "uid": uid}, "spec": spec}, False)
        yield


async def main(workdir: str, links: str, pods: str) -> None:
    _home.LINKS = Path(links)
    cluster: Any = Cluster(json.loads(pods))
    async with Kubelet(cluster, settings=config.KubeletOptions(zygote=False), workdir=Path(workdir)):
        await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
