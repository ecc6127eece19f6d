"""One world: a cluster of workflows and three that run them, which fail in every way, until everything has ended."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, ClassVar, Literal

import msgspec

from propeller.clock import LoopClock
from propeller.config import CheckpointOptions, ClusterOptions, ControllerOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, workflow_crd
from propeller.embedded.faults import NO_FAULTS, FaultProfile, FaultyLink
from propeller.embedded.server import ApiServer
from propeller.errors import PropellerError
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, Raw
from propeller.routing import Access, Table, parse_table
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.simulation.clusters.kubelet import NAMESPACE, RAW_PODS, Kubelet
from tests.simulation.clusters.truth import CONTROL, ISOLATED, VAULT, Seen, Truth
from tests.simulation.event_log import EventLog, Listener
from tests.simulation.loop import PROCESS, SimulatedLoop, Stuck, run
from tests.simulation.processes import Clock
from tests.unit.workflow.drive import TASK, graph, task

SHARED = ("east", "west")
WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
MAX_SECONDS = 20_000.0
"""Seconds within which everything has ended once nothing goes wrong any more."""

SKEWS = (0.0, -45.0, 45.0, -3600.0, 3600.0)
"""Seconds by which a clock may be wrong."""

SHAPES: tuple[tuple[tuple[str, ...], list[tuple[str, str]]], ...] = (
    (("a",), []),
    (("a", "b"), [("a", "b")]),
    (("a", "b", "c"), [("a", "c"), ("b", "c")]),
    (("a", "b", "c", "d"), [("a", "b"), ("b", "c"), ("c", "d")]),
)


def table(east: str, west: str) -> Table:
    """The routing table with its shared clusters in these states."""
    return parse_table(
        f"""
clusters:
  - {{name: east, state: {east}, connection: {{context: east}}}}
  - {{name: west, state: {west}, connection: {{context: west}}}}
  - {{name: vault, connection: {{context: vault}}}}
pools:
  - {{name: shared, clusters: [east, west]}}
  - {{name: sealed, clusters: [vault]}}
rules:
  - {{name: secrets, pool: sealed, isolate: true, match: {{projects: [{ISOLATED}]}}}}
  - {{name: rest, pool: shared}}
""".encode()
    )


class World:
    """The state of one world; everything is drawn from `rng`.

    `often`: what its troubles are, in the place of those that are drawn. `outages`: controllers die while a cluster is
    away, and clusters go away while one takes over. `takeovers`: controllers die; no cluster is ever away, so that no
    attempt is to be repeated. `skews`: what is drawn, and the clocks of clusters and controllers are minutes and hours
    off, and jump.
    """

    often: ClassVar[Literal["", "outages", "takeovers", "skews"]] = ""

    def __init__(self, seed: int, loop: SimulatedLoop, *, verbose: bool) -> None:
        self.rng = rng = random.Random(f"clusters {seed}")
        self.loop = loop
        self.event_log = EventLog(loop.time, verbose=verbose)
        self.truth = Truth(self.event_log)
        self.clock = LoopClock()
        self._skews = random.Random(f"skews {seed}")
        self.clocks: dict[int, Clock] = {}
        """Of processes, by number."""
        self.servers = {
            name: ApiServer(clock=self._skewed_clock(), randomness=random.Random(f"{name} {seed}"))
            for name in (CONTROL, *SHARED, VAULT)
        }
        self.clients = {name: Client(server.transport(), clock=self.clock) for name, server in self.servers.items()}
        self.settings = Settings(
            storage=StorageOptions(metadata_prefix="memory://m", raw_output_prefix="memory://raw"),
            checkpoint=CheckpointOptions(max_lag=rng.choice((0.0, 2.0, 30.0))),
            controller=ControllerOptions(idle=rng.choice((0.0, 20.0)), stop_margin=30.0),
            clusters=ClusterOptions(grace=rng.choice((20.0, 120.0)), orphans_after=10.0),
        )
        self.faulty = FaultProfile(
            latency=rng.choice((0.0, 0.1)),
            lost_requests=rng.choice((0.0, 0.05)),
            lost_responses=rng.choice((0.0, 0.05)),
            disconnects=rng.choice((0.0, 0.02)),
            lag=rng.choice((0.0, 1.0)),
        )
        self.profile = self.faulty
        self.links: list[FaultyLink] = []
        self.blobs: dict[str, bytes] = {}
        self.restores = rng.random() < 0.25
        self.table = table("active", "active")
        self.down: set[str] = set()
        self.controllers: dict[int, WorkflowController] = {}
        """Those that run, by the number of their process."""
        self.process = 0
        """Of the last one that was started."""
        self.tasks: list[asyncio.Task[None]] = []
        self._connecting = random.Random(f"connecting {seed}")
        if self.often:
            lag = msgspec.structs.replace(self.settings.checkpoint, max_lag=30.0)
            self.settings = msgspec.structs.replace(self.settings, checkpoint=lag)
        if self.often == "takeovers":
            self.truth.none_is_repeated = True
            self.profile = FaultProfile(latency=0.5, lag=0.5)

    # controllers

    def begin(self) -> None:
        """Start what is there from the beginning."""
        self.start()

    def start(self) -> None:
        """Start a controller; the one before has to be dead."""
        self.process += 1
        self.event_log.record(f"controller {self.process} starts")
        context = contextvars.copy_context()
        context.run(PROCESS.set, self.process)
        self.tasks.append(self.loop.create_task(self._control(), context=context))

    def kill(self, process: int) -> None:
        self.event_log.record(f"controller {process} is killed")
        self.controllers.pop(process, None)
        self.loop.freeze(process)

    def link(self, rng: random.Random) -> FaultyLink:
        return FaultyLink(rng, self.profile)

    def _skewed_clock(self) -> Clock:
        """A clock that is right, unless clocks are off in this world."""
        clock = Clock()
        if self.often == "skews":
            clock.error = self._skews.choice(SKEWS)
        return clock

    def clock_here(self) -> Clock:
        """The clock of the process that runs."""
        if (clock := self.clocks.get(PROCESS.get())) is None:
            clock = self.clocks[PROCESS.get()] = self._skewed_clock()
        return clock

    def client(self, cluster: str) -> Client:
        link = self.link(random.Random(f"{cluster} {PROCESS.get()} {len(self.links)}"))
        self.links.append(link)
        interceptor = Seen(self.truth, cluster, link)
        return Client(self.servers[cluster].transport(interceptor=interceptor), clock=self.clock)

    @asynccontextmanager
    async def open(self, access: Access) -> AsyncIterator[Client | None]:
        await self.connecting()
        yield self.client(access.context)

    async def connecting(self) -> None:
        """Take the time that it takes to connect to a cluster."""
        if self.often == "takeovers":
            await asyncio.sleep(self._connecting.choice((0.0, 5.0, 60.0)))

    async def has_changed(self, access: Access) -> bool:
        return False

    async def _control(self) -> None:
        process = PROCESS.get()
        while True:
            client = self.client(CONTROL)
            try:
                async with Storage(self.settings.storage, stores={"memory": MemoryStore(self.blobs)}) as storage:
                    clock = self.clock_here()
                    controller = WorkflowController(client, storage, self.settings, clock=clock, opener=self)
                    controller.route_by(self.table)
                    async with controller.running():
                        self.controllers[process] = controller
                        controller.route_by(self.table)  # it may have changed meanwhile
                        await asyncio.Event().wait()
            except PropellerError as error:
                self.event_log.record(f"the controller could not start: {error}")
                await asyncio.sleep(2.0)

    # users

    async def use(self) -> None:
        for number in range(self.rng.randint(1, 12)):
            await asyncio.sleep(self.rng.choice((0.0, 2.0, 100.0)) * self.rng.random())
            nodes, edges = self.rng.choice(SHAPES)
            name, project = f"w{number}", self.rng.choice((ISOLATED, "open", "open"))
            tasks = (task(node, retry={"minAttempts": 3}) for node in nodes)
            body = {
                "metadata": {"name": name, "labels": {"project": project, **self.labels(name)}},
                "spec": graph(*tasks, edges=edges),
                "tasks": {"t": TASK},
            }
            made = await self._patiently(functools.partial(self.clients[CONTROL].create, WORKFLOWS, body, NAMESPACE))
            self.truth.created(made, nodes)
            if self.rng.random() < 0.15:
                self.tasks.append(asyncio.create_task(self._delete(name, made["metadata"]["uid"])))

    def labels(self, name: str) -> dict[str, str]:
        """More labels of a workflow."""
        return {}

    async def _delete(self, name: str, uid: str) -> None:
        await asyncio.sleep(self.rng.choice((1.0, 60.0)) * self.rng.random())
        self.truth.deleted(uid)
        await self._patiently(lambda: self.clients[CONTROL].delete(WORKFLOWS, name, NAMESPACE))

    async def _patiently(self, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        while True:
            try:
                return await ask()
            except PropellerError:
                await asyncio.sleep(1.0)

    # faults

    def kinds(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What may go wrong."""
        if self.often == "outages":
            return [self._crash_in_outage, self._outage_in_takeover]
        if self.often == "takeovers":
            return [self._crash]
        kinds = [self._crash, self._outage, self._outage, self._partition, self._reroute, self._control_outage]
        kinds += [self._collect_pods]
        if self.often == "skews":
            kinds += [self._clock_jump, self._clock_jump]
        return kinds + ([self._restore] if self.restores else [])

    async def trouble(self) -> None:
        ends = self.loop.time() + self.rng.choice((60.0, 300.0, 900.0))
        kinds = self.kinds()
        kinds = self.rng.sample(kinds, self.rng.randint(1, len(kinds)))
        async with asyncio.TaskGroup() as group:
            while self.loop.time() < ends:
                await asyncio.sleep(self.rng.expovariate(1 / 20.0))
                group.create_task(self.rng.choice(kinds)())

    async def _crash(self) -> None:
        if self.process not in self.controllers:
            return
        self.kill(self.process)
        await asyncio.sleep(self.rng.choice((0.0, 5.0, 100.0)))
        self.start()

    async def _crash_in_outage(self) -> None:
        """A controller dies while a cluster is away in which it has just launched something, and which another
        controller has to do without.
        """
        before = len(self.truth.launched)
        for _ in range(600):
            if len(self.truth.launched) > before:
                break
            await asyncio.sleep(0.1)
        launched = self.truth.launched
        outage = asyncio.create_task(self._down(launched[-1].cluster) if launched else self._outage())
        await asyncio.sleep(self.rng.choice((0.5, 20.0, 60.0)) * self.rng.random())
        await self._crash()
        await outage

    async def _outage_in_takeover(self) -> None:
        """A cluster goes away while a controller takes over."""
        await self._crash()
        await asyncio.sleep(self.rng.choice((0.0, 0.1, 3.0)) * self.rng.random())
        await self._outage()

    async def _outage(self) -> None:
        await self._down(self.rng.choice((*SHARED, VAULT)))

    async def _control_outage(self) -> None:
        await self._down(CONTROL)

    async def _down(self, cluster: str) -> None:
        server = self.servers[cluster]
        if cluster in self.down:
            return
        self.event_log.record(f"{cluster} is down")
        server.stop()
        self.down.add(cluster)
        await asyncio.sleep(self.rng.choice((1.0, 20.0, 100.0, 300.0)))
        self._up(cluster)

    async def _partition(self) -> None:
        if not self.links:
            return
        link = self.rng.choice(self.links[-4:])
        self.event_log.record("a link is cut")
        link.partitioned = True
        await asyncio.sleep(self.rng.choice((5.0, 60.0, 200.0)))
        self.event_log.record("a link is mended")
        link.partitioned = False

    async def _reroute(self) -> None:
        states = [self.rng.choice(("active", "active", "draining", "cordoned")) for _ in SHARED]
        self.event_log.record(f"the table has {states}")
        self.table = table(*states)
        self._route()

    def _route(self) -> None:
        for controller in self.controllers.values():
            controller.route_by(self.table)

    async def _collect_pods(self) -> None:
        """Somebody deletes pods that have ended, as the garbage collector of pods does if there are many."""
        cluster = self.rng.choice((*SHARED, VAULT))
        with suppress(PropellerError):
            for pod in (await self.clients[cluster].list(RAW_PODS, NAMESPACE)).items:
                if pod.get("status", {}).get("phase") == "Succeeded" and self.rng.random() < 0.5:
                    name = pod["metadata"]["name"]
                    self.event_log.record(f"somebody deletes pod {name}, which has ended, in {cluster}")
                    await self.clients[cluster].delete(RAW_PODS, name, NAMESPACE, grace_seconds=0)

    async def _clock_jump(self) -> None:
        for process, clock in self.clocks.items():
            clock.error = self._skews.choice(SKEWS)
            self.event_log.record(f"the clock of controller {process} is wrong by {clock.error:g} s")

    async def _restore(self) -> None:
        """A cluster loses what was created within some seconds."""
        cluster = self.rng.choice(SHARED)
        server = self.servers[cluster]
        if cluster in self.down:
            return
        backup = server.back_up()
        had = {pod.name for one in self.truth.workflows.values() for pod in one.pods.values()}
        await asyncio.sleep(self.rng.choice((2.0, 30.0)) * self.rng.random())
        if cluster in self.down:
            return
        server.restore(backup)
        self.down.add(cluster)
        self.event_log.record(f"{cluster} is restored from an older copy")
        for workflow in self.truth.workflows.values():
            self.truth.lost |= {pod.name for pod in workflow.pods.values() if pod.cluster == cluster} - had
        await asyncio.sleep(self.rng.choice((1.0, 10.0)))
        self._up(cluster)

    def _up(self, cluster: str) -> None:
        if cluster in self.down:
            self.event_log.record(f"{cluster} is up")
            self.down.remove(cluster)
            self.servers[cluster].start()

    def heal(self) -> None:
        """From here on nothing goes wrong."""
        self.event_log.record("nothing goes wrong any more")
        self.profile = NO_FAULTS
        for link in self.links:
            link.partitioned, link.profile = False, NO_FAULTS
        for cluster in tuple(self.down):
            self._up(cluster)
        self.table = table("active", "active")
        self._route()

    # the end

    async def live(self) -> None:
        async with AsyncExitStack() as stack:
            for name, server in self.servers.items():
                await stack.enter_async_context(server)
                await self.clients[name].create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
            await self.clients[CONTROL].create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
            kubelets = [
                asyncio.create_task(Kubelet(name, self.clients[name], self.truth, self.down).run())
                for name in (*SHARED, VAULT)
            ]
            self.begin()
            try:
                using = asyncio.create_task(self.use())
                await self.trouble()
                self.heal()
                await using
                await self._end()
            finally:
                for number in range(1, self.process + 1):
                    self.loop.thaw(number)
                for link in self.links:
                    link.partitioned = True
                for one in (*self.tasks, *kubelets):
                    one.cancel()
                await asyncio.wait([*self.tasks, *kubelets])

    async def _end(self) -> None:
        began = self.loop.time()
        while not await self._has_ended():
            if self.loop.time() > began + MAX_SECONDS:
                break
            await asyncio.sleep(10.0)
        self.event_log.record("the end")
        self.truth.check_the_end()
        deleted = {one.uid for one in self.truth.workflows.values() if one.deleted}
        for name in (*SHARED, VAULT):
            for pod in (await self.clients[name].list(RAW_PODS, NAMESPACE)).items:
                if pod["metadata"]["labels"]["propeller/workflow-uid"] in deleted:
                    self.event_log.violation(f"{pod['metadata']['name']} is left in {name}")
                elif "deletionTimestamp" in pod["metadata"]:
                    self.event_log.violation(f"{pod['metadata']['name']} is stuck in {name}")

    async def _has_ended(self) -> bool:
        standing = [one for one in self.truth.workflows.values() if not one.deleted]
        if not all(one.status.get("phase") in {3, 5, 6} for one in standing):
            return False
        deleted = {one.uid for one in self.truth.workflows.values() if one.deleted}
        left = [pod for name in (*SHARED, VAULT) for pod in (await self.clients[name].list(RAW_PODS, NAMESPACE)).items]
        return not any(
            pod["metadata"]["labels"]["propeller/workflow-uid"] in deleted
            or pod.get("status", {}).get("phase") != "Succeeded"
            or "deletionTimestamp" in pod["metadata"]
            for pod in left
        )


Made = Callable[[int, SimulatedLoop, bool], World]
"""Makes the world of a seed; the last argument: whether to print what happens."""


def plain(seed: int, loop: SimulatedLoop, verbose: bool) -> World:
    return World(seed, loop, verbose=verbose)


def simulate(seed: int, *, verbose: bool = False, made: Made = plain) -> tuple[list[str], str, int]:
    """Run the world of a seed to its end: returns what was broken, a digest of its story, and how many pods it had."""
    random.seed(seed)
    collecting = gc.isenabled()
    gc.disable()  # what is collected when must not depend on what ran before
    try:
        return run(seed, lambda loop: _run(made(seed, loop, verbose)))
    except Stuck as error:
        return [str(error)], "", 0
    finally:
        if collecting:
            gc.enable()


async def _run(world: World) -> tuple[list[str], str, int]:
    log = logging.getLogger("propeller")
    listener = Listener(world.event_log)
    level, propagates = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(listener)
    try:
        await world.live()
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = propagates
    pods = sum(len(one.pods) for one in world.truth.workflows.values())
    return world.event_log.failures, world.event_log.digest, pods
