"""People who create workflows, delete them, annotate them, and run failed ones again."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import ClassVar

from propeller.controller import _loading, _resource
from propeller.errors import AlreadyExists, Conflict, Denied, NotFound
from propeller.storage import MemoryStore, Storage
from tests.simulation.flows import Flow, draw_flow
from tests.simulation.model import predict
from tests.simulation.oracle import Workflow
from tests.simulation.processes import Processes
from tests.simulation.reached import ABORTED
from tests.simulation.retries import retry_until_ok, retry_until_served
from tests.simulation.scene import NAMESPACE, WORKFLOWS, Scene

__all__ = ["Users", "draw_flow"]  # what worlds put others in the place of


class Users:
    """`deletes` is how often one deletes a workflow, and `creates_again` how often another of its name comes then."""

    deletes: ClassVar[float] = 0.25
    creates_again: ClassVar[float] = 0.6

    def __init__(self, scene: Scene, processes: Processes) -> None:
        self._scene = scene
        self._processes = processes
        self._names = 0

    async def run(self) -> None:
        for _ in range(self._scene.rng.choice((1, 2, 4, 6))):
            await self.create(f"w{self._names}")
            self._names += 1
            await asyncio.sleep(self._scene.rng.expovariate(1 / 5.0))
            alive = [w for w in self._scene.oracle.workflows.values() if not w.deleted and not w.collected]
            if not alive:
                continue
            if self._scene.rng.random() < self.deletes:
                await self._delete(victim := self._scene.rng.choice(alive))
                if self._scene.rng.random() < self.creates_again:
                    await asyncio.sleep(self._scene.rng.choice((0.0, 0.5, 5.0)))
                    await self.create(victim.name)
            elif self._scene.rng.random() < 0.2:
                await self._annotate(self._scene.rng.choice(alive))
        await self.recover_some()

    async def recover_some(self) -> None:
        """A user runs one that has failed again: nothing fails this time, and what had ended well is not to run."""
        if random.Random(f"recovery {self._scene.seed}").random() >= 0.25:
            return
        for _ in range(300):
            standing = [w for w in self._scene.oracle.workflows.values() if not w.deleted and not w.collected]
            failed = [w for w in standing if w.status.get("phase") == 5 and w.flow.same_whatever_failed]
            if failed:
                await self.create("again", recover=failed[0])
                return
            if all(workflow.ended for workflow in standing):
                return
            await asyncio.sleep(1.0)

    async def create(self, name: str, *, recover: Workflow | None = None) -> None:
        flow = self._draw() if recover is None else replace(recover.flow, trouble=0.0, is_recovery=True)
        resource = flow.resource(name)
        recovered = taken_over = frozenset[str]()
        answers: dict[str, int | None] = {}
        children_left: dict[str, str] = {}
        if recover is not None:
            resource["executionConfig"]["RecoveryExecution"] = {"name": recover.name}
            recovered, (taken_over, children_left) = frozenset(recover.done), await self._left_by(recover.name)
            answers = recover.answers_of(taken_over)
        self._scene.finalizers.put_on(resource)
        if self._scene.actors is not None:
            self._scene.actors.label(resource)
        if not await self._scene.finalizers.name_is_free(name, self._scene.event_log):
            return
        prediction = predict(
            flow,
            f"{self._scene.seed} {self._scene.rng.random()}",
            unseen=not self._scene.overlaps,
            drained=self._scene.drains.put_into,
            answers=answers,
        )
        try:
            created = await retry_until_served(lambda: self._scene.clean.create(WORKFLOWS, resource, NAMESPACE))
        except AlreadyExists:
            if not self._scene.oracle.restores and not self._scene.retyped.used:
                raise
            return  # a restored server has one of that name again, or another user was first
        except (NotFound, Denied) as error:
            self._scene.event_log.violation(f"a user cannot create {name}: {error}")
            return
        if recover is not None and recover.deleted:
            taken_over, children_left = frozenset(), {}
        if recover is not None:
            self._scene.reached.recovers(recover)
        uid = created["metadata"]["uid"]
        self._scene.oracle.workflows[uid] = Workflow(
            name,
            uid,
            flow,
            prediction,
            recovered,
            taken_over,
            answers=answers,
            since=self._scene.loop.time(),
            children_left=children_left,
        )
        expected = "succeed" if prediction.succeeds else "fail"
        scripts = {
            node: [outcome.value for outcome in task.script.outcomes]
            for node, task in prediction.tasks.items()
            if task.script.outcomes
        }
        self._scene.event_log.record(f"a user creates {name} ({uid}), which should {expected}; {scripts}")

    def _draw(self) -> Flow:
        """A workflow. If attempts wait for tokens or quotas none has time limits: the time of a dynamic task goes on
        while what it has made waits.
        """
        flow = draw_flow(self._scene.rng)
        while (self._scene.tokens.used or self._scene.quotas.used) and flow.is_timed:
            flow = draw_flow(self._scene.rng)
        return flow

    async def _left_by(self, name: str) -> tuple[frozenset[str], dict[str, str]]:
        """The tasks whose outputs an ended execution has left, and by node the executions that it has started and that
        are to be recovered, as its status has them. It may go meanwhile.
        """
        if self._scene.settings.controller.ttl:
            return frozenset(), {}
        try:
            workflow = await retry_until_ok(lambda: self._scene.clean.get(_resource.WORKFLOWS, name, NAMESPACE))
        except NotFound:
            return frozenset(), {}  # a restored server has forgotten it
        async with Storage(self._scene.settings.storage, stores={"memory": MemoryStore(self._scene.blobs)}) as storage:
            execution = await _loading.Loader(self._scene.clean, storage, "memory://m").show(workflow, 0.0)
            outputs, children = _loading._left_of(execution)
            return frozenset(outputs), children

    async def _delete(self, workflow: Workflow) -> None:
        self._scene.event_log.record(f"a user deletes {workflow.name}")
        self._scene.reached.befalls(ABORTED, workflow.with_all_inside)
        workflow.deleted = True
        while True:
            try:
                await retry_until_ok(
                    lambda: self._scene.clean.delete(WORKFLOWS, workflow.name, NAMESPACE, propagation="Background")
                )
                return
            except NotFound:
                if not self._scene.retyped.is_unserved:
                    workflow.collected = True  # just before
                    return
            await asyncio.sleep(1.0)

    async def _annotate(self, workflow: Workflow) -> None:
        self._scene.event_log.record(f"a user annotates {workflow.name}")
        body = {"metadata": {"annotations": {"note": str(self._scene.rng.random())}}}
        try:
            await retry_until_ok(lambda: self._scene.clean.patch(WORKFLOWS, workflow.name, NAMESPACE, body=body))
        except (NotFound, Conflict):
            return
