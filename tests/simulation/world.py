"""One world: an API server, a kubelet, users, and controllers that fail in every way, until everything has ended."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from propeller.clock import LoopClock
from propeller.config import ApiServer as ApiServerSettings
from propeller.config import Checkpoint, Settings
from propeller.config import Controller as ControllerSettings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController, _loading, _resource
from propeller.embedded.faults import FAIR, FaultyLink, FaultyStore, Weather
from propeller.embedded.server import ApiServer
from propeller.errors import AlreadyExists, Conflict, Denied, NotFound, PropellerError
from propeller.informers import InformerOptions
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client, Raw
from propeller.reconcile import QueueOptions
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.simulation.denials import Denials
from tests.simulation.drains import Drains, Shown
from tests.simulation.finalizers import Finalizers
from tests.simulation.flows import draw_flow
from tests.simulation.kubelet import Kubelet
from tests.simulation.loop import PROCESS, SimulatedLoop, Stuck, run
from tests.simulation.model import predict
from tests.simulation.patience import insist, insist_on_type
from tests.simulation.planted import Planted
from tests.simulation.restored import Restored
from tests.simulation.retyped import Retyped, definition, workflow_type
from tests.simulation.roundtrip import Roundtrip
from tests.simulation.sidecars import Sidecars
from tests.simulation.story import Listener, Story
from tests.simulation.strangers import Strangers
from tests.simulation.truth import Truth, Watched, Workflow

NAMESPACE = "ns"
PATIENCE = 6 * 3600.0
"""Virtual seconds after the last fault within which every execution ends: deadlines, backoffs and pauses included."""

QUIET = 120.0
"""Virtual seconds of rest at the end, in which nothing may happen any more."""

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)


@dataclass(frozen=True)
class Result:
    """What came of a seed."""

    seed: int
    failures: tuple[str, ...]
    digest: str
    workflows: int
    pods: int
    seconds: float
    """Virtual."""


class Clock(LoopClock):
    """A process's wall clock, which may be wrong."""

    error = 0.0

    def now(self) -> float:
        return super().now() + self.error


@dataclass
class Process:
    """One controller, and what it has of its own."""

    number: int
    link: FaultyLink
    store: FaultyStore
    clock: Clock
    task: asyncio.Task[None] | None = None
    frozen: bool = False
    dead: bool = False

    @property
    def name(self) -> str:
        return f"controller {self.number}"


def simulate(seed: int, *, told: bool = False) -> Result:
    """Run the world of a seed to its end."""
    random.seed(seed)
    collecting = gc.isenabled()
    gc.disable()  # what is collected when must not depend on what ran before
    try:
        return run(seed, lambda loop: _World(seed, loop, told=told).run())
    except Stuck as error:
        return Result(seed, (str(error),), "", 0, 0, 0.0)
    finally:
        if collecting:
            gc.enable()


@dataclass
class _World:
    seed: int
    loop: SimulatedLoop
    told: bool = False
    processes: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"world {self.seed}")
        rng = self.rng
        self.story = Story(self.loop.time, told=self.told)
        self.calm = rng.random() < 0.1
        self.overlaps = rng.random() < 0.5
        """Whether two controllers may be at work at once. Then no pod vanishes: one that does leaves nothing by which
        the other could know that its attempt was run.
        """
        self.at_hand = random.Random(f"at hand {self.seed}").random() < 0.3
        """Whether blobs are read and written without waiting, as those of a local disk."""
        budget = rng.choice((256 * 1024, 256 * 1024, 256))
        self.settings = Settings(
            storage=StorageOptions(metadata_prefix="memory://m", raw_output_prefix="memory://raw"),
            checkpoint=Checkpoint(max_lag=rng.choice((0.0, 1.0, 5.0, 30.0)), budget=budget),
            queue=QueueOptions(workers=rng.choice((1, 4))),
            controller=ControllerSettings(
                ttl=random.Random(f"ttl {self.seed}").choice((0.0, 0.0, 0.0, 60.0, 600.0)),
                idle=random.Random(f"idle {self.seed}").choice((0.0, 1.0, 20.0, 300.0)),
                stop_margin=600.0,  # clocks that jump do not make up for it
                effects_at_once=rng.choice((2, 8, 64)),
            ),
            informers=InformerOptions(watch_timeout=rng.choice((5.0, 60.0, 300.0)), progress_deadline=90.0),
        )
        self.storm = Weather(
            latency=rng.choice((0.0, 0.02, 0.5)),
            lost_requests=rng.choice((0.0, 0.02, 0.1)),
            lost_answers=rng.choice((0.0, 0.02, 0.1)),
            refusals=rng.choice((0.0, 0.02, 0.1)),
            stalls=rng.choice((0.0, 0.0, 0.02)),
            cuts=rng.choice((0.0, 0.05)),
            silences=rng.choice((0.0, 0.01)),
            lag=rng.choice((0.0, 0.1, 2.0)),
            blob_errors=rng.choice((0.0, 0.02, 0.1)),
            blob_latency=rng.choice((0.0, 0.02, 0.5)),
        )
        self.weather = FAIR if self.calm else self.storm
        self.blobs: dict[str, bytes] = {}
        history = rng.choice((30, 20_000))
        self.server = ApiServer(
            ApiServerSettings(history_changes=history), clock=LoopClock(), randomness=random.Random(f"uid {self.seed}")
        )
        self.truth = Truth(self.story, budget, self._has_status)
        self.denials = Denials(self.seed, self.story)
        self.sidecars = Sidecars(self.seed, self.story)
        self.clean = self._client("world", FaultyLink(random.Random(0)))
        self.strangers = Strangers(self.seed, self.clean, NAMESPACE, self.story)
        self.finalizers = Finalizers(self.seed, self.clean, NAMESPACE)
        self.planted = Planted(self.seed, self.clean, NAMESPACE, self.truth)
        self.restored = Restored(self.seed, self.server, self.truth, self.story)
        self.retyped = Retyped(self.seed, self.server, self.clean, self.truth, self.story, served=self.planted.used)
        drain = self._client("drain", FaultyLink(random.Random(0)))
        self.drains = Drains(self.seed, drain, self.story, vanish=not (self.overlaps or self.restored.used))
        at_hand = Storage(self.settings.storage, stores={"memory": MemoryStore(self.blobs, at_hand=True)})
        self.truth.shown = Shown(self.server, self.clean, at_hand).has_succeeded
        self.names = 0
        self.storage_outages = 0

    async def run(self) -> Result:
        log = logging.getLogger("propeller")
        listener = Listener(self.story)
        level, propagates = log.level, log.propagate
        log.setLevel(logging.INFO)
        log.propagate = False
        log.addHandler(listener)
        try:
            async with self.server:
                await self._live()
        finally:
            log.removeHandler(listener)
            log.setLevel(level)
            log.propagate = propagates
        workflows = self.truth.workflows.values()
        pods = sum(len(workflow.pods) for workflow in workflows)
        return Result(self.seed, tuple(self.story.failures), self.story.digest, len(workflows), pods, self.loop.time())

    async def _live(self) -> None:
        await self.clean.create(CUSTOM_RESOURCE_DEFINITIONS, definition(subresource=self.rng.random() >= 0.3))
        await self.clean.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        link = FaultyLink(random.Random(0))
        kubelet = Kubelet(self._client("kubelet", link), self.blobs, self.truth, self.rng, self.sidecars, self.drains)
        running = asyncio.create_task(kubelet.run())
        try:
            self._start()
            beside = [asyncio.create_task(self.denials.run()), asyncio.create_task(self.strangers.run())]
            if self.retyped.used:
                beside.append(asyncio.create_task(self.retyped.run(self._create)))
            users = asyncio.create_task(self._users())
            if not self.calm:
                await self._trouble()
            await users
            self.denials.heal()
            self.strangers.leave()
            self.retyped.leave()
            await asyncio.gather(*beside)
            self._heal()
            await self._wait_for_the_end()
            self._check_the_end()
            await self.finalizers.check(self.story)
        finally:
            await self._stop_processes()
            running.cancel()
            await asyncio.wait([running])
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error

    # users

    async def _users(self) -> None:
        for _ in range(self.rng.choice((1, 2, 4, 6))):
            await self._create(f"w{self.names}")
            self.names += 1
            await asyncio.sleep(self.rng.expovariate(1 / 5.0))
            alive = [w for w in self.truth.workflows.values() if not w.deleted and not w.collected]
            if not alive:
                continue
            if self.rng.random() < 0.25:
                await self._delete(victim := self.rng.choice(alive))
                if self.rng.random() < 0.6:
                    await asyncio.sleep(self.rng.choice((0.0, 0.5, 5.0)))
                    await self._create(victim.name)
            elif self.rng.random() < 0.2:
                await self._annotate(self.rng.choice(alive))
        if random.Random(f"recovery {self.seed}").random() < 0.25:
            await self._recover_one()

    async def _recover_one(self) -> None:
        """A user runs one that has failed again: nothing fails this time, and what had ended well is not to run."""
        for _ in range(300):
            standing = [w for w in self.truth.workflows.values() if not w.deleted and not w.collected]
            failed = [w for w in standing if w.status.get("phase") == 5 and w.flow.same_whatever_failed]
            if failed:
                await self._create("again", recover=failed[0])
                return
            if all(workflow.ended for workflow in standing):
                return
            await asyncio.sleep(1.0)

    async def _create(self, name: str, *, recover: Workflow | None = None) -> None:
        flow = draw_flow(self.rng) if recover is None else replace(recover.flow, trouble=0.0)
        resource = flow.resource(name)
        recovered = taken_over = frozenset[str]()
        if recover is not None:
            resource["executionConfig"]["RecoveryExecution"] = {"name": recover.name}
            recovered, taken_over = frozenset(recover.done), await self._left_by(recover.name)
        self.finalizers.put_on(resource)
        if not await self.finalizers.name_is_free(name, self.story):
            return
        prediction = predict(
            flow, f"{self.seed} {self.rng.random()}", unseen=not self.overlaps, drained=self.drains.put_into
        )
        try:
            created = await insist_on_type(lambda: self.clean.create(WORKFLOWS, resource, NAMESPACE))
        except AlreadyExists:
            if not self.truth.restores and not self.retyped.used:
                raise
            return  # a restored server has one of that name again, or another user was first
        except (NotFound, Denied) as error:
            self.story.broken(f"a user cannot create {name}: {error}")
            return
        if recover is not None and recover.deleted:
            taken_over = frozenset()
        uid = created["metadata"]["uid"]
        self.truth.workflows[uid] = Workflow(name, uid, flow, prediction, recovered, taken_over)
        expected = "succeed" if prediction.succeeds else "fail"
        scripts = {
            node: [outcome.value for outcome in task.script.outcomes]
            for node, task in prediction.tasks.items()
            if task.script.outcomes
        }
        self.story.tell(f"a user creates {name} ({uid}), which should {expected}; {scripts}")

    async def _left_by(self, name: str) -> frozenset[str]:
        """The tasks whose outputs an ended execution has left, as its status has them. It may go meanwhile."""
        if self.settings.controller.ttl:
            return frozenset()
        try:
            workflow = await insist(lambda: self.clean.get(_resource.WORKFLOWS, name, NAMESPACE))
        except NotFound:
            return frozenset()  # a restored server has forgotten it
        async with Storage(self.settings.storage, stores={"memory": MemoryStore(self.blobs)}) as storage:
            execution = await _loading.Loader(self.clean, storage, "memory://m").show(workflow, 0.0)
            return frozenset(_loading._outputs_left(execution))

    async def _delete(self, workflow: Workflow) -> None:
        self.story.tell(f"a user deletes {workflow.name}")
        workflow.deleted = True
        while True:
            try:
                await insist(lambda: self.clean.delete(WORKFLOWS, workflow.name, NAMESPACE, propagation="Background"))
                return
            except NotFound:
                if not self.retyped.is_unserved:
                    workflow.collected = True  # just before
                    return
            await asyncio.sleep(1.0)

    async def _annotate(self, workflow: Workflow) -> None:
        self.story.tell(f"a user annotates {workflow.name}")
        body = {"metadata": {"annotations": {"note": str(self.rng.random())}}}
        try:
            await insist(lambda: self.clean.patch(WORKFLOWS, workflow.name, NAMESPACE, body=body))
        except (NotFound, Conflict):
            return

    def _has_status(self) -> bool:
        kind = workflow_type(self.server)
        return kind is not None and "status" in kind.subresources

    # controllers

    def _client(self, who: str, link: FaultyLink) -> Client:
        watched = Watched(self.truth, who, link)
        before = self.sidecars.before(self.denials.before(watched))
        return Client(self.server.transport(interceptor=before), clock=LoopClock())

    def _start(self) -> Process:
        number = len(self.processes) + 1
        link = FaultyLink(random.Random(f"link {self.seed} {number}"), self.weather)
        memory = MemoryStore(self.blobs, at_hand=self.at_hand)
        store = FaultyStore(memory, random.Random(f"store {self.seed} {number}"), self.weather)
        store.partitioned = self.storage_outages > 0
        process = Process(number, link, store, Clock())
        self.processes.append(process)
        self.story.tell(f"{process.name} starts")
        context = contextvars.copy_context()
        context.run(PROCESS.set, number)
        process.task = self.loop.create_task(self._control(process), context=context)
        return process

    async def _control(self, process: Process) -> None:
        """A process that is started again where it cannot begin."""
        while not process.dead:
            started = False
            client = self._client(process.name, process.link)
            roundtrip = Roundtrip(self.story)
            try:
                async with Storage(self.settings.storage, stores={"memory": process.store}) as storage:
                    controller = WorkflowController(
                        client, storage, self.settings, clock=process.clock, observer=roundtrip.check
                    )
                    async with controller.running():
                        started = True
                        await asyncio.Event().wait()
            except PropellerError as error:
                self.story.tell(f"{process.name} could not start: {error}")
                if isinstance(error, NotFound):
                    self.retyped.could_not_start(process.name)
                if started and not process.dead:
                    self.story.broken(f"{process.name} had started, and ended: {error}")
                await asyncio.sleep(2.0)
            except Exception as error:  # noqa: BLE001 - the world goes on, to tell of it
                self.story.broken(f"{process.name} ended: {error!r}")
                await asyncio.sleep(2.0)

    def _kill(self, process: Process) -> None:
        """It does nothing from here on, wherever it stood."""
        self.story.tell(f"{process.name} is killed")
        process.dead = True
        self.loop.freeze(process.number)

    @property
    def _alive(self) -> list[Process]:
        return [process for process in self.processes if not process.dead]

    # trouble

    async def _trouble(self) -> None:
        ends = self.loop.time() + self.rng.choice((20.0, 60.0, 180.0))
        pace = self.rng.choice((0.5, 5.0, 20.0))
        kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._crash,
            self._crash,
            self._pause,
            self._part,
            self._outage,
            self._storage_outage,
            self._clock_jump,
            self._disturb_watches,
            self._change_weather,
        ]
        kinds = self.rng.sample(kinds, self.rng.randint(1, len(kinds)))
        async with asyncio.TaskGroup() as group:
            if self.planted.used:
                group.create_task(self.planted.trouble(self.story))
            if self.restored.used:
                group.create_task(self.restored.trouble())
            while self.loop.time() < ends:
                await asyncio.sleep(self.rng.expovariate(1 / pace))
                group.create_task(self.rng.choice(kinds)())

    async def _crash(self) -> None:
        running = [process for process in self._alive if not process.frozen]
        if not running:
            return
        self._kill(self.rng.choice(running))
        await asyncio.sleep(self.rng.choice((0.0, 1.0, 20.0)))
        if not self._alive:
            self._start()

    async def _pause(self) -> None:
        """A process stands still for a while, and goes on with what it knew; another may have taken its place."""
        running = [process for process in self._alive if not process.frozen]
        if not running or len(self._alive) > 2:
            return
        process = self.rng.choice(running)
        self.story.tell(f"{process.name} stands still")
        process.frozen = True
        self.loop.freeze(process.number)
        if self.rng.random() < 0.7:
            self._overlap()
        await asyncio.sleep(self.rng.choice((0.1, 3.0, 30.0)))
        if not process.dead:
            self.story.tell(f"{process.name} goes on")
            process.frozen = False
            self.loop.thaw(process.number)

    async def _part(self) -> None:
        """A process cannot reach the API server for a while; another may have taken its place."""
        if not self._alive or len(self._alive) > 2:
            return
        process = self.rng.choice(self._alive)
        self.story.tell(f"{process.name} is cut off")
        process.link.partitioned = True
        if self.rng.random() < 0.5:
            self._overlap()
        await asyncio.sleep(self.rng.choice((1.0, 10.0, 60.0)))
        self.story.tell(f"{process.name} is no longer cut off")
        process.link.partitioned = False

    def _overlap(self) -> None:
        if self.overlaps:
            self.truth.overlap = True
            self._start()

    async def _outage(self) -> None:
        self.story.tell("the API server is down")
        self.server.stop()
        await asyncio.sleep(self.rng.choice((0.1, 2.0, 30.0)))
        self.story.tell("the API server is up")
        self.server.start()

    async def _storage_outage(self) -> None:
        """The object store is away for all of them, for longer than an effect would pause."""
        self.story.tell("the object store is down")
        self.storage_outages += 1
        self._set_storage()
        await asyncio.sleep(self.rng.choice((1.0, 30.0, 200.0)))
        self.storage_outages -= 1
        self._set_storage()

    def _set_storage(self) -> None:
        for process in self.processes:
            process.store.partitioned = self.storage_outages > 0
        if not self.storage_outages:
            self.story.tell("the object store is up")

    async def _clock_jump(self) -> None:
        for process in self._alive:
            process.clock.error += self.rng.uniform(-30.0, 30.0)
            self.story.tell(f"the clock of {process.name} is wrong by {process.clock.error:.1f} s")

    async def _disturb_watches(self) -> None:
        if self.rng.random() < 0.5:
            self.story.tell("history is compacted")
            self.server.compact()
        if self.rng.random() < 0.7:
            self.story.tell("all watches are cut")
            self.server.drop_watches()

    async def _change_weather(self) -> None:
        self._set_weather(self.rng.choice((FAIR, self.storm)))

    def _set_weather(self, weather: Weather) -> None:
        self.story.tell("the weather is fair" if weather is FAIR else "there is a storm")
        self.weather = weather
        for process in self.processes:
            process.link.weather = process.store.weather = weather

    # the end

    def _heal(self) -> None:
        """From here on nothing goes wrong, and there is one controller."""
        self._set_weather(FAIR)
        self.server.start()
        healthy = [process for process in self._alive if not process.frozen and not process.link.partitioned]
        for process in self._alive:
            if process not in healthy[-1:]:
                self._kill(process)
        if not healthy:
            self._start()

    async def _wait_for_the_end(self) -> None:
        ends = self.loop.time() + PATIENCE
        while waiting := [w for w in self.truth.workflows.values() if not w.deleted and not w.ended]:
            if self.loop.time() > ends:
                for workflow in waiting:
                    self.story.broken(f"{workflow.name} ({workflow.uid}) does not end")
                return
            self.sidecars.check()
            await asyncio.sleep(1.0)
        self.story.tell("everything has ended")
        await asyncio.sleep(QUIET + self.sidecars.longest_stop)

    def _check_the_end(self) -> None:
        for workflow in self.truth.workflows.values():
            if workflow.deleted or not workflow.ended:
                continue
            phase, wanted = workflow.status["phase"], 3 if workflow.prediction.succeeds else 5
            if phase != wanted:
                error = workflow.status.get("error")
                self.story.broken(f"{workflow.name} ended in phase {phase}, not {wanted}: {error}")
            if workflow.prediction.outputs is not None and phase == wanted:
                outputs = self.blobs.get(f"{workflow.status['dataDir']}/end-node/data/0/outputs.pb")
                if outputs != workflow.prediction.outputs:
                    self.story.broken(f"{workflow.name} has outputs {outputs!r}, not {workflow.prediction.outputs!r}")
        self._check_pods()

    def _check_pods(self) -> None:
        kept = {
            record.key: record.parsed()
            for record in self.server._registry.get("", "v1", "pods").collection.records.values()
        }
        for pod in kept.values():
            owner = pod["metadata"]["ownerReferences"][0]["uid"]
            workflow = self.truth.workflows[owner]
            if workflow.deleted or workflow.collected:
                self.story.broken(f"pod {pod['metadata']['name']} is left of a workflow that was deleted")
            elif pod["status"].get("phase") not in {"Succeeded", "Failed"}:
                self.story.broken(f"pod {pod['metadata']['name']} is left running")

    async def _stop_processes(self) -> None:
        """Let each come to its end, cut off from everything."""
        for process in self.processes:
            process.dead = True
            process.link.partitioned = process.store.partitioned = True
            self.loop.thaw(process.number)
            if process.task is not None:
                process.task.cancel()
        tasks = [process.task for process in self.processes if process.task is not None]
        if tasks:
            await asyncio.wait(tasks)
