"""Attempts whose resource is no pod: what the controller does with it, and that a bad plugin harms no others."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest

from propeller.config import ControllerOptions, LaunchOptions
from propeller.embedded.server import Forward
from propeller.handlers.plugins import Plugins, load_plugins
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Request, Response
from propeller.workflow import BackingOff
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.controller.test_restores import Deaf
from tests.unit.controller.things import (
    controller,
    create,
    find,
    names,
    plugins,
    plugins_with,
    report,
    serve,
    thing,
)
from tests.unit.handlers import plugins_of_others as others
from tests.unit.handlers.test_plugins import point
from tests.unit.workflow.drive import task

PATIENCE = 600.0
"""Virtual seconds for one wait."""

SUCCEEDED, FAILED, ABORTED = 3, 5, 6


async def until(done: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await done():
            await asyncio.sleep(0.1)


async def ended(of: Bench, name: str = "w") -> dict[str, Any]:
    async def status() -> dict[str, Any]:
        found: dict[str, Any] = (await of.user.get(WORKFLOWS, name, "ns")).get("status", {})
        return found

    async def is_over() -> bool:
        return (await status()).get("phase") in {SUCCEEDED, FAILED, ABORTED}

    await until(is_over)
    return await status()


async def test_a_task_runs_as_what_its_plugin_makes_between_tasks_that_run_as_pods() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, task("a"), thing("b"), task("c"), edges=[("a", "b"), ("b", "c")])
            await until(lambda: of.has_pod("w-a-0"))
            await of.report("w-a-0", phase="Succeeded")
            await until(lambda: find(of, "w-b-0"))
            assert sorted(await of.pods()) == ["w-a-0"]
            await report(of, "w-b-0", "Running")
            await report(of, "w-b-0", "Succeeded")
            await until(lambda: of.has_pod("w-c-0"))
            await of.report("w-c-0", phase="Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
        assert await names(of) == ["w-b-0"]  # the record of its attempt


async def test_its_retries_are_those_of_any_task() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a", retry={"minAttempts": 2}))
            for name in ("w-a-0", "w-a-1"):
                await until(functools.partial(find, of, name))
                await report(of, name, "Failed")
            status = await ended(of)
    assert status["phase"] == FAILED
    assert "as asked" in status["error"]["message"]


async def test_an_attempt_is_found_again_after_a_restart_and_what_ended_meanwhile_counts() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"), thing("b"))
            await until(lambda: find(of, "w-b-0"))
            await asyncio.sleep(5.0)
        before = {name: (await find(of, name) or {})["metadata"]["uid"] for name in await names(of)}
        await report(of, "w-a-0", "Succeeded")
        async with controller(of, plugins()):
            await asyncio.sleep(5.0)
            await report(of, "w-b-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
        assert {name: (await find(of, name) or {})["metadata"]["uid"] for name in await names(of)} == before
        assert sorted(before) == ["w-a-0", "w-b-0"]


async def test_a_create_whose_answer_was_lost_leads_to_the_resource_that_is_there() -> None:
    class LosesAnswers:
        lost = 0

        async def exchange(self, request: Request, forward: Forward) -> Response:
            answer = await forward(request)
            if request.method == "POST" and "/things" in request.path and not self.lost:
                self.lost += 1
                return Response(status=504, headers={}, body=b"")
            return answer

        def stream(self, request: Request, chunks: Any) -> Any:
            return chunks

    lossy = LosesAnswers()
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins(), lossy):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            await asyncio.sleep(60.0)
            await report(of, "w-a-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
    assert lossy.lost == 1


async def test_an_abort_deletes_it_with_what_it_has_started_before_it() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            await report(of, "w-a-0", "Running")
            held = {"metadata": {"finalizers": ["example.org/operator"]}}
            await of.user.patch(others.RAW_THINGS, "w-a-0", "ns", body=held)
            await of.user.patch(WORKFLOWS, "w", "ns", body={"metadata": {"finalizers": ["example.org/keep"]}})
            await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
            assert (await ended(of))["phase"] == ABORTED

            async def is_deleted() -> bool:
                return "deletionTimestamp" in (await find(of, "w-a-0") or {})["metadata"]

            await until(is_deleted)


async def test_the_next_attempt_waits_until_the_last_one_is_gone() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a", retry={"minAttempts": 2}, executionDeadline="60s"))
            await until(lambda: find(of, "w-a-0"))
            held = {"metadata": {"finalizers": ["example.org/operator"]}}
            await of.user.patch(others.RAW_THINGS, "w-a-0", "ns", body=held)
            await asyncio.sleep(75.0)
            assert await names(of) == ["w-a-0"]
            assert "deletionTimestamp" in (await find(of, "w-a-0") or {})["metadata"]
            await of.user.patch(others.RAW_THINGS, "w-a-0", "ns", body={"metadata": {"finalizers": []}})
            await asyncio.sleep(5.0)
            assert await names(of) == ["w-a-1"]


async def test_one_that_somebody_deletes_is_the_systems_fault_and_tried_again() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            await asyncio.sleep(5.0)
            await of.user.delete(others.RAW_THINGS, "w-a-0", "ns")
            await until(lambda: find(of, "w-a-1"))
            await report(of, "w-a-1", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED


async def test_tasks_whose_resource_is_not_served_wait_by_name_and_others_go_on() -> None:
    async with bench() as of, controller(of, plugins()) as running:
        await create(of, thing("a"), name="waits")
        await create(of, task("a"))
        await until(lambda: of.has_pod("w-a-0"))
        await of.report("w-a-0", phase="Succeeded")
        assert (await ended(of))["phase"] == SUCCEEDED
        await asyncio.sleep(60.0)
        execution = running.execution("ns/waits")
        assert execution is not None
        state = execution.states[0]
        assert isinstance(state, BackingOff)
        assert "the server has no things in example.org/v1" in state.reason
        await serve(of)
        await until(lambda: find(of, "waits-a-0"))
        await report(of, "waits-a-0", "Succeeded")
        assert (await ended(of, "waits"))["phase"] == SUCCEEDED


async def test_tasks_whose_resource_is_not_served_fail_after_the_operators_limit() -> None:
    async with bench() as plain:
        settings = msgspec.structs.replace(plain.settings, launches=LaunchOptions(limit=600.0))
        of = Bench(plain.user, plain.clock, plain.server, plain.storage, settings)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            async with asyncio.timeout(3600.0):
                while (status := await of.status()).get("phase") != FAILED:
                    await asyncio.sleep(10.0)
    assert "its thing could not be created since" in status["error"]["message"]
    assert status["error"]["kind"] == "SYSTEM"


async def test_a_type_that_is_not_served_for_a_while_says_nothing_of_its_objects() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            await asyncio.sleep(5.0)
        name = "things.example.org"
        (version,) = (await of.user.get(CUSTOM_RESOURCE_DEFINITIONS, name))["spec"]["versions"]

        async def set_served(served: bool) -> None:
            body = {"spec": {"versions": [version | {"served": served}]}}
            await of.user.patch(CUSTOM_RESOURCE_DEFINITIONS, name, body=body)

        await set_served(False)
        async with controller(of, plugins()):
            await asyncio.sleep(900.0)
            assert (await of.status())["phase"] == 1
            await set_served(True)
            await asyncio.sleep(600.0)
            assert await names(of) == ["w-a-0"]
            await report(of, "w-a-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED


@pytest.mark.parametrize(
    ("installed", "says"),
    [
        (plugins("no_such_module:PLUGIN"), "plugin thing (no_such_module:PLUGIN) cannot be used: ModuleNotFoundError"),
        (plugins_with(others.RaisesInBuild()), "build raised ZeroDivisionError: no build"),
        (plugins_with(others.BuildsNothing()), "build returned None"),
        (plugins_with(others.RaisesInObserve()), "observe raised KeyError"),
        (plugins_with(others.ObservesText()), "observe returned a str"),
    ],
)
async def test_a_bad_plugin_fails_its_own_task_as_the_systems_and_nothing_else(installed: Plugins, says: str) -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, installed):
            await create(of, task("a"), name="other")
            await create(of, thing("a"))
            bad = await ended(of)
            assert (bad["phase"], bad["error"]["kind"]) == (FAILED, "SYSTEM")
            assert says in bad["error"]["message"]
            assert "thing" in bad["error"]["message"]
            await until(lambda: of.has_pod("other-a-0"))
            await of.report("other-a-0", phase="Succeeded")
            assert (await ended(of, "other"))["phase"] == SUCCEEDED

            async def is_gone() -> bool:
                return not await names(of)

            if "observe" in says:
                await until(is_gone)  # nobody would see its end


async def test_what_an_execution_leaves_running_is_stopped_at_its_end_and_collected_with_it() -> None:
    async with bench() as plain:
        settings = msgspec.structs.replace(plain.settings, controller=ControllerOptions(ttl=60.0))
        of = Bench(plain.user, plain.clock, plain.server, plain.storage, settings)
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            owner = (await find(of, "w-a-0") or {})["metadata"]
            await report(of, "w-a-0", "Succeeded")
            await ended(of)
            stray = {"name": "w-a-9", **{key: owner[key] for key in ("labels", "annotations", "ownerReferences")}}
            await of.user.create(others.RAW_THINGS, {"metadata": stray}, "ns")  # as another replica would
            await asyncio.sleep(10.0)
            assert await names(of) == ["w-a-0"]
            await asyncio.sleep(120.0)
            assert await names(of) == []


async def test_a_pod_under_the_name_of_anothers_attempt_means_nothing() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            found = (await find(of, "w-a-0") or {})["metadata"]
            metadata = {key: found[key] for key in ("name", "labels", "annotations", "ownerReferences")}
            spec = {"containers": [{"name": "main", "image": "i"}]}
            await of.user.create(RAW_PODS, {"metadata": metadata, "spec": spec}, "ns")
            await of.report("w-a-0", phase="Succeeded")
            await asyncio.sleep(10.0)
            assert (await of.status())["phase"] == 1


async def test_caches_of_plugins_are_scraped_by_kind() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            await asyncio.sleep(1.0)
            assert of.measured("propeller_cache_objects", kind="Thing") == 1


async def test_two_plugins_may_make_one_kind_and_each_reads_its_own() -> None:
    both = load_plugins([point("GOOD"), point("ONLY_OTHER", "other")])
    async with bench() as of:
        await serve(of)
        async with controller(of, both):
            await create(of, thing("a"), thing("b", task="other"))
            for name in ("w-a-0", "w-b-0"):
                await until(functools.partial(find, of, name))
                await report(of, name, "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
            kinds = ("Thing", "Thing of thing")
            assert [of.measured("propeller_cache_objects", kind=kind) for kind in kinds] == [2, 2]


async def test_a_controller_that_may_not_list_what_a_plugin_makes_runs_all_other_tasks() -> None:
    class Forbids:
        async def exchange(self, request: Request, forward: Forward) -> Response:
            if "/things" not in request.path:
                return await forward(request)
            status = {"kind": "Status", "reason": "Forbidden", "code": 403, "message": "things is forbidden: User x"}
            return Response(status=403, headers={}, body=orjson.dumps(status))

        def stream(self, request: Request, chunks: Any) -> Any:
            return chunks

    async with bench() as of:
        await serve(of)
        async with controller(of, plugins(), Forbids()) as running:
            await create(of, thing("a"), name="waits")
            await create(of, task("a"))
            await until(lambda: of.has_pod("w-a-0"))
            await of.report("w-a-0", phase="Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED
            execution = running.execution("ns/waits")
            assert execution is not None
            assert "things is forbidden" in str(execution.states[0])


async def test_a_restored_server_counts_before_a_plugins_cache_has_heard_of_it() -> None:
    """Regression: the cache was of after the copy, by which the attempt that is back was over."""
    deaf = Deaf("things")
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins(), deaf):
            await create(of, thing("a", retry={"minAttempts": 3}))
            await until(lambda: find(of, "w-a-0"))
            await asyncio.sleep(10.0)
            backup = of.server.back_up()
            await report(of, "w-a-0", "Failed")
            await until(lambda: find(of, "w-a-1"))
            await asyncio.sleep(30.0)  # the status knows of it
            of.server.restore(backup)
            deaf.on = True
            of.server.start()
            await asyncio.sleep(of.settings.client.deadline / 2)
            deaf.on = False
            await asyncio.sleep(60.0)
            assert await names(of) == ["w-a-0"]
            await report(of, "w-a-0", "Succeeded")
            assert (await ended(of))["phase"] == SUCCEEDED


async def test_a_server_restored_from_before_a_plugins_type_keeps_no_other_task_waiting() -> None:
    async with bench() as of:
        backup_of_namespace = of.server.back_up()
        await serve(of)
        async with controller(of, plugins()):
            await create(of, thing("a"))
            await until(lambda: find(of, "w-a-0"))
            await asyncio.sleep(10.0)
            of.server.restore(backup_of_namespace)
            of.server.start()
            await asyncio.sleep(10.0)
            await create(of, task("a"), name="later")
            await until(lambda: of.has_pod("later-a-0"))
            await of.report("later-a-0", phase="Succeeded")
            assert (await ended(of, "later"))["phase"] == SUCCEEDED
