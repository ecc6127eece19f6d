"""Gate nodes: they sleep, or wait for somebody's answer, which is durable before anything builds on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from propeller.config import ControllerOptions, EventOptions
from propeller.controller import Recorder
from propeller.embedded.server import Forward
from propeller.kube import EVENTS, PatchKind, Raw, Request, Response
from propeller.storage import read_literals
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.test_resting import IDLE, _Requests, resting
from tests.unit.workflow.drive import TASK, graph, task

INTEGER = {"simple": "INTEGER"}


def signal(node_id: str, type_: dict[str, Any] = INTEGER, **fields: Any) -> dict[str, Any]:
    condition = {"signalId": f"{node_id}-name", "type": type_, "outputVariableName": "o0"}
    return {"id": node_id, "kind": "gate", "gate": {"kind": "signal", "signal": condition}, **fields}


def sleep(node_id: str, duration: str, **fields: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "gate", "gate": {"kind": "sleep", "sleep": {"duration": duration}}, **fields}


def approve(node_id: str, **fields: Any) -> dict[str, Any]:
    gate = {"kind": "approve", "approve": {"signalId": f"{node_id}-name"}}
    bound = {"var": "x", "binding": {"scalar": {"primitive": {"integer": "7"}}}}
    return {"id": node_id, "kind": "gate", "gate": gate, "inputBindings": [bound], **fields}


def after(node_id: str, gate: str, variable: str = "o0") -> dict[str, Any]:
    """A task whose input is an output of the gate."""
    promise = {"promise": {"nodeId": gate, "var": variable}}
    return task(node_id, inputBindings=[{"var": "a", "binding": promise}])


async def answer(of: Bench, node: str, text: str | None) -> None:
    body = {"metadata": {"annotations": {f"propeller/signal.{node}": text}}}
    await of.user.patch(WORKFLOWS, "w", "ns", body=body, kind=PatchKind.MERGE)
    await asyncio.sleep(0.5)


async def input_of(of: Bench, node: str) -> int:
    found: Raw = await of.user.get(WORKFLOWS, "w", "ns")
    literals = await read_literals(of.storage, f"{found['status']['dataDir']}/{node}/data/inputs.pb")
    return literals.literals["a"].scalar.primitive.integer


async def ends_well(of: Bench, pod: str = "w-n1-0") -> bool:
    await of.report(pod, phase="Succeeded")
    await asyncio.sleep(3.0)
    return bool((await of.status())["phase"] == 3)


async def test_a_gate_waits_says_what_for_and_passes_on_the_value_that_it_is_given() -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
        await asyncio.sleep(30.0)
        status = await of.status()
        said = "waits for input n0-name of type integer: propeller signal w n0 VALUE -n ns"
        assert status["message"].startswith(f"n0 {said}, since ")
        assert status["waits"][0]["reason"] == said
        assert not await of.pods()
        await answer(of, "n0", "42")
        assert await input_of(of, "n1") == 42
        assert await ends_well(of)
        assert "message" not in await of.status()


async def test_a_sleep_ends_when_its_time_has_passed_and_not_before() -> None:
    async with bench() as of, of.controller():
        await of.create(sleep("n0", "3600s"), task("n1"), edges=[("n0", "n1")])
        await asyncio.sleep(3595.0)
        assert "sleeps until" in (await of.status())["message"]
        assert not await of.pods()
        await asyncio.sleep(10.0)
        assert await ends_well(of)


async def test_what_was_approved_is_passed_on() -> None:
    async with bench() as of, of.controller():
        await of.create(approve("n0"), after("n1", "n0", "x"), edges=[("n0", "n1")])
        await asyncio.sleep(5.0)
        assert "waits for approval n0-name: propeller approve w n0 -n ns" in (await of.status())["message"]
        await answer(of, "n0", "true")
        assert await input_of(of, "n1") == 7
        assert await ends_well(of)


async def test_a_rejection_fails_the_node_by_flytes_code_and_no_later_answer_undoes_it() -> None:
    async with bench() as of:
        async with of.controller():
            await of.create(approve("n0"), task("n1"), edges=[("n0", "n1")])
            await answer(of, "n0", "false")
            await asyncio.sleep(3.0)
            await answer(of, "n0", "true")
        async with of.controller():
            await asyncio.sleep(10.0)
            status = await of.status()
            assert status["phase"] == 5
            assert status["error"]["code"] == "ReceivedRejectSignal"
            assert status["error"]["kind"] == "USER"
            assert not await of.pods()


async def test_an_answer_given_before_the_gate_waits_is_taken_when_it_does() -> None:
    async with bench() as of, of.controller():
        await of.create(task("n0"), signal("n1"), after("n2", "n1"), edges=[("n0", "n1"), ("n1", "n2")])
        await answer(of, "n1", "3")
        await of.report("w-n0-0", phase="Succeeded")
        await asyncio.sleep(3.0)
        assert await input_of(of, "n2") == 3


async def test_an_answer_whose_fields_do_not_fit_the_type_is_said_on_the_node_which_waits_on() -> None:
    schema = {"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]}
    async with bench() as of, of.controller():
        await of.create(signal("n0", {"simple": "STRUCT", "metadata": schema}), after("n1", "n0"), edges=[("n0", "n1")])
        await answer(of, "n0", '{"rows": "many"}')
        await asyncio.sleep(3.0)
        reason = (await of.status())["waits"][0]["reason"]
        assert "the answer is not taken: field 'rows': expected a whole number, found 'many'" in reason
        await answer(of, "n0", '{"rows": 3}')
        assert await ends_well(of)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("many", "expected a whole number of 64 bits, found 'many'"),
        ("9" * 30, "expected a whole number of 64 bits"),
        ("[" * 4000, "expected a whole number of 64 bits"),
        ("1" * 10_000, "it has 10000 bytes, and may have 8192"),
        ("", "expected a whole number of 64 bits, found ''"),
        ("1\u202e", "expected a whole number of 64 bits, found '1\\u202e'"),
    ],
)
async def test_an_answer_of_another_type_is_said_on_the_node_which_waits_on(text: str, says: str) -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
        await answer(of, "n0", text)
        await asyncio.sleep(3.0)
        status = await of.status()
        assert f"the answer is not taken: {says}" in status["waits"][0]["reason"]
        assert status["phase"] == 1
        await answer(of, "n0", "5")
        assert await input_of(of, "n1") == 5


@pytest.mark.parametrize(
    ("type_", "text", "says"),
    [
        ({"simple": "DATETIME"}, "9999-12-31T23:59:59-23:59", "expected a time like"),
        ({"simple": 99}, "1", "a value of type number 99 cannot be given"),
        ({"enumType": {}}, "a", "expected one of no values"),
    ],
)
async def test_an_answer_or_a_type_that_no_value_has_leaves_the_execution_at_work(
    type_: dict[str, Any], text: str, says: str
) -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0", type_), after("n1", "n0"), task("n2"), edges=[("n0", "n1")])
        await answer(of, "n0", text)
        await asyncio.sleep(3.0)
        assert f"the answer is not taken: {says}" in (await of.status())["waits"][0]["reason"]
        await of.report("w-n2-0", phase="Succeeded")
        await asyncio.sleep(3.0)
        assert (await of.status())["phase"] == 1


async def test_the_first_answer_counts_whatever_is_written_later() -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
        await answer(of, "n0", "1")
        await answer(of, "n0", "2")
        assert await input_of(of, "n1") == 1
        await answer(of, "n0", None)
        assert await ends_well(of)
        assert await input_of(of, "n1") == 1


class _HeldStatuses:
    """Statuses that say that a gate opens are not written while `held`; `lost` counts them."""

    def __init__(self) -> None:
        self.held = True
        self.lost = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.held and request.method == "PATCH" and request.path.endswith("/status"):
            waits = orjson.loads(request.body)["status"]["waits"]
            if not waits:
                self.lost += 1
                return Response(status=503, body=b"{}")
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def test_nothing_builds_on_an_answer_that_no_status_holds_and_after_a_crash_another_one_may_count() -> None:
    async with bench() as of:
        held = _HeldStatuses()
        async with of.controller(held):
            await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
            await asyncio.sleep(5.0)
            await answer(of, "n0", "1")
            await asyncio.sleep(60.0)
            assert held.lost
            assert not await of.pods()
        await answer(of, "n0", "2")
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await input_of(of, "n1") == 2
            assert await ends_well(of)


async def test_an_answer_that_a_status_holds_counts_after_a_crash_whatever_is_written_then() -> None:
    async with bench() as of:
        async with of.controller():
            await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
            await asyncio.sleep(5.0)
            await answer(of, "n0", "1")
        await answer(of, "n0", "2")
        async with of.controller():
            await asyncio.sleep(10.0)
            assert await input_of(of, "n1") == 1
            assert await ends_well(of)


async def test_a_controller_that_takes_over_finds_the_answer_that_was_given_in_between() -> None:
    async with bench() as of:
        async with of.controller():
            await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
            await asyncio.sleep(60.0)
        await answer(of, "n0", "4")
        async with of.controller():
            await asyncio.sleep(5.0)
            assert await input_of(of, "n1") == 4


async def test_a_sleep_goes_on_after_a_restart_as_if_there_had_been_none() -> None:
    async with bench() as of:
        async with of.controller():
            await of.create(sleep("n0", "1000s"), task("n1"), edges=[("n0", "n1")])
            await asyncio.sleep(600.0)
        async with of.controller():
            await asyncio.sleep(395.0)
            assert not await of.pods()
            await asyncio.sleep(10.0)
            assert await ends_well(of)


async def test_a_gate_whose_time_is_over_fails_and_takes_no_answer_any_more() -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0", executionDeadline="60s"), task("n1"), edges=[("n0", "n1")])
        await asyncio.sleep(65.0)
        await answer(of, "n0", "1")
        await asyncio.sleep(10.0)
        status = await of.status()
        assert status["phase"] == 5
        assert status["error"]["code"] == "TimeoutExpired"
        assert not await of.pods()


async def test_a_sleep_that_is_longer_than_the_nodes_time_fails_as_in_flyte_and_one_as_long_does_not() -> None:
    async with bench() as of, of.controller():
        both = sleep("n0", "61s", executionDeadline="60s"), sleep("n1", "60s", executionDeadline="60s")
        await of.create(*both, onFailurePolicy="FAIL_AFTER_EXECUTABLE_NODES_COMPLETE")
        await asyncio.sleep(70.0)
        status = await of.status()
        assert "n0: node execution timeout [60s] expired" in status["message"]
        assert status["counts"]["succeeded"] == 1


async def test_a_gate_with_retries_waits_once_more_when_its_time_is_over() -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0", executionDeadline="60s", retry={"minAttempts": 2}))
        await asyncio.sleep(70.0)
        assert (await of.status())["phase"] == 1
        await answer(of, "n0", "1")
        await asyncio.sleep(5.0)
        assert (await of.status())["phase"] == 3


async def test_a_waiting_execution_leaves_memory_asks_for_nothing_and_comes_back_with_its_answer() -> None:
    async with bench() as plain:
        of, requests = resting(plain), _Requests()
        assert of.settings.controller == ControllerOptions(idle=IDLE)
        async with of.controller(requests) as controller:
            await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
            await asyncio.sleep(2 * IDLE)
            before = list(requests.made)
            await asyncio.sleep(100_000.0)
            assert controller.execution("ns/w") is None
            assert requests.made == before
            await answer(of, "n0", "8")
            assert await input_of(of, "n1") == 8
            assert await ends_well(of)


async def test_gates_hold_no_slot_of_max_parallelism() -> None:
    async with bench() as of, of.controller():
        await of.user.create(
            WORKFLOWS,
            {
                "metadata": {"name": "w"},
                "spec": graph(signal("a"), signal("b"), task("c")),
                "tasks": {"t": TASK},
                "executionConfig": {"MaxParallelism": 1},
            },
            "ns",
        )
        await asyncio.sleep(5.0)
        assert set(await of.pods()) == {"w-c-0"}


async def test_an_aborted_execution_ends_though_a_gate_waits() -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0"), sleep("n1", "9000s"))
        await asyncio.sleep(5.0)
        await of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(5.0)
        assert not (await of.user.list(WORKFLOWS, "ns")).items


async def test_pods_do_not_get_the_answers() -> None:
    async with bench() as of, of.controller():
        await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
        await answer(of, "n0", "42")
        pod = (await of.pods())["w-n1-0"]
        assert not [name for name in pod["metadata"]["annotations"] if name.startswith("propeller/signal.")]


async def test_an_event_says_that_a_gate_waits_once_and_not_after_each_restart() -> None:
    async with bench() as of:
        for _ in range(3):
            recording = Recorder(of.user, EventOptions(), of.clock)
            async with recording as recorder, of.controller(recorder=recorder):
                if not (await of.user.list(WORKFLOWS, "ns")).items:
                    await of.create(signal("n0"))
                await asyncio.sleep(20.0)
        events = (await of.user.list(EVENTS.typed(Raw), "ns")).items
        waits = [event for event in events if event["reason"] == "Waiting"]
        assert len(waits) == 1
        assert "waits for input n0-name of type integer: propeller signal w n0 VALUE" in waits[0]["message"]


async def test_a_recovered_execution_passes_gates_that_had_been_passed() -> None:
    async with bench() as of, of.controller():
        first = await of.create(signal("n0"), after("n1", "n0"), edges=[("n0", "n1")])
        await answer(of, "n0", "42")
        await of.report(
            "w-n1-0",
            phase="Failed",
            containerStatuses=[{"name": "w-n1-0", "state": {"terminated": {"exitCode": 1}}}],
        )
        await asyncio.sleep(5.0)
        assert (await of.status())["phase"] == 5
        again = {key: first[key] for key in ("spec", "tasks")}
        config = {"RecoveryExecution": {"name": "w"}}
        await of.user.create(WORKFLOWS, again | {"metadata": {"name": "v"}, "executionConfig": config}, "ns")
        await asyncio.sleep(5.0)
        assert "v-n1-0" in await of.pods()
        status = (await of.user.get(WORKFLOWS, "v", "ns"))["status"]
        literals = await read_literals(of.storage, f"{status['dataDir']}/n1/data/inputs.pb")
        assert literals.literals["a"].scalar.primitive.integer == 42
