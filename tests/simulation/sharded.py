"""Worlds whose controllers divide the workflows: several at once, each for its own shards, and one for an execution.

Processes join, leave, die, stand still and are cut off. Besides what holds for one controller at a time, every request
that changes something of an execution is sent by the process that the shard map names, at the moment when it is sent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any

import orjson

from propeller.clock import Clock
from propeller.config import Settings
from propeller.controller import WorkflowController
from propeller.embedded.faults import FaultProfile, FaultyLink
from propeller.embedded.server import Forward
from propeller.errors import PropellerError, Unavailable
from propeller.kube import Client, Request, Response, Stream, Transport
from propeller.reconcile import LeaseLost
from propeller.reconcile.shards import FencedTransport, LabelShards, Membership, ShardMap
from propeller.reconcile.shards._map_store import MAP_ANNOTATION
from propeller.reconcile.shards._shard_map import decode_map
from propeller.status import LEFT_JOBS
from propeller.storage import Storage
from propeller.workflow import SHARD_KEYS, SHARD_LABEL, shard_key
from tests.simulation.event_log import EventLog
from tests.simulation.oracle import Workflow
from tests.simulation.processes import Process, Processes
from tests.simulation.reached import DIVIDED
from tests.simulation.roundtrip import Roundtrip
from tests.simulation.scene import NAMESPACE, Scene

COUNT = 3
GROUP = "group"
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
_CHANGES = {"POST", "PATCH", "PUT", "DELETE"}


_HALTS: ContextVar[int] = ContextVar("halts")
"""How often the process had been halted when a request left it."""


class Actors:
    """Knows who may act for an execution, as the server has it, and says who does so without."""

    def __init__(self, event_log: EventLog, named: tuple[str, ...] = ()) -> None:
        self._event_log = event_log
        self._keys = LabelShards(SHARD_LABEL, SHARD_KEYS, COUNT, named)
        self._map: ShardMap | None = ShardMap(self._keys.count, named=named)
        """None after a restore, until a member has written it."""
        self._shard_of: dict[str, int] = {}
        """By name of a workflow or pod."""
        self._last: dict[int, str] = {}
        """The last holder of each shard."""
        self.moved: Callable[[frozenset[str]], None] = lambda names: None
        """Called with the names of workflows and pods whose shard another process holds now."""

    def restored(self) -> None:
        """The server has an older map, while members go by the one that they know until they have noticed."""
        self._map = None

    def label(self, resource: dict[str, Any]) -> None:
        """As FlyteAdmin does, but for some."""
        name = resource["metadata"]["name"]
        labels = resource["metadata"]["labels"]
        if random.Random(f"labelled {name}").random() < 0.75:
            labels[SHARD_LABEL] = shard_key(name)
        self._shard_of[name] = self._keys.of(labels)

    def sent(self, who: str, member: str, request: Request) -> None:
        """A process sends a request."""
        if request.method not in _CHANGES or request.path.startswith("/apis/coordination"):
            return
        if (name := self._execution_part(request)) is None or _records_a_left_job(request):
            return
        shard = self._shard_of.get(name)
        if self._map is None or shard is None:
            return
        if (holder := self._map.holders.get(shard)) != member:
            self._event_log.violation(
                f"{who} ({member}) sends {request.method} {request.path} of shard {shard}, which {holder} holds"
            )

    def applied(self, request: Request, response: Response) -> None:
        """A request had its effect."""
        if response.status < 300 and request.path.startswith(_LEASES) and request.method in {"POST", "PUT"}:
            metadata = orjson.loads(response.body)["metadata"]
            if metadata["name"] == GROUP:
                self._map = decode_map(
                    metadata["annotations"][MAP_ANNOTATION], self._keys.count, GROUP, self._keys.named
                )
                self._note_moves(self._map)
                held = {name: sorted(self._map.held_by(name)) for name in sorted(set(self._map.holders.values()))}
                self._event_log.record(f"shards are held so: {held}")

    def _note_moves(self, found: ShardMap) -> None:
        """Tell which shards are held by another process than the last that did."""
        for shard, holder in found.holders.items():
            last = self._last.get(shard)
            self._last[shard] = holder
            if last is not None and last != holder:
                self.moved(frozenset(name for name, own in self._shard_of.items() if own == shard))

    def held_by(self, member: str) -> frozenset[str]:
        """The names of workflows and pods whose shards a process holds."""
        shards = self._map.held_by(member) if self._map is not None else frozenset[int]()
        return frozenset(name for name, shard in self._shard_of.items() if shard in shards)

    def _execution_part(self, request: Request) -> str | None:
        """The name of the workflow or pod that a request is about."""
        match request.path.split("/"):
            case [*_, "pods" | "flyteworkflows"] if request.method == "POST":
                metadata = orjson.loads(request.body)["metadata"]
                self._shard_of[metadata["name"]] = self._keys.of(metadata.get("labels"))
                return str(metadata["name"])
            case [*_, "pods" | "flyteworkflows", name] | [*_, "pods" | "flyteworkflows", name, "status"]:
                return name
            case _:
                return None


class Link(FaultyLink):
    """A process' network. What is under way when a process is halted does not wait for it: its connection breaks."""

    def __init__(self, actors: Actors, rng: random.Random, profile: FaultProfile) -> None:
        super().__init__(rng, profile)
        self._actors = actors
        self.who = ""
        self.member = ""
        self.halts = 0

    def leaves(self, request: Request) -> None:
        """A request leaves the process."""
        self._actors.sent(self.who, self.member, request)
        _HALTS.set(self.halts)

    async def exchange(self, request: Request, forward: Forward) -> Response:
        halts = _HALTS.get(self.halts)

        async def passed(request: Request) -> Response:
            if halts != self.halts:
                raise Unavailable(f"the connection broke during {request.method} {request.path}")
            response = await forward(request)
            self._actors.applied(request, response)
            return response

        return await super().exchange(request, passed)


class Leaving:
    """A transport that notes each request at the moment when the fence lets it pass."""

    def __init__(self, transport: Transport, link: Link) -> None:
        self._transport = transport
        self._link = link

    async def send(self, request: Request, *, deadline: float) -> Response:
        self._link.leaves(request)
        return await self._transport.send(request, deadline=deadline)

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        return self._transport.stream(request, deadline=deadline)

    async def close(self) -> None:
        await self._transport.close()


class ShardedProcesses(Processes):
    """Controllers that divide the workflows."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._rng = random.Random(f"shards {scene.seed}")
        self.actors = scene.actors
        assert self.actors is not None
        self.actors.moved = self._moved

    def start_some(self) -> None:
        for _ in range(self._rng.choice((1, 2, 3))):
            self.start()

    async def come_and_go(self) -> None:
        """Processes join and leave in order, so that shards move."""
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / (self._scene.pace or self._rng.choice((3.0, 15.0, 60.0)))))
            able = [one for one in self.alive if not one.frozen and not one.link.partitioned]
            if len(self.alive) < 4 and (len(able) < 2 or self._rng.random() < 0.5):
                self.start()
            elif len(able) > 1:
                self.leave(self._rng.choice(able))

    def controlled_by(self, process: Process) -> Iterable[Workflow]:
        assert isinstance(process.link, Link)
        assert self.actors is not None
        return self._named(self.actors.held_by(process.link.member))

    def _moved(self, names: frozenset[str]) -> None:
        self._scene.reached.befalls(DIVIDED, self._named(names))

    def _named(self, names: frozenset[str]) -> list[Workflow]:
        oracle = self._scene.oracle
        return [one for one in (*oracle.workflows.values(), *oracle.children.values()) if one.name in names]

    def leave(self, process: Process) -> None:
        """It is asked to end, and ends in order."""
        self._scene.event_log.record(f"{process.name} is to end")
        process.dead = True
        assert process.task is not None
        process.task.cancel()

    def _link(self, number: int) -> FaultyLink:
        assert self.actors is not None
        link = Link(self.actors, random.Random(f"link {self._scene.seed} {number}"), self._scene.profile)
        link.who = f"controller {number}"
        return link

    async def _control(self, process: Process) -> None:
        link = process.link
        assert isinstance(link, Link)
        while not process.dead:
            roundtrip = Roundtrip(self._scene.event_log)
            self._scene.tokens.starts(process.name)
            check = Check()
            inner = self._scene.client(process.name, link)
            client = Client(FencedTransport(Leaving(inner.transport, link), check), clock=process.clock)
            try:
                async with Storage(self._scene.settings.storage, stores={"memory": process.store}) as storage:
                    with self._scene.tokens.used_by(process.name):
                        controller = WorkflowController(
                            client, storage, self._scene.settings, clock=process.clock, observer=roundtrip.check
                        )
                    drawn = f"member {self._scene.seed} {process.number} {self._scene.loop.time()}"
                    membership = membership_of(
                        client, controller, self._scene.settings, clock=process.clock, drawn=drawn
                    )
                    link.member = membership.name
                    async with controller.running(), membership.joined() as check.leadership:
                        await asyncio.Event().wait()
            except LeaseLost as error:
                self._scene.event_log.record(f"{process.name} lost its Lease: {error}")
                await asyncio.sleep(2.0)
            except PropellerError as error:
                self._scene.event_log.record(f"{process.name} could not start: {error}")
                await asyncio.sleep(2.0)
            except Exception as error:  # noqa: BLE001 - the world goes on, to tell of it
                self._scene.event_log.violation(f"{process.name} ended: {error!r}")
                await asyncio.sleep(2.0)


def membership_of(
    client: Client, controller: WorkflowController, settings: Settings, *, clock: Clock, drawn: str
) -> Membership:
    """Return that of a process which divides the workflows with others; its pauses are `drawn` from that text."""
    shards = controller.shards
    assert shards is not None
    return Membership(
        client,
        NAMESPACE,
        GROUP,
        COUNT + 1,
        shards,
        settings.shards,
        note=shards.note,
        met=shards.met,
        clock=clock,
        rng=random.Random(drawn),
    )


class Check:
    """The fence of one process."""

    leadership: Any = None

    def __call__(self) -> None:
        if self.leadership is None:
            raise LeaseLost("not joined yet")
        self.leadership.check()


def _records_a_left_job(request: Request) -> bool:
    """Whether all that a request writes is the entry of a job that only its sender knows: it has begun that before the
    shard moved, and the entry is nobody else's.
    """
    body = orjson.loads(request.body or b"null")
    return isinstance(body, dict) and body.keys() == {"metadata", "status"} and [*body["status"]] == [LEFT_JOBS]
