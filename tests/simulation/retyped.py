"""In some worlds somebody deletes the resource type of workflows, and makes it anew: with or without the status
subresource, whichever it had before.

All workflows go with the type. One with a finalizer holds it until the controller releases that. Users who create
workflows meanwhile are refused (403 while the type ends, 404 once it is gone), and try again.
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
from propeller.embedded.server._kinds import Kind
from propeller.errors import AlreadyExists, NotFound
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client
from tests.simulation.patience import insist
from tests.simulation.story import Story
from tests.simulation.truth import Truth

NAME = workflow_crd()["metadata"]["name"]

MOST_HELD = 3600.0
"""Virtual seconds for which workflows with a finalizer may hold the type: all of them are aborted first."""

AT_ONCE = 12
"""Requests for the type that a process may make however short it is gone: informer and executions learn of it."""

EVERY = 10.0
"""Seconds, on average, between two of a process for as long as the type is gone: informers pause for 15 at least in
the end.
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


def is_ending(server: ApiServer) -> bool:
    """Whether the type, and each workflow with it, is being deleted."""
    definitions = server._registry.get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    found = definitions.collection.records.get(NAME)
    return found is not None and found.deleting


class Retyped:
    """Such deletions, in one of eight worlds."""

    def __init__(self, seed: int, server: ApiServer, client: Client, truth: Truth, story: Story) -> None:
        self._rng = random.Random(f"type anew {seed}")
        self.used = self._rng.random() < 1 / 8
        self._server = server
        self._client = client
        self._truth = truth
        self._story = story
        self._at_work = False
        """Whether that the type is gone is meant."""
        self._left = False
        self._starts: Counter[str] = Counter()

    async def run(self, create: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        """Delete the type and make it anew, once or twice; `create` is a user's, of a workflow with a name. Until
        `leave` and after that, see to it that there is one.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._delete_now_and_then(create))
            group.create_task(self._mend())

    def could_not_start(self, who: str) -> None:
        """A process ended as there was no type; it will be started again."""
        self._starts[who] += 1

    def leave(self) -> None:
        self._left = True

    async def _delete_now_and_then(self, create: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        for _ in range(self._rng.choice((1, 1, 2))):
            await asyncio.sleep(self._rng.choice((1.0, 10.0, 60.0)) * self._rng.random())
            self._at_work = True
            await self._make_anew()
            self._at_work = False
            await create(self._rng.choice(("anew", *self._free_names())))

    async def _mend(self) -> None:
        """Make the type anew that a server lacks which was restored from a copy of a moment when it was going."""
        while True:
            left, lacks = self._left, workflow_type(self._server) is None or is_ending(self._server)
            if lacks and not self._at_work and await self._is_gone():
                await self._define(subresource=self._rng.random() < 0.5)
            if left and not self._at_work:
                return
            await asyncio.sleep(5.0)

    async def _make_anew(self) -> None:
        restores = self._truth.restores
        self._story.tell("the resource type is deleted")
        with suppress(NotFound):  # the copy that the server was restored from is of a moment when it was gone
            await insist(lambda: self._client.delete(CUSTOM_RESOURCE_DEFINITIONS, NAME))
        if await self._is_gone():
            self._story.tell("the resource type is gone")
            before, since = self._asked(), self._now()
            await asyncio.sleep(self._rng.choice((0.1, 5.0, 60.0, 400.0)) * self._rng.random())
            if self._truth.restores == restores:
                self._check_requests(before, self._now() - since)
        await self._define(subresource=self._rng.random() < 0.5)

    async def _is_gone(self) -> bool:
        """Wait for that. A restored server may have forgotten that it was deleted."""
        ends, pause = self._now() + MOST_HELD, 0.01
        while self._now() < ends:
            try:
                found = await insist(lambda: self._client.get(CUSTOM_RESOURCE_DEFINITIONS, NAME))
            except NotFound:
                return True
            if "deletionTimestamp" not in found["metadata"]:
                return False
            await asyncio.sleep(pause := min(2 * pause, 1.0))
        self._story.broken("the resource type was deleted, and is still there")
        return False

    def _asked(self) -> dict[str, int]:
        """Requests for the type so far, by process, without those that starts are."""
        asked = self._truth.asked_for_type
        return {who: asked[who] - self._starts[who] for who in asked if who != "world"}

    def _check_requests(self, before: dict[str, int], seconds: float) -> None:
        for who, now in self._asked().items():
            made = now - before.get(who, 0)
            if made > AT_ONCE + seconds / EVERY:
                self._story.broken(f"{who} asked {made} times for a type that was gone for {seconds:.1f} s")

    async def _define(self, *, subresource: bool) -> None:
        try:
            await insist(lambda: self._client.create(CUSTOM_RESOURCE_DEFINITIONS, definition(subresource=subresource)))
        except AlreadyExists:
            return  # a restored server has it again
        self._story.tell(f"the resource type is made anew, {'with' if subresource else 'without'} a status subresource")

    def _free_names(self) -> list[str]:
        """Of workflows that went with the type."""
        workflows = self._truth.workflows.values()
        taken = {workflow.name for workflow in workflows if not workflow.deleted}
        return list(dict.fromkeys(workflow.name for workflow in workflows if workflow.name not in taken))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
