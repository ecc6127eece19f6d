"""Jobs of remote services in executions that recover, map, hit the cache, move between controllers or run in several
clusters.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
from flyteidl.core import literals_pb2

from propeller.config import WorkflowShardOptions
from propeller.controller import WorkflowController
from propeller.embedded.server import Forward, Interceptor
from propeller.errors import NotFound, PropellerError, Unavailable
from propeller.handlers.plugins import JobState, Plugins, RemotePlugin, RemoteTask
from propeller.kube import NAMESPACES, Client, Raw, Request, Response
from propeller.workflow import SHARD_LABEL, AttemptPhase, Failure, Job, shard_key
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.cached import integer, outputs, template, with_x
from tests.unit.controller.far import far, table
from tests.unit.controller.sharded import COUNT, joined
from tests.unit.workflow.drive import graph

REMOTE = template(discoverable=False) | {"type": "remote"}
RUNNING = JobState(AttemptPhase.RUNNING, "RUNNING", "it runs")
SUCCEEDED = JobState(AttemptPhase.SUCCEEDED, "SUCCEEDED", outputs=outputs(7))
FAILED = JobState(AttemptPhase.FAILED, "FAILED", failure=Failure("Wrong", "no table"))


class Service(RemotePlugin):
    """A service whose jobs go on until a test ends them. It knows a job by its number."""

    task_types = frozenset({"remote"})

    def __init__(self) -> None:
        self.keys: list[str] = []
        """By job, the attempt that it is for."""
        self.inputs: list[literals_pb2.LiteralMap] = []
        self.looked: list[int] = []
        self.deleted: list[int] = []
        self.states: dict[int, JobState] = {}
        self.default: JobState = RUNNING
        self.error: PropellerError | None = None
        self.takes = 0.1
        """Seconds from the start of a job to the answer."""

    async def create(self, task: RemoteTask) -> bytes:
        number = len(self.keys)
        self.keys.append(task.key.partition("/")[2])
        self.inputs.append(literals_pb2.LiteralMap.FromString(task.inputs.encode().tobytes()))
        await asyncio.sleep(self.takes)
        return str(number).encode()

    async def get(self, job: Job, output_prefix: str) -> JobState:
        number = int(job.id)
        self.looked.append(number)
        if self.error is not None:
            raise self.error
        if number in self.deleted:
            raise NotFound("no such job", status=404)
        return self.states.get(number, self.default)

    async def delete(self, job: Job) -> None:
        self.deleted.append(int(job.id))


class Writes(Interceptor):
    """A way to the API server on which nothing is written while `is_cut`."""

    def __init__(self) -> None:
        self.is_cut = False

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.is_cut and request.method in {"PUT", "PATCH"}:
            raise Unavailable("connection refused")
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


@asynccontextmanager
async def controlling(
    of: Bench, service: Service, interceptor: Interceptor | None = None
) -> AsyncIterator[WorkflowController]:
    client = Client(of.server.transport(interceptor=interceptor), of.settings.client, clock=of.clock)
    plugins = Plugins(remote=[service])
    made = WorkflowController(client, of.storage, of.settings, clock=of.clock, plugins=plugins, metrics=of.metrics)
    async with made.running() as controller:
        yield controller


async def create(
    of: Bench,
    name: str,
    *nodes: Raw,
    task: Raw = REMOTE,
    config: Raw | None = None,
    edges: Iterable[tuple[str, str]] | None = None,
) -> None:
    """Create an execution whose nodes run one after the other unless `edges` says otherwise."""
    in_turn = itertools.pairwise(node["id"] for node in nodes)
    body = {
        "metadata": {"name": name, "labels": {SHARD_LABEL: shard_key(name)}},
        "spec": graph(*nodes, edges=list(in_turn if edges is None else edges)),
        "tasks": {"t": task},
        "executionConfig": config or {},
    }
    await of.user.create(WORKFLOWS, body, "ns")


async def status(of: Bench, name: str = "w") -> Raw:
    found: Raw = (await of.user.get(WORKFLOWS, name, "ns")).get("status") or {}
    return found


async def ended(of: Bench, name: str = "w") -> Raw:
    async with asyncio.timeout(600.0):
        while (found := await status(of, name)).get("phase") not in {3, 5, 6}:
            await asyncio.sleep(0.5)
    return found


CHAIN = (with_x("n0", 1), with_x("n1", "n0"))
RECOVERS = {"RecoveryExecution": {"project": "p", "domain": "d", "name": "w"}}


# recover


async def test_a_job_that_had_succeeded_is_not_begun_again_and_its_outputs_are_used() -> None:
    service = Service()
    service.states = {0: SUCCEEDED, 1: FAILED}
    async with bench() as of, controlling(of, service):
        await create(of, "w", *CHAIN)
        assert (await ended(of))["state"] == "Failed"
        service.states[2] = SUCCEEDED
        await create(of, "again", *CHAIN, config=RECOVERS)
        assert (await ended(of, "again"))["state"] == "Succeeded"
    assert service.keys == ["w-n0-0", "w-n1-0", "again-n1-0"]
    assert service.inputs[2].literals["x"].scalar.primitive.integer == 7


async def test_running_jobs_of_an_execution_that_fails_are_deleted_and_begun_anew_when_it_is_recovered() -> None:
    service = Service()
    service.states = {0: SUCCEEDED}
    beside = (with_x("n0", 1), with_x("n1", 2), with_x("n2", 3))
    async with bench() as of, controlling(of, service):
        await create(of, "w", *beside, edges=())
        while len(service.keys) < 3:
            await asyncio.sleep(0.5)
        await asyncio.sleep(5.0)
        service.states[service.keys.index("w-n2-0")] = FAILED
        assert (await ended(of))["state"] == "Failed"
        await asyncio.sleep(5.0)
        assert service.deleted == [service.keys.index("w-n1-0")]
        assert not (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"].get("finalizers")
        service.default = SUCCEEDED
        await create(of, "again", *beside, edges=(), config=RECOVERS)
        assert (await ended(of, "again"))["state"] == "Succeeded"
    assert sorted(service.keys[3:]) == ["again-n1-0", "again-n2-0"]


# cache


async def test_a_cache_hit_begins_no_job() -> None:
    service = Service()
    service.default = SUCCEEDED
    cached = template() | {"type": "remote"}
    async with bench() as of, controlling(of, service):
        await create(of, "first", with_x("n0", 1), task=cached)
        assert (await ended(of, "first"))["state"] == "Succeeded"
        await create(of, "second", *CHAIN, task=cached)
        assert (await ended(of, "second"))["state"] == "Succeeded"
    assert service.keys == ["first-n0-0", "second-n1-0"]


# map tasks


def mapped() -> Raw:
    items = {"collection": {"bindings": [integer(number) for number in range(4)]}}
    spec = {"SubNodeSpec": {"id": "sub", "kind": "task", "task": "t"}, "MinSuccessRatio": 1.0}
    return {"id": "n0", "kind": "array", "array": spec, "inputBindings": [{"var": "x", "binding": items}]}


async def test_each_item_of_a_map_task_is_a_job_with_its_own_inputs() -> None:
    service = Service()
    service.default = SUCCEEDED
    async with bench() as of, controlling(of, service):
        await create(of, "w", mapped())
        assert (await ended(of))["state"] == "Succeeded"
    assert len(set(service.keys)) == 4
    assert sorted(given.literals["x"].scalar.primitive.integer for given in service.inputs) == [0, 1, 2, 3]


async def test_jobs_of_other_items_are_deleted_when_a_map_task_fails() -> None:
    service = Service()
    async with bench() as of, controlling(of, service):
        await create(of, "w", mapped())
        while len(service.keys) < 4:
            await asyncio.sleep(0.5)
        await asyncio.sleep(5.0)
        service.states[2] = FAILED
        assert (await ended(of))["state"] == "Failed"
        await asyncio.sleep(5.0)
    assert sorted(service.deleted) == [0, 1, 3]


# shards and clusters


@asynccontextmanager
async def member(of: Bench, service: Service) -> AsyncIterator[WorkflowController]:
    client = Client(of.server.transport(), of.settings.client, clock=of.clock)
    plugins = Plugins(remote=[service])
    made = WorkflowController(client, of.storage, of.settings, clock=of.clock, plugins=plugins, metrics=of.metrics)
    async with joined(made, client, of.settings, of.clock):
        yield made


async def test_jobs_of_a_shard_that_moves_are_looked_at_by_its_new_holder_and_not_begun_again() -> None:
    names = [f"w{number}" for number in range(12)]
    first, second = Service(), Service()
    second.keys, second.states = first.keys, first.states  # one service, two processes that ask it
    async with bench() as plain:
        of = replace(plain, settings=msgspec.structs.replace(plain.settings, shards=WorkflowShardOptions(count=COUNT)))
        await of.user.create(NAMESPACES, {"metadata": {"name": "flyte"}})
        async with member(of, first):
            for name in names:
                await create(of, name, with_x("n0", 1))
            while len(first.keys) < len(names):
                await asyncio.sleep(1.0)
            async with member(of, second):
                await asyncio.sleep(120.0)
                assert second.looked
                first.looked.clear()
                second.looked.clear()
                await asyncio.sleep(120.0)
                assert not set(first.looked) & set(second.looked)
                assert set(first.looked) | set(second.looked) == set(range(len(names)))
                first.states |= dict.fromkeys(range(len(names)), SUCCEEDED)
                for name in names:
                    assert (await ended(of, name))["state"] == "Succeeded"
    assert sorted(first.keys) == sorted(f"{name}-n0-0" for name in names)
    assert not first.deleted
    assert not second.deleted


@asynccontextmanager
async def handed_over(takes: float) -> AsyncIterator[tuple[Bench, Service]]:
    """One process begins 12 jobs, and half of its shards move to another before the service has answered."""
    service = Service()
    service.takes = takes
    async with bench() as plain:
        of = replace(plain, settings=msgspec.structs.replace(plain.settings, shards=WorkflowShardOptions(count=COUNT)))
        await of.user.create(NAMESPACES, {"metadata": {"name": "flyte"}})
        async with member(of, service):
            for number in range(12):
                await create(of, f"w{number}", with_x("n0", 1))
            while len(service.keys) < 12:
                await asyncio.sleep(0.01)
            async with member(of, service):
                await asyncio.sleep(60.0)
                yield of, service


async def test_a_job_that_begins_while_its_shard_is_given_up_is_that_of_the_next_process() -> None:
    """Regression: its id was dropped; the job was deleted, and another one begun."""
    async with handed_over(takes=0.8) as (_, service):
        assert len(service.keys) == 12
        assert not service.deleted
        assert set(service.looked) == set(range(12))


async def test_a_job_that_begins_after_its_shard_was_given_up_is_deleted_by_who_has_begun_it() -> None:
    """Regression: it went on beside the one that the next process had begun."""
    async with handed_over(takes=5.0) as (_, service):
        again = [number for number, key in enumerate(service.keys) if key in service.keys[number + 1 :]]
        assert again
        assert sorted(service.deleted) == again


async def test_a_job_belongs_to_no_cluster_and_runs_though_none_takes_executions() -> None:
    service = Service()
    service.default = SUCCEEDED
    async with far() as of:
        client = Client(of.control.transport(), clock=of.clock)
        plugins = Plugins(remote=[service])
        made = WorkflowController(client, of.storage, of.settings, clock=of.clock, opener=of.opener, plugins=plugins)
        made.route_by(table(east="draining", west="draining"))
        async with made.running():
            body = {"metadata": {"name": "w"}, "spec": graph(*CHAIN, edges=[("n0", "n1")]), "tasks": {"t": REMOTE}}
            await of.user.create(WORKFLOWS, body, "ns")
            await asyncio.sleep(60.0)
            found = await of.status("w")
        assert found["state"] == "Succeeded"
        assert not found.get("cluster")
        assert not await of.pods("east")
        assert not await of.pods("west")
    assert service.keys == ["w-n0-0", "w-n1-0"]


async def test_a_service_that_is_away_for_long_costs_no_status_writes() -> None:
    service = Service()
    async with bench() as of, controlling(of, service):
        await create(of, "w", with_x("n0", 1))
        await asyncio.sleep(10.0)
        service.error = Unavailable("connection refused")
        await asyncio.sleep(120.0)
        shown = await of.user.get(WORKFLOWS, "w", "ns")
        assert shown["status"]["jobs"][0]["phase"] == "UNKNOWN"
        await asyncio.sleep(600.0)
        later = await of.user.get(WORKFLOWS, "w", "ns")
        assert later["metadata"]["resourceVersion"] == shown["metadata"]["resourceVersion"]
        service.error, service.default = None, SUCCEEDED
        assert (await ended(of))["state"] == "Succeeded"


async def test_a_job_whose_time_is_up_is_looked_at_only_once_a_status_has_its_id() -> None:
    """Or its result would be used, and begun again by a process that takes over before any status has either."""
    service, way = Service(), Writes()
    service.default = SUCCEEDED
    async with bench() as of, controlling(of, service, way):
        service.takes = 10.0
        await create(of, "w", with_x("n0", 1) | {"executionDeadline": "20s"})
        while not service.keys:
            await asyncio.sleep(0.1)
        way.is_cut = True
        await asyncio.sleep(60.0)
        assert not service.looked
        way.is_cut = False
        assert (await ended(of))["state"] == "Succeeded"  # it had ended in time
    assert service.keys == ["w-n0-0"]
    assert not service.deleted
