"""Whoever writes while the informers look on: directly, past the faults of their ways, but not past the server's."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

from propeller.errors import AlreadyExists, NotFound, Rejected, Retryable
from propeller.kube import CONFIG_MAPS, PODS, Client, Raw, Resource

KINDS: tuple[Resource[Any], ...] = (PODS.typed(dict), CONFIG_MAPS)
NAMES = 12
"""Of each kind in each namespace: few, so that writers meet, and names come back."""

GROUPS = ("a", "b", "c", "d")
"""Values of the label by which informers index."""

PHASES = ("Pending", "Running", "Succeeded", "Failed")
ANCHORS = ("anchor-in", "anchor-out")
"""Objects of each kind in each namespace that are never deleted, and never leave a selection: no store may lose one."""

_BURST = 25  # writes without a pause
_WHEN_DOWN = 0.1  # seconds before the next try on a server that is down
_FINALIZER = "soak.example.org/wait"


async def plant_anchors(client: Client, namespaces: list[str]) -> None:
    """Make the anchors: one in every selection of `in=yes` and running pods, one in none of them."""
    for namespace in namespaces:
        for kind in KINDS:
            for name, label in zip(ANCHORS, ("yes", "no"), strict=True):
                await client.create(kind, blank(kind, name, {"in": label, "group": "a"}), namespace)
        body = {"status": {"phase": "Running"}}
        await client.patch(KINDS[0], ANCHORS[0], namespace, body=body, subresource="status")


class Writer:
    """One of several. `counts` is what came of its writes, by the name of the verb or of the error."""

    def __init__(self, client: Client, namespaces: list[str], seed: str, per_second: float) -> None:
        self._client = client
        self._namespaces = namespaces
        self._rng = random.Random(seed)
        self._per_second = per_second
        self.counts: Counter[str] = Counter()

    async def run(self, storm: asyncio.Event) -> None:
        """Write until the storm is over. What a server refuses, or is not there to take, is the writers' life."""
        while not storm.is_set():
            for _ in range(_BURST if self._rng.random() < 0.03 else 1):
                try:
                    verb = await self._write()
                except Retryable as error:
                    verb = type(error).__name__
                    await asyncio.sleep(_WHEN_DOWN)
                except Rejected as error:
                    verb = type(error).__name__
                self.counts[verb] += 1
            await asyncio.sleep(self._rng.expovariate(self._per_second))

    async def _write(self) -> str:
        rng = self._rng
        kind, namespace = rng.choice(KINDS), rng.choice(self._namespaces)
        name = rng.choice(ANCHORS) if rng.random() < 0.05 else f"o{rng.randrange(NAMES)}"
        verb = rng.choices(("label", "annotate", "status", "delete", "recreate"), (4, 4, 4, 2, 2))[0]
        if name in ANCHORS:
            verb = "annotate"
        if verb == "status" and kind is not KINDS[0]:
            verb = "annotate"
        labels = {"in": rng.choice(("yes", "no", None)), "group": rng.choice((*GROUPS, None))}
        value, phase, node = str(rng.random()), rng.choice(PHASES), rng.choice(("", "", "n1", "n2"))
        waits = rng.random() < 0.1
        try:
            match verb:
                case "label":
                    await self._patch(kind, namespace, name, {"metadata": {"labels": labels}})
                case "annotate":
                    await self._patch(kind, namespace, name, {"metadata": {"annotations": {"value": value}}})
                case "status":
                    body = {"status": {"phase": phase}}
                    await self._client.patch(kind, name, namespace, body=body, subresource="status")
                case _:
                    await self._delete(kind, namespace, name, waits=waits)
                    if verb == "recreate":
                        await self._create(kind, namespace, name, labels, node)
        except NotFound:
            verb = "create"
            await self._create(kind, namespace, name, labels, node)
        return verb

    async def _create(
        self, kind: Resource[Any], namespace: str, name: str, labels: dict[str, str | None], node: str
    ) -> None:
        kept = {key: value for key, value in labels.items() if value is not None}
        try:
            await self._client.create(kind, blank(kind, name, kept, node), namespace)
        except AlreadyExists:
            await self._patch(kind, namespace, name, {"metadata": {"labels": labels}})

    async def _patch(self, kind: Resource[Any], namespace: str, name: str, body: Raw) -> None:
        await self._client.patch(kind, name, namespace, body=body)

    async def _delete(self, kind: Resource[Any], namespace: str, name: str, *, waits: bool) -> None:
        """At once; or in two steps, with a finalizer that is taken away by a patch."""
        if waits:
            await self._patch(kind, namespace, name, {"metadata": {"finalizers": [_FINALIZER]}})
        try:
            await self._client.delete(kind, name, namespace, grace_seconds=0)
        finally:
            if waits:
                await self._free(kind, namespace, name)

    async def _free(self, kind: Resource[Any], namespace: str, name: str) -> None:
        """Take the finalizer away, however often the server is down."""
        while True:
            try:
                await self._patch(kind, namespace, name, {"metadata": {"finalizers": None}})
            except NotFound:
                return
            except Retryable:
                await asyncio.sleep(_WHEN_DOWN)
            else:
                return


def blank(kind: Resource[Any], name: str, labels: dict[str, str], node: str = "") -> Raw:
    """A new object of one of the kinds; `node` is where a pod runs, or was to."""
    made: Raw = {"metadata": {"name": name, "labels": labels}}
    if kind is KINDS[0]:
        spec: Raw = {"containers": [{"name": "main", "image": "none"}], "restartPolicy": "Never"}
        return made | {"spec": spec | ({"nodeName": node} if node else {})}
    return made | {"data": {"text": "x" * 200}}
