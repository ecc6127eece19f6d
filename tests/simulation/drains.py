"""In some worlds pods are deleted by somebody else: their node is drained, they are evicted, or cleaned up.

A pod on a node has a grace period then, in which its task may still end well: that counts, as does what ended before.
Or it is killed, which is the system's fault. Nothing of the pod is left in either case. A process that starts later
finds the result in a status if that was written, and in the object store if a status says that the attempt runs; if
there is neither, the attempt is run once more under its number, and comes to the same end.
"""

from __future__ import annotations

import random

import msgspec
import orjson
from flyteidl.core import literals_pb2

from propeller.controller._loading import Loader, _left_of
from propeller.controller._resource import FlyteWorkflow
from propeller.embedded.server import ApiServer
from propeller.errors import PropellerError
from propeller.handlers import run_without_suspending
from propeller.kube import PODS, Client, Raw
from propeller.storage import Storage
from propeller.workflow import Execution, NodePhase, OpeningGate
from tests.simulation.event_log import EventLog
from tests.simulation.retries import retry_until_ok
from tests.simulation.scripts import SYSTEM_RETRIES, Outcome, Script

GRACES = (1, 5, 30, 60)
"""Seconds."""


class Drains:
    """Such deletions, in two fifths of the worlds in which pods may vanish."""

    def __init__(self, seed: int, client: Client, event_log: EventLog, *, vanish: bool) -> None:
        self._rng = random.Random(f"drains {seed}")
        self.used = self._rng.random() < 0.4 and vanish
        self._client = client
        self._event_log = event_log
        self._struck: set[str] = set()

    def put_into(self, script: Script, key: str) -> Script:
        """The script with drains among its runs. Its end stays the same: the system's retries are enough for all."""
        if not self.used:
            return script
        rng = random.Random(f"drains {key}")
        outcomes, (ends_well, last) = list(script.outcomes), script.end()
        left = SYSTEM_RETRIES - sum(outcome.is_system for outcome in outcomes)
        if ends_well and rng.random() < 0.3:
            outcomes[last:] = [Outcome.SPARED]
        while left > 0 and rng.random() < 0.25:
            outcomes.insert(rng.randint(0, last), Outcome.DRAINED)
            left, last = left - 1, last + 1
        return Script(tuple(outcomes), script.user_attempts)

    def comes_early(self, outcome: Outcome) -> bool:
        """Whether the pod is deleted before it is on a node: it has no grace then."""
        return outcome is Outcome.DRAINED and self._rng.random() < 0.2

    def comes_late(self, outcome: Outcome) -> bool:
        """Whether the pod is deleted after its task has ended."""
        return outcome is Outcome.SPARED and self._rng.random() < 0.3

    def end_is_reported(self) -> bool:
        """Whether the end of a task is seen whose pod is being deleted."""
        return self._rng.random() < 0.7

    async def strike(self, pod: Raw) -> float:
        """Delete the pod. Returns seconds until it ends, within its grace."""
        name, namespace, uid = (pod["metadata"][field] for field in ("name", "namespace", "uid"))
        grace = self._rng.choice(GRACES)
        self._struck.add(uid)
        self._event_log.record(f"pod {name} is drained, with {grace} s")
        await retry_until_ok(lambda: self._client.delete(PODS, name, namespace, grace_seconds=grace, uid=uid))
        return self._rng.uniform(0.0, grace)

    def has_struck(self, uid: str) -> bool:
        return uid in self._struck


class Shown:
    """What the statuses that the server has show."""

    def __init__(self, server: ApiServer, client: Client, storage: Storage) -> None:
        """`storage` is read without waiting."""
        self._server = server
        self._loader = Loader(client, storage, storage.settings.metadata_prefix)

    def has_succeeded(self, uid: str, node: str) -> bool:
        """Whether the status of the workflow shows that its node has; False if it cannot be read."""
        execution = self._execution(uid)
        return execution is not None and any(
            phase == NodePhase.SUCCEEDED and execution.unique_id(number) == node
            for number, phase in enumerate(execution.phases)
        )

    def opened(self, uid: str) -> dict[str, int | None]:
        """The gates that its status shows to open, by unique id, and the integers that they were given."""
        execution = self._execution(uid)
        found: dict[str, int | None] = {}
        for number, state in execution.states.items() if execution is not None else ():
            if isinstance(state, OpeningGate) and execution is not None:
                literal = literals_pb2.Literal.FromString(state.value)
                found[execution.unique_id(number)] = literal.scalar.primitive.integer if state.value else None
        return found

    def left_by(self, uid: str) -> frozenset[str]:
        """The nodes, by unique id, whose outputs a workflow leaves to one that recovers it."""
        execution = self._execution(uid)
        return frozenset(_left_of(execution)[0]) if execution is not None else frozenset()

    def children_left_by(self, uid: str) -> dict[str, str]:
        """By node, the names of executions that it leaves to be recovered."""
        execution = self._execution(uid)
        return _left_of(execution)[1] if execution is not None else {}

    def _execution(self, uid: str) -> Execution | None:
        kind = self._server._registry.find("flyte.lyft.com", "v1alpha1", "flyteworkflows")
        for record in () if kind is None else kind.collection.records.values():
            if record.uid == uid:
                workflow = msgspec.json.decode(orjson.dumps(record.parsed()), type=FlyteWorkflow)
                try:
                    return run_without_suspending(self._loader.show(workflow, 0.0))
                except PropellerError:
                    return None
        return None
