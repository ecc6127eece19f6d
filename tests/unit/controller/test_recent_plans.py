"""Plans outlive their executions for a while, within bounds that nobody's workflows can exceed."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref

import pytest

from propeller.controller import _plans
from propeller.controller._recent_plans import CAPACITY, MAX_SHARE, OVERHEAD_BYTES, RecentPlans
from propeller.workflow import Plan, parse_plan
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.children import create, end, launch_plan, status, workflow
from tests.unit.controller.test_shared_closures import REFERENCE, Closures, sharing
from tests.unit.workflow.drive import TASK, graph, task


def plan(name: str, padding: int = 0) -> Plan:
    tasks = {"t": TASK, "unused": {"type": "x" * padding}}
    return parse_plan(json.dumps({"spec": graph(task("n0")), "tasks": tasks}).encode(), name)


class Kept:
    """Uses plans, and tells which of them are in memory although nobody else holds them."""

    def __init__(self) -> None:
        self._recent = RecentPlans()
        self._made: list[weakref.ref[Plan]] = []

    def use(self, name: str, padding: int = 0) -> None:
        made = next((one for ref in self._made if (one := ref()) is not None and one.digest == name), None)
        if made is None:
            made = plan(name, padding)
            self._made.append(weakref.ref(made))
        self._recent.use(made)

    @property
    def plans(self) -> list[Plan]:
        gc.collect()  # a plan and its graphs refer to each other
        return [one for ref in self._made if (one := ref()) is not None]

    @property
    def names(self) -> list[str]:
        return [one.digest for one in self.plans]


async def run(of: Bench, name: str, tasks: dict[str, object] | None = None) -> None:
    """A workflow of one pod from its create to its end."""
    body = {"metadata": {"name": name}, "spec": graph(task("n0")), "tasks": {"t": TASK, **(tasks or {})}}
    await of.user.create(WORKFLOWS, body, "ns")
    await asyncio.sleep(1.0)
    await of.report(f"{name}-n0-0", phase="Succeeded")
    await asyncio.sleep(5.0)
    assert (await of.user.get(WORKFLOWS, name, "ns"))["status"]["phase"] == 3
    gc.collect()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of the closures that are parsed from now on."""
    digests: list[str] = []

    def noting(closure: bytes, digest: str) -> Plan:
        digests.append(digest)
        return parse_plan(closure, digest)

    monkeypatch.setattr(_plans, "parse_plan", noting)
    return digests


async def test_workflows_that_run_one_after_the_other_share_a_plan(parsed: list[str]) -> None:
    async with bench() as of, of.controller():
        for number in range(3):
            await run(of, f"w{number}")
    assert len(parsed) == 1


async def test_another_closure_under_the_same_name_has_a_plan_of_its_own(parsed: list[str]) -> None:
    async with bench() as of, of.controller():
        await run(of, "w")
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(5.0)
        await run(of, "w", {"other": TASK})
    assert len(set(parsed)) == 2


async def test_a_stored_closure_is_not_read_again_after_the_end_of_the_execution_that_ran_it() -> None:
    store = Closures()
    async with sharing(store) as of, of.controller():
        await create(of, plans={"plan": launch_plan()})
        made = await workflow(of, "w-n0-0")
        await end(of, "w-n0-0-a-0")
        assert (await status(of, "w"))["state"] == "Succeeded"
        gc.collect()
        store.blobs.pop(made[REFERENCE])
        more = {"metadata": {"name": "another"}, REFERENCE: made[REFERENCE], "offloadedInputs": made["offloadedInputs"]}
        await of.user.create(WORKFLOWS, more, "ns")
        await asyncio.sleep(1.0)
        await end(of, "another-a-0")
        assert (await status(of, "another"))["state"] == "Succeeded"


def test_a_flood_of_different_plans_takes_no_more_than_the_capacity() -> None:
    kept = Kept()
    for number in range(300):
        kept.use(f"p{number}", 10_000)
    held = sum(one.closure_bytes + OVERHEAD_BYTES for one in kept.plans)
    assert 0.9 * CAPACITY < held <= CAPACITY


def test_the_smallest_plans_are_bounded_in_number() -> None:
    kept = Kept()
    for number in range(CAPACITY // OVERHEAD_BYTES + 100):
        kept.use(f"p{number}")
    assert len(kept.plans) < CAPACITY // OVERHEAD_BYTES


def test_the_plan_that_was_not_used_for_longest_is_dropped_first() -> None:
    kept = Kept()
    for number in range(200):
        kept.use(f"p{number}", 10_000)
        kept.use("often")
    assert "often" in kept.names
    assert "p0" not in kept.names
    assert "p199" in kept.names


def test_a_plan_that_would_drive_out_many_others_is_not_kept() -> None:
    kept = Kept()
    kept.use("small")
    kept.use("large", CAPACITY // MAX_SHARE)
    assert kept.names == ["small"]


def test_what_many_executions_have_a_plan_derive_is_dropped_with_it_in_time() -> None:
    kept, uses = Kept(), 1
    kept.use("busy", 50_000)
    first = weakref.ref(kept.plans[0])
    while first() is not None and uses < 100:
        kept.use("busy", 50_000)
        gc.collect()
        uses += 1
    assert 2 < uses <= CAPACITY // MAX_SHARE // 50_000 + 1
