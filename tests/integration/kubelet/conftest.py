"""A cluster of one kind, pods, in memory: as much of an API server as a kubelet needs, with every request on record."""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from propeller import config
from propeller.clock import rfc3339
from propeller.embedded.kubelet import Kubelet, PodSeen, Token
from propeller.errors import Conflict, Denied, NotFound, Unavailable

Raw = dict[str, Any]


_OF_THE_CONTAINER = frozenset(
    {"args", "env", "image", "ports", "resources", "securityContext", "terminationMessagePolicy", "volumeMounts"}
    | {"workingDir"}
)


class Cluster:
    """Pods of namespace `ns`. Changes reach the kubelet's watch in a later turn of the loop, as a server's would."""

    def __init__(self) -> None:
        self.pods: dict[str, Raw] = {}
        self.objects: dict[tuple[str, str], Raw] = {}
        self.nodes: dict[str, Raw] = {}
        self.requests: list[str] = []
        self.events: dict[str, Raw] = {}
        self.takes_events = True
        self.tokens = 0
        self.token_life = 3600.0
        self.failing = 0  # so many of the next writes fail
        self.kubelet: Kubelet | None = None
        self._uids = itertools.count()
        self._watchers: list[PodSeen] = []
        self._news = asyncio.Condition()

    # -- what the kubelet calls

    async def register(self, node: Raw) -> None:
        self.nodes[node["metadata"]["name"]] = node

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        pod = await self._write("bind", name, uid)
        pod["spec"]["nodeName"] = node
        await self._tell(pod)

    async def report(self, namespace: str, name: str, uid: str, status: Raw) -> None:
        pod = await self._write(str(status["phase"]), name, uid)
        pod["status"] = {**pod.get("status", {}), **copy.deepcopy(status)}
        await self._tell(pod)

    async def remove(self, namespace: str, name: str, uid: str) -> None:
        pod = await self._write("remove", name, uid)
        pod["metadata"]["deletionGracePeriodSeconds"] = 0
        if not pod["metadata"].get("finalizers"):
            del self.pods[name]
        await self._tell(pod, gone=name not in self.pods)

    async def read(self, kind: str, namespace: str, name: str) -> Raw | None:
        return self.objects.get((kind, name))

    async def token(self, pod: Raw, audience: str, seconds: int) -> Token:
        self.tokens += 1
        return Token(f"{self.tokens} for {audience or 'the server'}", rfc3339(time.time() + self.token_life))

    async def create_event(self, namespace: str, event: Raw) -> None:
        if not self.takes_events:
            raise Denied("events is forbidden", status=403)
        self.events[event["metadata"]["name"]] = event

    async def patch_event(self, namespace: str, name: str, change: Raw) -> None:
        self.events[name] |= change

    @asynccontextmanager
    async def watch(self, seen: PodSeen) -> AsyncIterator[None]:
        for pod in self.pods.values():
            seen(copy.deepcopy(pod), False)
        self._watchers.append(seen)
        yield
        self._watchers.remove(seen)

    # -- what a test calls

    async def create(self, name: str, *words: str, **fields: Any) -> str:
        """A pod with one container `main` that runs `words`; `fields` go to the container, the spec or the metadata."""
        container = {"name": "main", "image": "none", "command": list(words)}
        metadata: Raw = {"name": name, "namespace": "ns", "uid": f"uid-{next(self._uids)}"}
        spec: Raw = {"containers": [container], "restartPolicy": "Never"}
        for key, value in fields.items():
            if key in ("finalizers", "annotations", "labels"):
                metadata[key] = value
            elif key in _OF_THE_CONTAINER or key.endswith("Probe"):
                container[key] = value
            else:
                spec[key] = value
        pod = self.pods[name] = {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}
        await self._tell(pod)
        return str(metadata["uid"])

    async def delete(self, name: str, *, grace: int = 30) -> None:
        pod = self.pods[name]
        pod["metadata"] |= {"deletionTimestamp": "2030-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
        await self._tell(pod)

    async def until(self, name: str, holds: Callable[[Raw], object]) -> Raw:
        """Wait until the pod's status satisfies `holds`, and return that status."""
        async with self._news:
            await self._news.wait_for(lambda: name in self.pods and holds(self.pods[name]["status"]))
            return copy.deepcopy(self.pods[name]["status"])

    async def phase(self, name: str, phase: str) -> Raw:
        """The status, once it has that phase; fails if the pod is over in another."""
        status = await self.until(name, lambda status: status.get("phase") in (phase, "Succeeded", "Failed"))
        assert status["phase"] == phase, status
        return status

    async def over(self, name: str) -> Raw:
        """The state `terminated` of the first container, once there is one."""
        status = await self.until(name, lambda status: status["phase"] in ("Succeeded", "Failed"))
        ended: Raw = status["containerStatuses"][0]["state"]["terminated"]
        return ended

    async def absent(self, name: str) -> None:
        async with self._news:
            await self._news.wait_for(lambda: name not in self.pods)

    async def log(self, name: str) -> str:
        assert self.kubelet is not None
        return b"".join([chunk async for chunk in self.kubelet.logs("ns", name)]).decode()

    async def logged(self, name: str, text: str) -> str:
        """The log, once it contains `text`."""
        found = ""
        while text not in found:
            await asyncio.sleep(0.01)
            found = await self.log(name) if self.pods[name]["spec"].get("nodeName") else ""
        return found

    async def events_of(self, name: str, reason: str, *, count: int = 1) -> list[tuple[str, str, str, str, int]]:
        """Component, type, reason, message and count of the object's events, once that one is among them."""
        while True:
            found = [one for one in self.events.values() if one["involvedObject"]["name"] == name]
            if any(one["reason"] == reason and one.get("count", 1) >= count for one in found):
                return [
                    (one["reportingComponent"], one["type"], one["reason"], one["message"], one.get("count", 1))
                    for one in found
                ]
            await asyncio.sleep(0.01)

    def requests_of(self, name: str) -> list[str]:
        return [one.split()[0] for one in self.requests if one.endswith(f" {name}")]

    async def _write(self, what: str, name: str, uid: str) -> Raw:
        await asyncio.sleep(0)
        self.requests.append(f"{what} {name}")
        if self.failing:
            self.failing -= 1
            raise Unavailable("the server is down")
        if name not in self.pods:
            raise NotFound(f"pod {name} not found", status=404)
        if self.pods[name]["metadata"]["uid"] != uid:
            raise Conflict("the uid in the precondition differs")
        return self.pods[name]

    async def _tell(self, pod: Raw, *, gone: bool = False) -> None:
        for seen in self._watchers:
            asyncio.get_running_loop().call_soon(seen, copy.deepcopy(pod), gone)
        async with self._news:
            self._news.notify_all()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def settings() -> config.KubeletOptions:
    """Bare processes, impatient: what most tests need."""
    return config.KubeletOptions(
        zygote=False, memory_interval=0.02, retry=0.02, restart_backoff=0.02, shutdown_grace=0.5
    )


@pytest.fixture
async def kubelet(cluster: Cluster, settings: config.KubeletOptions, tmp_path: Path) -> AsyncIterator[Kubelet]:
    async with Kubelet(cluster, settings=settings, workdir=tmp_path / "kubelet") as kubelet:
        cluster.kubelet = kubelet
        yield kubelet
