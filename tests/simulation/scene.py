"""What all parts of one world share: the server, the blobs, what is known of them, and what was drawn from the seed."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from propeller.clock import LoopClock
from propeller.config import (
    ApiServerOptions,
    CheckpointOptions,
    ControllerOptions,
    LaunchOptions,
    RedisOptions,
    Settings,
    WorkflowShardOptions,
)
from propeller.controller import FLYTE_WORKFLOWS
from propeller.embedded.faults import NO_FAULTS, FaultProfile, FaultyLink
from propeller.embedded.server import ApiServer
from propeller.informers import InformerOptions
from propeller.kube import Client, Raw
from propeller.reconcile import QueueOptions
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.simulation.denials import Denials
from tests.simulation.drains import Drains, Shown
from tests.simulation.event_log import EventLog
from tests.simulation.finalizers import Finalizers
from tests.simulation.limits import Limits
from tests.simulation.loop import SimulatedLoop
from tests.simulation.oracle import Oracle, Watched
from tests.simulation.planted import Planted
from tests.simulation.pressure import Pressure
from tests.simulation.quotas import Quotas
from tests.simulation.reached import Reached
from tests.simulation.restored import Restored
from tests.simulation.retyped import Retyped, workflow_type
from tests.simulation.sidecars import Sidecars
from tests.simulation.strangers import Strangers
from tests.simulation.tokens import Tokens

NAMESPACE = "ns"
WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)


class Scene:
    """The state of one world. Every part draws from `rng`, so that the order in which they do is the seed's."""

    def __init__(self, seed: int, loop: SimulatedLoop, *, verbose: bool, sharded: int = 0) -> None:
        """`sharded`: into how many shards several controllers divide the workflows. Then none of them takes the place
        of another that may be at work, and all share tokens, if there are any.
        """
        self.seed = seed
        self.loop = loop
        self.rng = random.Random(f"world {self.seed}")
        rng = self.rng
        self.event_log = EventLog(self.loop.time, verbose=verbose)
        self.fault_free = rng.random() < 0.1
        self.overlaps = rng.random() < 0.5
        """Whether two controllers may be at work at once. Then no pod vanishes: one that does leaves nothing by which
        the other could know that its attempt was run.
        """
        self.is_local = random.Random(f"at hand {self.seed}").random() < 0.3
        """Whether blobs are read and written without waiting, as those of a local disk."""
        self.tokens = Tokens(seed, self.event_log)
        if sharded:
            self.tokens.divided()
        self.overlaps = not sharded and (self.overlaps or self.tokens.shared is not None)
        self.quotas = Quotas(seed, self.event_log)
        self.pressure = Pressure(seed, self.event_log)
        budget = rng.choice((256 * 1024, 256 * 1024, 256))
        self.settings = Settings(
            storage=StorageOptions(metadata_prefix="memory://m", raw_output_prefix="memory://raw"),
            checkpoint=CheckpointOptions(max_lag=rng.choice((0.0, 1.0, 5.0, 30.0)), budget=budget),
            queue=QueueOptions(workers=rng.choice((1, 4))),
            controller=ControllerOptions(
                ttl=random.Random(f"ttl {self.seed}").choice((0.0, 0.0, 0.0, 60.0, 600.0)),
                idle=random.Random(f"idle {self.seed}").choice((0.0, 1.0, 20.0, 300.0)),
                stop_margin=600.0,  # clocks that jump do not make up for it
                effects_at_once=rng.choice((2, 8, 64)),
                child_closure_bytes=random.Random(f"closures {self.seed}").choice((0, 0, 256 * 1024)),
            ),
            shards=WorkflowShardOptions(count=sharded, level_interval=rng.choice((5.0, 60.0)) if sharded else 60.0),
            launches=LaunchOptions(quotas=self.quotas.used),
            resources=self.tokens.options,
            redis=RedisOptions(
                url="redis://store/0" if sharded and self.tokens.used else "", ttl=0.0 if sharded else 15.0
            ),
            informers=InformerOptions(watch_timeout=rng.choice((5.0, 60.0, 300.0)), progress_deadline=90.0),
        )
        self.faulty = FaultProfile(
            latency=rng.choice((0.0, 0.02, 0.5)),
            lost_requests=rng.choice((0.0, 0.02, 0.1)),
            lost_responses=rng.choice((0.0, 0.02, 0.1)),
            refusals=rng.choice((0.0, 0.02, 0.1)),
            hangs=rng.choice((0.0, 0.0, 0.02)),
            disconnects=rng.choice((0.0, 0.05)),
            black_holes=rng.choice((0.0, 0.01)),
            lag=rng.choice((0.0, 0.1, 2.0)),
            blob_errors=rng.choice((0.0, 0.02, 0.1)),
            blob_latency=rng.choice((0.0, 0.02, 0.5)),
        )
        self.profile = NO_FAULTS if self.fault_free else self.faulty
        self.blobs: dict[str, bytes] = {}
        history = rng.choice((30, 20_000))
        self.server = ApiServer(
            ApiServerOptions(history_changes=history), clock=LoopClock(), randomness=random.Random(f"uid {self.seed}")
        )
        self.oracle = Oracle(self.event_log, budget, self._has_status, self.tokens)
        self.oracle.fault_free = self.fault_free
        self.reached = Reached(self.oracle)
        self.oracle.failed = self.reached.request_failed
        self.actors: Any = None
        """Of controllers that divide the workflows: who may act for which."""
        self.denials = Denials(self.seed, self.event_log)
        self.sidecars = Sidecars(self.seed, self.event_log)
        self.clean = self.client("world", FaultyLink(random.Random(0)))
        self.strangers = Strangers(self.seed, self.clean, NAMESPACE, self.event_log)
        self.limits = Limits(self.seed, self.clean, self.tokens, self.event_log)
        self.finalizers = Finalizers(self.seed, self.clean, NAMESPACE)
        self.planted = Planted(self.seed, self.clean, NAMESPACE, self.oracle)
        self.restored = Restored(self.seed, self.server, self.oracle, self.event_log)
        self.retyped = Retyped(
            self.seed, self.server, self.clean, self.oracle, self.event_log, served=self.planted.used
        )
        if sharded:
            self.retyped.used = False
        drain = self.client("drain", FaultyLink(random.Random(0)))
        self.drains = Drains(self.seed, drain, self.event_log, vanish=not (self.overlaps or self.restored.used))
        local = Storage(self.settings.storage, stores={"memory": MemoryStore(self.blobs, is_local=True)})
        shown = Shown(self.server, self.clean, local)
        self.oracle.shown, self.oracle.opened, self.oracle.left_by = shown.has_succeeded, shown.opened, shown.left_by
        self.oracle.children_left_by = shown.children_left_by
        if self.oracle.gated or self.oracle.loaded:
            self.restored.used = False  # it would take back answers that were acted on, and uploads that were stopped
        if self.oracle.nested:
            self.restored.used = self.retyped.used = False  # they take executions from under their parents
        self.is_calm = False
        """Whether no process dies, stands still or is cut off."""
        self.pace = 0.0
        """Mean seconds between two moves of shards; 0: as is drawn."""
        self.archive: Any = None
        """What removes the finalizers of executions that nodes have started, late."""
        self.put_on()

    def put_on(self) -> None:
        """Have more than was drawn (`often`)."""

    def calm(self, profile: FaultProfile = NO_FAULTS) -> None:
        """Have nothing fail but what the world is about: requests as `profile` says, and what comes with `put_on`."""
        self.fault_free, self.is_calm = False, True
        self.profile = self.faulty = profile
        self.restored.used = self.planted.used = False

    def offload(self) -> None:
        """Have all statuses in the object store."""
        self.oracle.budget = 256
        checkpoint = msgspec.structs.replace(self.settings.checkpoint, budget=256)
        self.settings = msgspec.structs.replace(self.settings, checkpoint=checkpoint)

    def client(self, who: str, link: FaultyLink) -> Client:
        """A client of somebody, all of whose requests are seen, and some refused."""
        watched = Watched(self.oracle, who, link)
        if (archive := getattr(self, "archive", None)) is not None:
            watched = archive.before(watched)
        before = self.sidecars.before(self.denials.before(self.quotas.before(self.pressure.before(watched))))
        return Client(self.server.transport(interceptor=before), clock=LoopClock())

    def _has_status(self) -> bool:
        kind = workflow_type(self.server)
        return kind is not None and "status" in kind.subresources
