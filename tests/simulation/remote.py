"""Worlds whose tasks are jobs of a remote service: controllers die between any two awaits, the service fails in every
way, and workflows are deleted.

What must hold: a job is looked at and deleted only once a status has had its id, but for one that its own creator
deletes at once; an attempt has another job only if the id of the first was lost with a controller, or with an answer;
in the end every execution has ended, and no job runs whose id was in a status.

Which of what befell the world found a job at work is counted beside it, and draws nothing.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from flyteidl.core import literals_pb2
from google.protobuf import json_format

from propeller.clock import LoopClock
from propeller.config import ApiServerOptions, AttemptOptions, CheckpointOptions, ConnectorOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController
from propeller.embedded.faults import NO_FAULTS, FaultProfile, FaultyLink, FaultyStore
from propeller.embedded.server import ApiServer
from propeller.errors import NotFound, PropellerError, Rejected, Unavailable
from propeller.handlers.plugins import JobState, Plugins, RemotePlugin, RemoteTask
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, Raw
from propeller.status import decode_status, left_jobs_of
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.workflow import AttemptPhase, Failure, Job
from tests.simulation.loop import PROCESS, SimulatedLoop, run
from tests.simulation.reached import ABORTED, KILLED, Cell
from tests.simulation.retyped import definition
from tests.unit.storage.values import bound, literal, promise
from tests.unit.workflow import drive

NAMESPACE = "ns"
WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
INTEGER = {"type": {"simple": "INTEGER"}}
TASK = {
    "id": {"resourceType": "TASK", "project": "p", "domain": "d", "name": "job", "version": "v"},
    "type": "job",
    "interface": {"inputs": {"variables": {"x": INTEGER}}, "outputs": {"variables": {"o": INTEGER}}},
}
END = 20_000.0
"""Virtual seconds after which everything has ended, or never will."""


class Remote:
    """One job, as its service has it."""

    def __init__(self, task: RemoteTask, creator: int, ends: float, end: AttemptPhase, *, retryable: bool) -> None:
        self.key = task.key
        self.execution = task.node.execution.info.name
        self.kinds = {"connector job", "map task"} if "-m-" in task.name else {"connector job"}
        self.creator = creator
        self.ends = ends
        self.end = end
        self.retryable = retryable
        self.deleted = False
        self.forgotten = False
        self.answered = False
        """Whether its creator was told its id."""


class World:
    """See the module's text."""

    def __init__(self, seed: int, loop: SimulatedLoop, *, mapped: bool) -> None:
        self.seed, self.loop, self.rng = seed, loop, random.Random(f"remote {seed}")
        self.maps = random.Random(f"maps {seed}") if mapped else None
        """Draws of its own, so that a world without map tasks is what it was."""
        rng = self.rng
        self.violations: list[str] = []
        self.over = False
        """Whether the controllers are being cleaned up: those that were killed go on for that."""
        self.jobs: dict[bytes, Remote] = {}
        self.written: set[bytes] = set()
        """Ids that a status has had."""
        self.answered_late: set[bytes] = set()
        """Ids that a status has had of jobs that no snapshot has, as they were answered too late."""
        self.cells: set[Cell] = set()
        """Which kinds were at work when something befell their execution."""
        self.server = ApiServer(ApiServerOptions(), clock=LoopClock(), randomness=random.Random(f"uid {seed}"))
        self.blobs: dict[str, bytes] = {}
        self.trouble = rng.choice((0.0, 0.05, 0.2))
        """How often a call of the service fails, while there is trouble."""
        faults = FaultProfile(
            latency=rng.choice((0.0, 0.05)),
            lost_requests=rng.choice((0.0, 0.05)),
            lost_responses=rng.choice((0.0, 0.05)),
            refusals=rng.choice((0.0, 0.05)),
            lag=rng.choice((0.0, 0.5)),
            blob_errors=rng.choice((0.0, 0.05)),
        )
        self.profile = faults if rng.random() < 0.8 else NO_FAULTS
        self.settings = Settings(
            storage=StorageOptions(metadata_prefix="memory://m", raw_output_prefix="memory://raw"),
            checkpoint=CheckpointOptions(max_lag=rng.choice((0.0, 5.0)), budget=rng.choice((256 * 1024, 256))),
            attempts=AttemptOptions(system_backoff=1.0),
            connectors=ConnectorOptions(poll_longest=rng.choice((1.0, 10.0)), max_failures=50),
        )
        self.processes: list[tuple[int, asyncio.Task[None], FaultyLink, FaultyStore]] = []
        self.clean = self.client(0, NO_FAULTS)

    def client(self, number: int, profile: FaultProfile) -> Client:
        return Client(self.server.transport(interceptor=self.link(number, profile)), clock=LoopClock())

    def link(self, number: int, profile: FaultProfile) -> FaultyLink:
        return FaultyLink(random.Random(f"link {self.seed} {number}"), profile)

    # the service

    async def call(self) -> None:
        """A call takes a while, and may fail before it has an effect."""
        await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        if self.rng.random() < self.trouble:
            raise self.rng.choice((Unavailable("no answer"), Rejected("a traceback", status=500)))

    async def answer(self) -> None:
        """Its answer may be lost."""
        await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        if self.rng.random() < self.trouble:
            raise Unavailable("the answer is lost")

    async def create(self, task: RemoteTask) -> bytes:
        await self.call()
        before = [job for job in self.jobs.values() if job.key == task.key]
        for job in before:
            if job.answered and self.is_alive(job.creator) and not job.deleted:
                self.violation(f"{task.key} is created again by {PROCESS.get()}, and {job.creator} knows a job of it")
        identity = f"{len(self.jobs)}".encode()
        end = self.rng.choices((AttemptPhase.SUCCEEDED, AttemptPhase.FAILED), (0.8, 0.2))[0]
        ends = self.loop.time() + self.rng.choice((0.0, 5.0, 60.0, 600.0))
        job = Remote(task, PROCESS.get(), ends, end, retryable=self.rng.random() < 0.7)
        self.jobs[identity] = job
        await self.answer()
        job.answered = True
        return identity

    async def get(self, job: Job) -> JobState:
        await self.call()
        await self.require_written(job, "looked at")
        remote = self.jobs[job.id]
        if remote.forgotten or remote.deleted:
            raise NotFound("no such job", status=404)
        await self.answer()
        if self.loop.time() < remote.ends:
            return JobState(AttemptPhase.RUNNING, "RUNNING", "it runs")
        if remote.end is AttemptPhase.FAILED:
            return JobState(
                AttemptPhase.FAILED, "FAILED", failure=Failure("Failed", "it failed", recoverable=remote.retryable)
            )
        outputs = literals_pb2.LiteralMap(literals={"o": literal(self.result_of(job.id))})
        return JobState(AttemptPhase.SUCCEEDED, "SUCCEEDED", outputs=outputs.SerializeToString())

    def result_of(self, identity: bytes) -> int:
        """What a job computes."""
        return 1

    async def delete(self, job: Job) -> None:
        await self.call()
        if self.jobs[job.id].creator != PROCESS.get():
            await self.require_written(job, "deleted")
        self.jobs[job.id].deleted = True
        await self.answer()

    async def require_written(self, job: Job, what: str) -> None:
        """The status of its execution has, or has had, the job."""
        if job.id in self.written | self.answered_late:
            return
        await self.read_statuses()
        if job.id not in self.written | self.answered_late:
            self.violation(f"job {job.id!r} is {what}, and no status has had its id")

    async def read_statuses(self) -> None:
        async with Storage(self.settings.storage, stores={"memory": MemoryStore(self.blobs, is_local=True)}) as storage:
            for workflow in (await self.clean.list(WORKFLOWS, NAMESPACE)).items:
                status = workflow.get("status") or {}
                snapshot = await decode_status(status, storage, str(status.get("dataDir") or ""))
                self.written.update(job.id for job in (snapshot.jobs if snapshot is not None else ()))
                self.answered_late.update(job.id for job in left_jobs_of(status))

    def befalls(self, what: str, *executions: str) -> None:
        """Something befalls these executions, or all: their jobs that are at work count."""
        for job in self.jobs.values():
            runs = not job.deleted and not job.forgotten and self.loop.time() < job.ends
            if runs and (not executions or job.execution in executions):
                self.cells.update((kind, what) for kind in job.kinds)

    def violation(self, what: str) -> None:
        if not self.over:
            self.violations.append(f"{self.loop.time():.3f} {what}")

    # the controllers

    def is_alive(self, number: int) -> bool:
        return any(one == number for one, *_ in self.processes) and number not in self.loop._ready.frozen

    def start(self) -> None:
        number = len(self.processes) + 1
        link, memory = self.link(number, self.profile), MemoryStore(self.blobs, is_local=self.rng.random() < 0.5)
        store = FaultyStore(memory, random.Random(f"store {self.seed} {number}"), self.profile)
        context = contextvars.copy_context()
        context.run(PROCESS.set, number)
        self.processes.append((number, self.loop.create_task(self._control(link, store), context=context), link, store))

    async def _control(self, link: FaultyLink, store: FaultyStore) -> None:
        client = Client(self.server.transport(interceptor=link), clock=LoopClock())
        while True:
            try:
                async with Storage(self.settings.storage, stores={"memory": store}) as storage:
                    plugins = Plugins(remote=[Service(self)])
                    controller = WorkflowController(client, storage, self.settings, clock=LoopClock(), plugins=plugins)
                    async with controller.running():
                        await asyncio.Event().wait()
            except PropellerError:
                await asyncio.sleep(1.0)
            except Exception as error:  # noqa: BLE001 - the world goes on, to tell of it
                self.violation(f"a controller ended: {error!r}")
                await asyncio.sleep(1.0)

    def kill(self) -> None:
        """The controller does nothing from here on, wherever it stood."""
        self.befalls(KILLED)
        self.loop.freeze(self.processes[-1][0])

    # the world

    async def live(self) -> list[str]:
        async with self.server:
            subresource = self.rng.random() < 0.5
            await self.clean.create(CUSTOM_RESOURCE_DEFINITIONS, definition(subresource=subresource))
            await self.clean.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
            self.start()
            try:
                names = [f"w{number}" for number in range(self.rng.randint(1, 3))]
                for name in names:
                    await self.clean.create(WORKFLOWS, self.labelled(workflow(name, self.rng, self.maps)), NAMESPACE)
                for _ in range(self.rng.randint(0, 6)):
                    await asyncio.sleep(self.rng.choice((0.1, 1.0, 5.0, 60.0)) * self.rng.random())
                    await self.mischief(names)
                await self.go_on(names)
                await self.end(names)
            finally:
                await self.stop()
        return self.violations

    def labelled(self, resource: Raw) -> Raw:
        """What a user creates."""
        return resource

    async def go_on(self, names: list[str]) -> None:
        """What else happens before all that goes wrong is over."""

    async def mischief(self, names: list[str]) -> None:
        match self.rng.choice(("kill", "kill", "delete", "forget", "finish")):
            case "kill":
                self.kill()
                await asyncio.sleep(self.rng.choice((0.0, 30.0)))
                self.start()
            case "delete":
                try:
                    name = self.rng.choice(names)
                    await self.clean.delete(WORKFLOWS, name, NAMESPACE)
                    self.befalls(ABORTED, name)
                except NotFound:
                    return
            case "forget":
                for job in self.jobs.values():
                    job.forgotten |= self.rng.random() < 0.2
            case "finish":
                for job in self.jobs.values():
                    job.ends = min(job.ends, self.loop.time())

    async def end(self, names: list[str]) -> None:
        """From here on nothing goes wrong: every execution ends, and lets go of its workflow."""
        self.trouble = 0.0
        for _, _, link, store in self.processes:
            link.profile = store.profile = NO_FAULTS
        self.profile = NO_FAULTS
        until = self.loop.time() + END
        left: list[str] = names
        while left and self.loop.time() < until:
            await asyncio.sleep(10.0)
            await self.read_statuses()
            left = [
                name
                for workflow in (await self.clean.list(WORKFLOWS, NAMESPACE)).items
                if (name := workflow["metadata"]["name"])
                and (
                    (workflow.get("status") or {}).get("phase") not in {3, 5, 6}
                    or workflow["metadata"].get("finalizers")
                )
            ]
        if left:
            self.violation(f"{left} have not ended, or are held")
        for identity, job in self.jobs.items():
            runs = not job.deleted and not job.forgotten and self.loop.time() < job.ends
            if runs and identity in self.written | self.answered_late:
                self.violation(f"job {identity!r} of {job.key} is left running")

    async def stop(self) -> None:
        self.over = True
        for number, task, link, store in self.processes:
            link.partitioned = store.partitioned = True
            self.loop.thaw(number)
            task.cancel()
        await asyncio.wait([task for _, task, *_ in self.processes])


class Service(RemotePlugin):
    """What a controller has of the service."""

    task_types = frozenset({"job"})

    def __init__(self, world: World) -> None:
        self._world = world

    async def create(self, task: RemoteTask) -> bytes | JobState:
        return await self._world.create(task)

    async def get(self, job: Job, output_prefix: str) -> JobState:
        return await self._world.get(job)

    async def delete(self, job: Job) -> None:
        await self._world.delete(job)


def workflow(name: str, rng: random.Random, maps: random.Random | None) -> Raw:
    """A chain of jobs, some of which have a time; with `maps`, a map task over jobs comes after it."""
    count = rng.randint(1, 3)
    nodes, edges = [], []
    for number in range(count):
        source = promise("", "x") if number == 0 else promise(f"n{number - 1}", "o")
        node: dict[str, Any] = {
            "id": f"n{number}",
            "kind": "task",
            "task": "job",
            "retry": {"minAttempts": rng.choice((1, 3))},
            "inputBindings": [{"var": "x", "binding": json_format.MessageToDict(bound(source))}],
        }
        if rng.random() < 0.3:
            node["executionDeadline"] = "2m"
        nodes.append(node)
        if number:
            edges.append((f"n{number - 1}", f"n{number}"))
    if maps is not None:
        nodes.append(mapped_node(maps))
        edges.append((f"n{count - 1}", "m"))
    made = drive.graph(*nodes, edges=edges)
    return {
        "metadata": {"name": name, "labels": {"execution-id": name}},
        "spec": made,
        "tasks": {"job": TASK},
        "inputs": {"literals": {"x": json_format.MessageToDict(literal(1))}},
    }


def mapped_node(rng: random.Random) -> Raw:
    """A map task whose items are jobs; some of them may fail."""
    items = rng.randint(2, 5)
    array = {
        "SubNodeSpec": {"id": "sub", "kind": "task", "task": "job", "retry": {"minAttempts": rng.choice((1, 3))}},
        "MinSuccesses": rng.randint(1, items),
        "Parallelism": rng.choice((0, 1, 2)),
    }
    of_items = {"var": "x", "binding": json_format.MessageToDict(bound(list(range(items))))}
    return {"id": "m", "kind": "array", "array": array, "inputBindings": [of_items]}


class Lived(NamedTuple):
    """What came of seeds."""

    broken: dict[int, list[str]]
    """By seed, what must not have happened."""
    reached: Counter[Cell]
    """How many seeds have reached each cell."""


def simulate(seed: int, *, mapped: bool = False, of: type[World] = World) -> list[str]:
    """Run the world of a seed to its end; returns what must not have happened. With `mapped` there are map tasks."""
    return _lived(seed, of, mapped=mapped).violations


def lived(seeds: Iterable[int], *, mapped: bool = False, of: type[World] = World) -> Lived:
    """Run the worlds of seeds to their ends."""
    broken, reached = {}, Counter[Cell]()
    for seed in seeds:
        world = _lived(seed, of, mapped=mapped)
        if world.violations:
            broken[seed] = world.violations
        reached.update(world.cells)
    return Lived(broken, reached)


def _lived(seed: int, of: type[World], *, mapped: bool) -> World:
    async def live(loop: SimulatedLoop) -> World:
        world = of(seed, loop, mapped=mapped)
        await world.live()
        return world

    random.seed(seed)
    return run(seed, live)
