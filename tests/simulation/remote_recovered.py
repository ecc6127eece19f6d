"""Worlds of jobs in which a user recovers an execution that has failed, while controllers die and the service fails.

What must hold besides: no node whose outputs the earlier execution has left is a job of the new one, also if its
controller dies in between; and what follows in the new one is given what those earlier jobs have computed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from flyteidl.core import literals_pb2

from propeller.controller import _loading, _resource
from propeller.errors import NotFound
from propeller.handlers.plugins import JobState, RemoteTask
from propeller.kube import Raw
from propeller.storage import MemoryStore, Storage
from propeller.workflow import AttemptPhase, Job
from tests.simulation.reached import RECOVERED
from tests.simulation.remote import NAMESPACE, WORKFLOWS, World

AGAIN = "again"
FAILED = 5


class RecoveringWorld(World):
    """See the module's text."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.resources: dict[str, Raw] = {}
        self.left: frozenset[str] = frozenset()
        """Nodes of the earlier execution, by unique id, whose outputs the new one is to take over."""
        self.earlier = ""
        self.nodes: dict[bytes, tuple[str, str]] = {}
        """By id of a job, its execution and node."""
        self.computed: dict[tuple[str, str], int] = {}
        """By execution and node, what its job has computed."""

    def result_of(self, identity: bytes) -> int:
        return 100 + int(identity)

    def labelled(self, resource: Raw) -> Raw:
        self.resources[resource["metadata"]["name"]] = resource
        return super().labelled(resource)

    async def create(self, task: RemoteTask) -> bytes:
        execution, node = task.node.execution.info.name, task.node.execution.unique_id(task.node.number)
        if execution == AGAIN:
            if node in self.left:
                self.violation(f"{node} of {AGAIN} is a job, though {self.earlier} has left its outputs")
            self.require_inputs(task, node)
        identity = await super().create(task)
        self.nodes[identity] = execution, node
        return identity

    def require_inputs(self, task: RemoteTask, node: str) -> None:
        """The new execution goes on with what earlier jobs have computed."""
        before = f"n{int(node[1:]) - 1}" if node[1:].isdigit() and node != "n0" else ""
        if before in self.left:
            given = literals_pb2.LiteralMap.FromString(task.inputs.encode().tobytes())
            found, due = given.literals["x"].scalar.primitive.integer, self.computed[self.earlier, before]
            if found != due:
                self.violation(f"{node} of {AGAIN} is given {found}, and {before} of {self.earlier} had computed {due}")

    async def get(self, job: Job) -> JobState:
        state = await super().get(job)
        if state.phase is AttemptPhase.SUCCEEDED and (known := self.nodes.get(job.id)) is not None:
            self.computed[known] = self.result_of(job.id)
        return state

    async def go_on(self, names: list[str]) -> None:
        await super().go_on(names)
        if await self.has_recovered_one(names):
            names.append(AGAIN)
            for _ in range(self.rng.randint(0, 4)):
                await asyncio.sleep(self.rng.choice((0.1, 1.0, 5.0, 60.0)) * self.rng.random())
                await self.mischief([AGAIN])

    async def has_recovered_one(self, names: list[str]) -> bool:
        """Wait until one has failed, or none will, and create the one that recovers it."""
        for _ in range(400):
            standing = {one["metadata"]["name"]: one for one in (await self.clean.list(WORKFLOWS, NAMESPACE)).items}
            phases = {name: (one.get("status") or {}).get("phase") for name, one in standing.items()}
            failed = [name for name in names if phases.get(name) == FAILED]
            if failed:
                await self.recover(self.rng.choice(failed))
                return True
            if all(phases[name] in {3, 6} for name in names if name in phases):
                return False
            await asyncio.sleep(5.0)
        return False

    async def recover(self, name: str) -> None:
        try:
            self.left = await self.left_by(name)
        except NotFound:
            return
        self.earlier = name
        for job in self.jobs.values():
            if job.execution == name:
                self.cells.update((kind, RECOVERED) for kind in job.kinds)
        resource = self.resources[name] | {"executionConfig": {"RecoveryExecution": {"name": name}}}
        metadata = {"name": AGAIN, "labels": {"execution-id": AGAIN}}
        await self.clean.create(WORKFLOWS, self.labelled(resource | {"metadata": metadata}), NAMESPACE)

    async def left_by(self, name: str) -> frozenset[str]:
        workflow = await self.clean.get(_resource.WORKFLOWS, name, NAMESPACE)
        async with Storage(self.settings.storage, stores={"memory": MemoryStore(self.blobs, is_local=True)}) as storage:
            execution = await _loading.Loader(self.clean, storage, "memory://m").show(workflow, 0.0)
            return frozenset(_loading._left_of(execution)[0])
