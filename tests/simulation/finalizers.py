"""Some worlds' workflows come from FlyteAdmin: with its finalizer, which whoever runs them has to remove."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import NotFound
from propeller.kube import Client, Raw
from tests.simulation.event_log import EventLog
from tests.simulation.retries import retry_until_ok

FINALIZER = "flyte.org/finalizer"
ARCHIVE = "example.com/archive"
"""Somebody else's, who removes it from what is deleted: see `namesakes`."""
WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
NAME_IS_TAKEN = 600.0
"""Virtual seconds for which a deleted namesake may still be there."""


class Finalizers:
    """Whether the workflows of a seed's world have one, and what that means for the rest of it."""

    def __init__(self, seed: int, client: Client, namespace: str) -> None:
        self.used = random.Random(f"finalizers {seed}").random() < 0.3
        self._client = client
        self._namespace = namespace

    def put_on(self, resource: dict[str, Any]) -> None:
        if self.used:
            resource["metadata"]["finalizers"] = [FINALIZER]

    async def name_is_free(self, name: str, event_log: EventLog) -> bool:
        """A user who makes a workflow anew waits until the one before is gone."""
        if not self.used:
            return True
        for _ in range(int(NAME_IS_TAKEN)):
            try:
                found = await retry_until_ok(lambda: self._client.get(WORKFLOWS, name, self._namespace))
            except NotFound:
                return True
            await asyncio.sleep(1.0)
        if "deletionTimestamp" in found["metadata"]:  # else a restored server has forgotten that
            event_log.violation(f"{name} was deleted, and is still there")
        return False

    async def check(self, event_log: EventLog) -> None:
        """At the end none is left: neither on what ended, nor on what was deleted."""
        for workflow in (await self._client.list(WORKFLOWS, self._namespace)).items:
            metadata = workflow["metadata"]
            if set(metadata.get("finalizers") or ()) - ({ARCHIVE} if "deletionTimestamp" not in metadata else set()):
                event_log.violation(f"{metadata['name']} ({metadata['uid']}) keeps its finalizer after the end")
