"""Resources of attempts that somebody edits, deletes or makes anew, and operators that write nonsense into them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench
from tests.unit.controller.test_operators import JOBS, create, jobs, operated, report
from tests.unit.controller.test_task_plugins import FAILED, SUCCEEDED, ended, until


async def say(of: Bench, status: Any, name: str = "w-n0-0") -> None:
    """Write a status, whatever it is."""
    await of.user.patch(JOBS, name, "ns", body={"status": status}, subresource="status")
    await asyncio.sleep(5.0)


GARBAGE: list[Any] = [
    {"conditions": "Failed"},
    {"conditions": {"type": "Failed"}},
    {"conditions": [7]},
    {"conditions": [{"type": 7, "status": True}]},
    {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": 5}]},
    {"conditions": [], "replicaStatuses": []},
    {"conditions": [], "replicaStatuses": {"Worker": {"active": "many"}}},
    {"conditions": [], "replicaStatuses": {"Worker": {"active": 2**63}}},
    {"conditions": [{"type": "Imploded", "status": "True", "message": "\x1b[2J" * 1000}]},
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda one: str(one)[:60])
async def test_nonsense_in_a_status_decides_nothing_and_a_later_status_does(garbage: Any) -> None:
    async with operated() as of:
        async with of.controller():
            await create(of)
            await report(of, "w-n0-0", "Running")
            await say(of, garbage)
            assert (await of.status())["phase"] == 1
            await say(of, None)
            await report(of, "w-n0-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
        assert await jobs(of) == ["w-n0-0"]


@pytest.mark.parametrize("garbage", GARBAGE[:6], ids=lambda one: str(one)[:60])
async def test_nonsense_that_a_restarted_controller_finds_decides_nothing_either(garbage: Any) -> None:
    async with operated() as of:
        async with of.controller():
            await create(of)
            await report(of, "w-n0-0", "Running")
        await say(of, garbage)
        async with of.controller():
            await asyncio.sleep(120.0)
            assert (await of.status())["phase"] == 1
            await say(of, None)
            await report(of, "w-n0-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
        assert await jobs(of) == ["w-n0-0"]


async def test_what_an_operator_says_at_length_and_in_control_characters_is_cut_and_shown() -> None:
    async with operated() as of, of.controller():
        await create(of)
        await report(of, "w-n0-0", "Failed", reason="\x1b[2JWhy\u202e", message="x\x07" * 100_000)
        status = await ended(of)
    assert status["phase"] == FAILED
    message = status["error"]["message"]
    assert "Why" in message
    assert len(message) <= 8 * 1024
    assert not {"\x1b", "\x07", "\u202e"} & set(message)


async def test_a_job_whose_labels_somebody_removes_is_followed_to_its_end() -> None:
    async with operated() as of:
        async with of.controller():
            await create(of)
            await report(of, "w-n0-0", "Running")
            body = {"metadata": {"labels": None, "annotations": None}}
            await of.user.patch(JOBS, "w-n0-0", "ns", body=body)
            await asyncio.sleep(10.0)
            assert (await of.status())["phase"] == 1
            await report(of, "w-n0-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
        assert await jobs(of) == ["w-n0-0"]


@pytest.mark.parametrize("kind", ["job", "pod"])
async def test_a_resource_that_somebody_deletes_and_makes_anew_is_lost_and_not_taken_for_ours(kind: str) -> None:
    async with operated() as of, of.controller():
        if kind == "job":
            await create(of)
            resource, name = JOBS, "w-n0-0"
            await report(of, name, "Running")
        else:
            await of.create({"id": "n0", "kind": "task", "task": "t"})
            resource, name = RAW_PODS, "w-n0-0"
            await until(lambda: of.has_pod(name))
            await of.report(name, phase="Running")
            await asyncio.sleep(5.0)
        ours = await of.user.get(resource, name, "ns")
        anew = {"metadata": {"name": name, "labels": ours["metadata"]["labels"]}, "spec": ours["spec"]}
        await of.user.delete(resource, name, "ns", grace_seconds=0)
        theirs = await of.user.create(resource, anew, "ns")
        await asyncio.sleep(60.0)
        found = await of.user.get(resource, name, "ns")
        assert found["metadata"]["uid"] == theirs["metadata"]["uid"], "a stranger's is left alone"
        names = sorted(one["metadata"]["name"] for one in (await of.user.list(resource, "ns")).items)
        assert names == ["w-n0-0", "w-n0-1"], await of.status()


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_job_of_nonsense_is_stopped_by_an_abort(restarts: bool) -> None:
    async with operated() as of:
        async with of.controller():
            await create(of)
            await report(of, "w-n0-0", "Running")
            await say(of, GARBAGE[0])
            body = {"metadata": {"finalizers": ["example.org/keep"]}}
            await of.user.patch(WORKFLOWS, "w", "ns", body=body)
            if not restarts:
                await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
                await asyncio.sleep(60.0)
        if restarts:
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            async with of.controller():
                await asyncio.sleep(60.0)
        assert await jobs(of) == []


async def test_the_time_of_a_job_of_nonsense_ends_as_any_attempts_does() -> None:
    async with operated() as of:
        async with of.controller():
            await create(of, executionDeadline="300s")
            await report(of, "w-n0-0", "Running")
        await say(of, GARBAGE[0])
        async with of.controller():
            status = await ended(of)
    assert (status["phase"], status["error"]["code"], status["error"]["kind"]) == (FAILED, "TimeoutExpired", "USER")


async def test_a_type_whose_version_is_no_longer_served_is_waited_for_and_its_jobs_are_not_lost() -> None:
    async with operated() as of:
        crd = f"{JOBS.plural}.{JOBS.group}"

        async def serve_version(name: str) -> None:
            found = await of.user.get(CUSTOM_RESOURCE_DEFINITIONS, crd)
            (one, *_) = found["spec"]["versions"]
            versions = [{**one, "name": n, "served": n == name, "storage": n == "v1"} for n in ("v1", "v2")]
            await of.user.patch(CUSTOM_RESOURCE_DEFINITIONS, crd, body={"spec": {"versions": versions}})

        async with of.controller():
            await create(of)
            await report(of, "w-n0-0", "Running")
            await serve_version("v2")
            await asyncio.sleep(300.0)
            assert (await of.status())["phase"] == 1
        async with of.controller():
            await asyncio.sleep(60.0)
            assert (await of.status())["phase"] == 1
            await serve_version("v1")
            await report(of, "w-n0-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
        assert await jobs(of) == ["w-n0-0"]
