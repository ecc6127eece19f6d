"""What takes no waiting is done at once; what the object store's outages hold up waits, and is not lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from propeller.embedded.faults import FaultyStore
from propeller.informers import Change
from propeller.reconcile import FairPool
from propeller.storage import MemoryStore, Storage
from propeller.workflow import BackingOff
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.children import create
from tests.unit.controller.test_child_maps import PLANS, child, give, mapped
from tests.unit.controller.test_children import with_options
from tests.unit.workflow.drive import TASK, graph, task


def on(of: Bench, store: FaultyStore) -> Bench:
    return Bench(of.user, of.clock, of.server, Storage(of.settings.storage, stores={"memory": store}), of.settings)


def store(*, is_local: bool = False) -> FaultyStore:
    return FaultyStore(MemoryStore(is_local=is_local), random.Random(0))


async def ended(of: Bench) -> dict[str, Any]:
    while (status := await of.status()).get("phase") not in {3, 5}:
        await asyncio.sleep(0.1)
    return status


async def pod(of: Bench, name: str) -> None:
    while not await of.has_pod(name):
        await asyncio.sleep(0.1)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that pools are asked to run from now on."""
    jobs: list[str] = []
    submit = FairPool.submit

    def noting(self: FairPool[Any], tenant: Any, job: Any, priority: int = 0) -> None:
        jobs.append(job.__qualname__ if hasattr(job, "__qualname__") else job.func.__qualname__)
        submit(self, tenant, job, priority)

    monkeypatch.setattr(FairPool, "submit", noting)
    return jobs


@pytest.mark.parametrize("is_local", [True, False])
async def test_reading_what_a_task_left_takes_no_turn_of_its_own_where_it_is_at_hand(
    is_local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as made:
        of = on(made, store(is_local=is_local))
        async with of.controller():
            jobs = counted(monkeypatch)
            await of.create(task("n0"))
            await pod(of, "w-n0-0")
            await of.report("w-n0-0", phase="Succeeded")
            assert (await ended(of))["phase"] == 3
    effects = [job for job in jobs if "EffectRunner" in job]
    assert len(effects) == (1 if is_local else 2)  # the launch, and reading


@pytest.mark.parametrize("config", [None, {"RecoveryExecution": {}}], ids=["none", "as compilers write it"])
async def test_a_new_workflow_whose_object_has_all_of_it_is_loaded_in_its_first_round(
    config: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench() as of, of.controller():
        jobs = counted(monkeypatch)
        body = {"metadata": {"name": "w"}, "spec": graph(task("n0")), "tasks": {"t": TASK}}
        await of.user.create(WORKFLOWS, body | ({"executionConfig": config} if config else {}), "ns")
        await pod(of, "w-n0-0")
    assert not [job for job in jobs if "Intake" in job]


async def test_executions_that_others_start_are_loaded_so_too_once_their_closure_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench() as made:
        of = with_options(made, child_closure_bytes=0)
        async with of.controller():
            jobs = counted(monkeypatch)
            await create(of, mapped(Parallelism=1), plans=PLANS)
            for item in range(3):
                await give(of, child(item), item)
            assert (await of.status())["state"] == "Succeeded"
    assert len([job for job in jobs if "Intake" in job]) == 1, "the first reads what the others share"


@pytest.mark.parametrize("inputs", ["ftp://host/inputs.pb", "file:///dev/zero", "memory://m/none", "s3://"])
async def test_inputs_that_cannot_be_had_are_an_error_of_the_workflow_alone(inputs: str) -> None:
    async with bench() as of, of.controller():
        body = {"metadata": {"name": "w"}, "spec": graph(task("n0")), "tasks": {"t": TASK}, "offloadedInputs": inputs}
        await of.user.create(WORKFLOWS, body, "ns")
        assert (await ended(of))["error"]["code"] == "BadWorkflow"


async def test_what_we_wrote_ourselves_leads_to_no_round() -> None:
    async with bench(max_lag=0.0) as of, of.controller() as controller:
        await of.create(task("n0"))
        await pod(of, "w-n0-0")
        await asyncio.sleep(5.0)
        before = of.reconciles()
        workflow = controller._workflows.store.get("ns/w")
        assert workflow is not None
        assert workflow.metadata.resource_version == (await version_of(of))
        controller._workflow_changed(Change("ns/w", workflow, workflow))
        await asyncio.sleep(0.5)
        assert of.reconciles() == before


async def version_of(of: Bench) -> str:
    version: str = (await of.user.get(WORKFLOWS, "w", "ns"))["metadata"]["resourceVersion"]
    return version


async def test_an_outage_of_the_store_fails_no_attempt_and_holds_up_nobody_else() -> None:
    async with bench() as made:
        faulty = store()
        of = on(made, faulty)
        async with of.controller() as controller:
            await of.create(task("n0"))
            await pod(of, "w-n0-0")
            faulty.partitioned = True
            await of.report("w-n0-0", phase="Succeeded")
            await asyncio.sleep(1800.0)
            assert controller._lanes.observe._running == 0  # what pauses takes nobody's place
            assert (await of.status())["phase"] == 1
            faulty.partitioned = False
            assert (await ended(of))["phase"] == 3
            assert list(await of.pods()) == ["w-n0-0"]


async def test_a_launch_that_the_store_holds_up_says_so_in_the_status() -> None:
    async with bench(max_lag=0.0) as made:
        faulty = store()
        of = on(made, faulty)
        async with of.controller() as controller:
            faulty.partitioned = True
            await of.create(task("n0"))
            await asyncio.sleep(602.0)
            assert not await of.pods()
            execution = controller.execution("ns/w")
            assert execution is not None
            (state,) = execution.states.values()
            assert isinstance(state, BackingOff)
            assert "the connection broke" in state.reason
            faulty.partitioned = False
            await pod(of, "w-n0-0")
