"""Every pod that a namespace has ever had, and its end: it does the work of the pod's task.

Guarantees
    It follows the API server by a watch of its own, from the version at which it began to the end, without a list: no
    pod comes and goes unseen. If the server has forgotten that version it raises ResourceExpired.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flyteidl.core import literals_pb2

from loadtest.workflows import OUTPUT
from propeller.errors import Conflict, Retryable
from propeller.kube import PODS, Client, EventType
from propeller.reconcile import FairPool

MAX_CONCURRENT_WRITES = 16
RENEW_SECONDS = 10.0
"""Seconds after which a watch is resumed: kube-apiserver lets one fall silent now and then."""

UID_LABEL = "propeller/workflow-uid"
"""Of pods in another cluster than their workflow."""

_FILE = "file://"


class Attempt(NamedTuple):
    """The attempt that a pod was created for."""

    workflow: str
    """Its uid."""
    node: str
    attempt: int


class Ledger:
    """`created` counts the pods of each attempt; `stopped` names deleted ones; `ended` those that we
    ended, each some `seconds` after it appeared.
    """

    def __init__(
        self, client: Client, namespace: str, seconds: Callable[[], float], *, others: Sequence[Client] = ()
    ) -> None:
        """`others` are of further API servers that run pods."""
        self.clients = (client, *others)
        self._namespace = namespace
        self._seconds = seconds
        self._ends: FairPool[str] = FairPool(MAX_CONCURRENT_WRITES)
        self._uids: set[str] = set()
        self.created: Counter[Attempt] = Counter()
        self.stopped: list[str] = []
        self.ended: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        versions = [(await client.list(PODS, self._namespace, limit=1)).resource_version for client in self.clients]
        async with self._ends, asyncio.TaskGroup() as group:
            followers = [
                group.create_task(self._follow(client, version), name="ledger")
                for client, version in zip(self.clients, versions, strict=True)
            ]
            yield
            for follower in followers:
                follower.cancel()

    async def _follow(self, client: Client, version: str) -> None:
        pods = PODS.typed(dict[str, Any])
        while True:
            try:
                async for event in client.watch(
                    pods, self._namespace, resource_version=version, timeout_seconds=RENEW_SECONDS
                ):
                    self._enter(client, event.type, event.object)
                    version = event.object["metadata"]["resourceVersion"]
            except Retryable:
                await asyncio.sleep(0.2)

    def _enter(self, client: Client, type_: EventType, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        if type_ is EventType.BOOKMARK:
            return
        if type_ is EventType.DELETED or metadata.get("deletionTimestamp"):
            self.stopped.append(metadata["name"])
        if metadata["uid"] in self._uids:
            return
        self._uids.add(metadata["uid"])
        notes = metadata["annotations"]
        owner = metadata["labels"].get(UID_LABEL) or metadata["ownerReferences"][0]["uid"]
        self.created[Attempt(owner, notes["propeller/node"], int(notes["propeller/attempt"]))] += 1
        asyncio.get_running_loop().call_later(self._seconds(), self._submit, client, pod)

    def _submit(self, client: Client, pod: dict[str, Any]) -> None:
        self._ends.submit(pod["metadata"]["name"], lambda: self._end(client, pod))

    async def _end(self, client: Client, pod: dict[str, Any]) -> None:
        _, inputs, outputs = pod["spec"]["containers"][0]["args"]
        _count(Path(inputs.removeprefix(_FILE)), Path(outputs.removeprefix(_FILE), "outputs.pb"))
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        body = {"metadata": {"uid": uid}, "status": {"phase": "Succeeded"}}
        while True:
            try:
                await client.patch(PODS, name, self._namespace, body=body, subresource="status")
            except Conflict:
                raise
            except Retryable:
                await asyncio.sleep(0.2)
            else:
                self.ended.add(name)
                return


def _count(inputs: Path, outputs: Path) -> None:
    """Do the work of a counting task: see `loadtest.workflows.counting`."""
    given = literals_pb2.LiteralMap.FromString(inputs.read_bytes()) if inputs.exists() else literals_pb2.LiteralMap()
    result = literals_pb2.LiteralMap()
    result.literals[OUTPUT].scalar.primitive.integer = 1 + total(given)
    outputs.parent.mkdir(parents=True, exist_ok=True)
    outputs.write_bytes(result.SerializeToString())


def total(literals: literals_pb2.LiteralMap) -> int:
    """The sum of the integers."""
    return sum(literal.scalar.primitive.integer for literal in literals.literals.values())
