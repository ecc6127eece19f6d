"""In some worlds somebody changes the resource type of workflows while they run: deletes it and makes it anew, takes
it out of service for a while, or gives it a status subresource or takes that away.

All workflows go with a type that is deleted. One with a finalizer holds it until the controller releases that. Users
who create workflows meanwhile are refused (403 while the type ends, 404 once it is gone), and try again. What is not
served is answered with 404 too, though its objects are there.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from propeller.controller import workflow_crd
from propeller.embedded.server import ApiServer
from propeller.embedded.server._storage import Record
from propeller.embedded.server.registry._kinds import Kind
from propeller.errors import AlreadyExists, NotFound
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw
from tests.simulation.event_log import EventLog
from tests.simulation.oracle import Oracle
from tests.simulation.retries import retry_until_ok

NAME = workflow_crd()["metadata"]["name"]

MAX_HELD = 3600.0
"""Virtual seconds for which workflows with a finalizer may hold the type: all of them are aborted first."""

AT_ONCE = 12
"""Requests for the type that a process may make however short it is away, and as many for each workflow: informer and
executions learn of it, and ask again after pauses that double from 0.2 s to a minute.
"""

EVERY = 15.0
"""Seconds, on average, between two of a process for as long as the type is gone, and of each workflow: that is the
informers' pause in the end, and executions pause for longer.
"""


def definition(*, subresource: bool) -> dict[str, Any]:
    """The resource type of workflows, as propeller or Flyte installs it."""
    crd = workflow_crd()
    if not subresource:
        del crd["spec"]["versions"][0]["subresources"]
    return crd


def workflow_type(server: ApiServer) -> Kind | None:
    """As it is served now; None while there is none."""
    return server._registry.find("flyte.lyft.com", "v1alpha1", "flyteworkflows")


def stored_workflows(server: ApiServer) -> dict[str, Raw]:
    """By uid, whether or not they are served."""
    found = [collection for collection in server._storage.collections if collection.name == NAME]
    return {record.uid: record.parsed() for collection in found for record in collection.records.values()}


def is_ending(server: ApiServer) -> bool:
    """Whether the type, and each workflow with it, is being deleted."""
    found = _definition(server)
    return found is not None and found.deleting


def _definition(server: ApiServer) -> Record | None:
    kind = server._registry.get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    return kind.collection.records.get(NAME)


class Retyped:
    """Such changes, in one of eight worlds. With `served` the type is never taken out of service: another part of the
    world reads workflows, and takes a 404 for their end.
    """

    def __init__(
        self, seed: int, server: ApiServer, client: Client, oracle: Oracle, event_log: EventLog, *, served: bool
    ) -> None:
        self._rng = random.Random(f"type anew {seed}")
        self.used = self._rng.random() < 1 / 8
        self._served = served
        self._server = server
        self._client = client
        self._oracle = oracle
        self._event_log = event_log
        self._at_work = False
        """Whether that the type is gone is meant."""
        self._left = False
        self._starts: Counter[str] = Counter()

    async def run(self, create: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        """Change the type once or twice; `create` is a user's, of a workflow with a name. Until `leave` and after that,
        see to it that there is one.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._change_now_and_then(create))
            group.create_task(self._mend())

    def could_not_start(self, who: str) -> None:
        """A process ended as there was no type; it will be started again."""
        self._starts[who] += 1

    def leave(self) -> None:
        self._left = True

    @property
    def is_unserved(self) -> bool:
        """Whether workflows are there, and nobody can ask for them."""
        return workflow_type(self._server) is None and _definition(self._server) is not None

    async def _change_now_and_then(self, create: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        changes = [self._make_anew, self._make_anew, self._edit, *(() if self._served else (self._stop_serving,))]
        for _ in range(self._rng.choice((1, 1, 2))):
            await asyncio.sleep(self._rng.choice((1.0, 10.0, 60.0)) * self._rng.random())
            self._at_work = True
            await self._rng.choice(changes)()
            self._at_work = False
            await create(self._rng.choice(("anew", *self._free_names())))

    async def _mend(self) -> None:
        """Put right what a server has that was restored from a copy of a moment when the type was going or away."""
        while True:
            left = self._left
            if not self._at_work:
                if self.is_unserved and not is_ending(self._server):
                    await self._patch(served=True)
                elif (workflow_type(self._server) is None or is_ending(self._server)) and await self._is_gone():
                    await self._define(subresource=self._rng.random() < 0.5)
                if left:
                    return
            await asyncio.sleep(5.0)

    async def _make_anew(self) -> None:
        restores = self._oracle.restores
        self._event_log.record("the resource type is deleted")
        with suppress(NotFound):  # the copy that the server was restored from is of a moment when it was gone
            await retry_until_ok(lambda: self._client.delete(CUSTOM_RESOURCE_DEFINITIONS, NAME))
        if await self._is_gone():
            await self._stay_away(restores)
        await self._define(subresource=self._rng.random() < 0.5)

    async def _stop_serving(self) -> None:
        restores = self._oracle.restores
        await self._patch(served=False)
        await self._stay_away(restores)
        await self._patch(served=True)

    async def _edit(self) -> None:
        kind = workflow_type(self._server)
        if kind is not None:
            await self._patch(subresource="status" not in kind.subresources)

    async def _patch(self, *, served: bool | None = None, subresource: bool | None = None) -> None:
        """Change the definition, unless a restored server does not have it."""
        record = _definition(self._server)
        if record is None:
            return
        (version,) = record.parsed()["spec"]["versions"]
        if served is not None:
            version["served"] = served
        if subresource is not None:
            version["subresources"] = {"status": {}} if subresource else {}
        body = {"spec": {"versions": [version]}}
        with suppress(NotFound):
            await retry_until_ok(lambda: self._client.patch(CUSTOM_RESOURCE_DEFINITIONS, NAME, body=body))
        has = "with" if version.get("subresources") else "without"
        is_ = "served" if version["served"] else "not served"
        self._event_log.record(f"the resource type is {is_}, {has} a status subresource")

    async def _stay_away(self, restores: int) -> None:
        """Count what is asked for meanwhile."""
        self._event_log.record("the resource type is away")
        before, since = self._asked(), self._now()
        await asyncio.sleep(self._rng.choice((0.1, 5.0, 60.0, 400.0)) * self._rng.random())
        if self._oracle.restores == restores:
            self._check_requests(before, self._now() - since)

    async def _is_gone(self) -> bool:
        """Wait for that. A restored server may have forgotten that it was deleted."""
        ends, pause = self._now() + MAX_HELD, 0.01
        while self._now() < ends:
            try:
                found = await retry_until_ok(lambda: self._client.get(CUSTOM_RESOURCE_DEFINITIONS, NAME))
            except NotFound:
                return True
            if "deletionTimestamp" not in found["metadata"]:
                return False
            await asyncio.sleep(pause := min(2 * pause, 1.0))
        self._event_log.violation("the resource type was deleted, and is still there")
        return False

    def _asked(self) -> dict[str, int]:
        """Requests for the type so far, by process, without those that starts are."""
        asked = self._oracle.asked_for_type
        return {who: asked[who] - self._starts[who] for who in asked if who != "world"}

    def _check_requests(self, before: dict[str, int], seconds: float) -> None:
        most = (1 + len(self._oracle.workflows)) * (AT_ONCE + seconds / EVERY)
        for who, now in self._asked().items():
            if (made := now - before.get(who, 0)) > most:
                self._event_log.violation(f"{who} asked {made} times for a type that was away for {seconds:.1f} s")

    async def _define(self, *, subresource: bool) -> None:
        try:
            await retry_until_ok(
                lambda: self._client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(subresource=subresource))
            )
        except AlreadyExists:
            return  # a restored server has it again
        self._event_log.record(
            f"the resource type is made anew, {'with' if subresource else 'without'} a status subresource"
        )

    def _free_names(self) -> list[str]:
        """Of workflows that went with the type."""
        workflows = self._oracle.workflows.values()
        taken = {workflow.name for workflow in workflows if not workflow.deleted}
        return list(dict.fromkeys(workflow.name for workflow in workflows if workflow.name not in taken))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
