"""Now and then a newer version of the controller goes on with an execution for a while, and leaves it as it was.

Ours does not understand the status meanwhile: it may write nothing, launch nothing twice, and has to go on afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import random

import msgspec
import zstandard

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Conflict, NotFound
from propeller.kube import Client, Raw
from tests.simulation.event_log import EventLog
from tests.simulation.oracle import Oracle, Workflow
from tests.simulation.retries import retry_until_ok

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
NEWER = base64.b64encode(zstandard.compress(msgspec.msgpack.encode([9, {"of": "a newer version"}]))).decode()


class Planted:
    """Such a newer version, in some of the worlds."""

    def __init__(self, seed: int, client: Client, namespace: str, oracle: Oracle) -> None:
        self._rng = random.Random(f"planted {seed}")
        self.used = self._rng.random() < 0.3
        self._client = client
        self._namespace = namespace
        self._oracle = oracle

    async def trouble(self, event_log: EventLog) -> None:
        for _ in range(self._rng.randint(1, 3)):
            await asyncio.sleep(self._rng.uniform(0.0, 20.0))
            standing = [
                w for w in self._oracle.workflows.values() if w.status and not (w.ended or w.deleted or w.collected)
            ]
            if standing:
                await self._visit(self._rng.choice(standing), event_log)

    async def _visit(self, workflow: Workflow, event_log: EventLog) -> None:
        try:
            found = await retry_until_ok(lambda: self._client.get(WORKFLOWS, workflow.name, self._namespace))
            before = found.get("status", {}).get("nodes")
            if found["metadata"]["uid"] != workflow.uid or workflow.ended:
                return
            planted = await self._write(found["metadata"], NEWER)
            restores = self._oracle.restores
            event_log.record(f"a newer version takes {workflow.name} over")
            await asyncio.sleep(self._rng.choice((0.5, 10.0, 120.0)))
            await self._give_back(planted, before, event_log, restores)
        except (NotFound, Conflict):
            return  # it is being deleted, or was written just then

    async def _give_back(self, planted: Raw, before: str | None, event_log: EventLog, restores: int) -> None:
        name = planted["metadata"]["name"]
        while True:
            found = await retry_until_ok(lambda: self._client.get(WORKFLOWS, name, self._namespace))
            if found["metadata"]["uid"] != planted["metadata"]["uid"] or "deletionTimestamp" in found["metadata"]:
                return
            if self._oracle.restores != restores:
                return  # the server was restored from a copy of before the visit
            if found["status"].get("nodes") != NEWER:
                event_log.violation(f"the status of {name} was written by who does not understand it")
                return
            try:
                await self._write(found["metadata"], before)
            except Conflict:
                continue
            event_log.record(f"the newer version gives {name} back")
            return

    async def _write(self, metadata: Raw, nodes: str | None) -> Raw:
        """Onto that version. A write whose answer does not come is not there: this client has a faultless link."""
        crd = await self._client.has_subresource(WORKFLOWS, "status")
        identity = {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]}
        body = {"metadata": identity, "status": {"nodes": nodes}}
        return await retry_until_ok(
            lambda: self._client.patch(
                WORKFLOWS, metadata["name"], self._namespace, body=body, subresource="status" if crd else ""
            )
        )
