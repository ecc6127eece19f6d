"""What people are told of an execution: lines at info, Events for kubectl describe, and metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from propeller.config import EventOptions
from propeller.controller import Recorder, WorkflowController
from propeller.embedded.server import Interceptor
from propeller.kube import EVENTS, Client, Raw
from propeller.telemetry import Metrics
from tests.unit.controller.bench import WORKFLOWS, Bench, bench
from tests.unit.controller.test_refusals import DENIALS, Refusing, succeed
from tests.unit.telemetry.test_metrics import samples
from tests.unit.workflow.drive import TASK, graph, task

LOGGER = "propeller.controller"
BOOM = (
    "Traceback (most recent call last):\n  File \"x.py\", line 3, in t\n    raise ValueError('boom')\nValueError: boom"
)


class Told(msgspec.Struct, frozen=True):
    of: Bench
    metrics: Metrics
    log: pytest.LogCaptureFixture

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.log.records if record.name == LOGGER]

    async def events(self) -> list[tuple[str, str, str]]:
        found: list[Raw] = list((await self.of.user.list(EVENTS, "ns")).items)
        found.sort(key=lambda event: str(event["metadata"]["name"]))
        return [(event["type"], event["reason"], event["message"]) for event in found]


@asynccontextmanager
async def telling(log: pytest.LogCaptureFixture, interceptor: Interceptor | None = None) -> AsyncIterator[Told]:
    log.set_level(logging.INFO)
    metrics = Metrics()
    async with bench() as of:
        client = Client(of.server.transport(interceptor=interceptor), clock=of.clock)
        async with (
            Recorder(of.user, EventOptions(), of.clock) as recorder,
            WorkflowController(
                client, of.storage, of.settings, clock=of.clock, metrics=metrics, recorder=recorder
            ).running(),
        ):
            yield Told(of, metrics, log)


async def fail(of: Bench, pod: str, message: str = BOOM, code: int = 1) -> None:
    """As a kubelet would: the container has ended with its own text as the termination message."""
    async with asyncio.timeout(300):
        while not await of.has_pod(pod):
            await asyncio.sleep(0.5)
    terminated = {"exitCode": code, "reason": "Error", "message": message}
    status = {"name": pod, "state": {"terminated": terminated}}
    await of.report(pod, phase="Failed", containerStatuses=[status])


async def test_one_that_succeeds_has_two_lines_and_one_event(caplog: pytest.LogCaptureFixture) -> None:
    async with telling(caplog) as told:
        await told.of.create(task("a"))
        await asyncio.sleep(3)
        assert samples(told.metrics, "propeller_executions")[("running",)] == 1
        assert samples(told.metrics, "propeller_nodes_active") == {(): 1}
        await succeed(told.of, "w-a-0")
        await asyncio.sleep(15)
        accepted, ended = told.lines
        assert accepted == "ns/w accepted"
        assert ended.startswith("ns/w succeeded after 3")
        ((type_, reason, message),) = await told.events()
        assert (type_, reason) == ("Normal", "Succeeded")
        assert message.startswith("after 3")
        metrics = told.metrics
        assert samples(metrics, "propeller_executions_accepted_total") == {(): 1}
        assert samples(metrics, "propeller_executions_ended_total") == {("", "succeeded", ""): 1}
        assert samples(metrics, "propeller_nodes_ended_total") == {("task", "succeeded"): 1}
        assert samples(metrics, "propeller_attempts_launched_total") == {(): 1}
        assert samples(metrics, "propeller_attempts_failed_total") == {}
        assert samples(metrics, "propeller_execution_seconds_count") == {("succeeded",): 1}
        assert samples(metrics, "propeller_node_seconds_count") == {("task",): 1}
        assert samples(metrics, "propeller_checkpoints_total")[("ok",)] >= 1
        assert samples(metrics, "propeller_cache_objects") == {
            ("FlyteWorkflow",): 1,
            ("LimitRange",): 0,
            ("Pod",): 1,
            ("ResourceQuota",): 0,
        }
        assert samples(metrics, "propeller_lists_total") == {
            ("FlyteWorkflow",): 1,
            ("LimitRange",): 1,
            ("Pod",): 1,
            ("ResourceQuota",): 1,
        }


async def test_one_that_fails_says_where_of_what_kind_and_what_its_traceback_ends_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with telling(caplog) as told:
        await told.of.create(task("a"))
        await fail(told.of, "w-a-0")
        await asyncio.sleep(15)
        _, ended = told.lines
        assert ended.startswith("ns/w failed after ")
        why = "node a, attempt 1: USER Error: [w-a-0] terminated with exit code (1), reason Error: ValueError: boom"
        assert ended.endswith(why)
        ((type_, reason, message),) = await told.events()
        assert (type_, reason) == ("Warning", "Failed")
        assert message.endswith(why)
        assert samples(told.metrics, "propeller_executions_ended_total") == {("USER", "failed", "Error"): 1}
        assert samples(told.metrics, "propeller_attempts_failed_total") == {("USER", "Error", "false"): 1}
        assert samples(told.metrics, "propeller_nodes_ended_total") == {("task", "failed"): 1}


async def test_an_attempt_that_is_retried_is_counted_and_costs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    async with telling(caplog) as told:
        await told.of.create(task("a", retry={"minAttempts": 2}))
        await fail(told.of, "w-a-0")
        await succeed(told.of, "w-a-1")
        await asyncio.sleep(15)
        assert [line.split(" after ")[0] for line in told.lines] == ["ns/w accepted", "ns/w succeeded"]
        assert samples(told.metrics, "propeller_attempts_failed_total") == {("USER", "Error", "true"): 1}
        assert samples(told.metrics, "propeller_attempts_launched_total") == {(): 2}


async def test_one_that_waits_says_so_once_and_why(caplog: pytest.LogCaptureFixture) -> None:
    link = Refusing(*DENIALS["RBAC"])
    async with telling(caplog, link) as told:
        await told.of.create(task("a"), task("b"))
        await asyncio.sleep(300)
        waits = [line for line in told.lines if "waits" in line]
        assert len(waits) == 1
        assert waits[0].startswith("ns/w waits: node ")
        assert DENIALS["RBAC"][2] in waits[0]
        assert ("Warning", "Waiting") in [event[:2] for event in await told.events()]
        assert samples(told.metrics, "propeller_attempts_refused_total")[()] >= link.creates > 1
        await asyncio.sleep(3600)
        assert len([line for line in told.lines if "waits" in line]) <= 7


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]},
            "Unschedulable: 0/3",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "w-a-0", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
                ]
            },
            "ImagePullBackOff: no such image",
        ),
    ],
)
async def test_one_whose_pod_cannot_start_yet_says_so_once(
    caplog: pytest.LogCaptureFixture, status: dict[str, Any], why: str
) -> None:
    async with telling(caplog) as told:
        await told.of.create(task("a"))
        await asyncio.sleep(3)
        for number in range(5):
            await told.of.report("w-a-0", phase="Pending", message=str(number), **status)
            await asyncio.sleep(3)
        assert told.lines == ["ns/w accepted", f"ns/w waits: node a: {why}"]
        assert ("Warning", "Waiting", f"node a: {why}") in await told.events()


async def test_one_that_is_deleted_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    async with telling(caplog) as told:
        body = {"metadata": {"name": "w", "finalizers": ["flyte.org/finalizer"]}}
        await told.of.create(task("a"))
        await told.of.user.patch(WORKFLOWS, "w", "ns", body=body)
        while not await told.of.has_pod("w-a-0"):
            await asyncio.sleep(0.5)
        await told.of.user.delete(WORKFLOWS, "w", "ns")
        await asyncio.sleep(15)
        assert told.lines[-1].startswith("ns/w aborted after ")
        assert "USER Aborted: the workflow is being deleted" in told.lines[-1]
        assert samples(told.metrics, "propeller_executions_ended_total") == {("USER", "aborted", "Aborted"): 1}
        assert samples(told.metrics, "propeller_nodes_ended_total") == {("task", "aborted"): 1}


async def test_one_that_cannot_run_is_told_as_failed(caplog: pytest.LogCaptureFixture) -> None:
    async with telling(caplog) as told:
        await told.of.user.create(WORKFLOWS, {"metadata": {"name": "w"}, "spec": 5}, "ns")
        await asyncio.sleep(15)
        assert told.lines[-1].startswith("ns/w failed after 0 s: USER BadWorkflow: ")
        assert [event[:2] for event in await told.events()] == [("Warning", "Failed")]
        assert samples(told.metrics, "propeller_executions_ended_total") == {("USER", "failed", "BadWorkflow"): 1}


async def test_a_restart_does_not_accept_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bench() as of:
        for _ in range(2):
            async with of.controller():
                if not await of.pods():
                    await of.create(task("a"))
                await asyncio.sleep(30)
        assert [record.getMessage() for record in caplog.records if record.name == LOGGER] == ["ns/w accepted"]


@pytest.mark.parametrize(("reason", "label"), [('x",evil="1\n\x1b[31m', "Error"), ("Evil", "Other")])
async def test_a_strangers_text_forges_no_line_and_is_no_label(
    reason: str, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with telling(caplog) as told:
        await told.of.create(task("a"))
        async with asyncio.timeout(60):
            while not await told.of.has_pod("w-a-0"):
                await asyncio.sleep(0.5)
        terminated = {"exitCode": 1, "reason": reason, "message": "password=hunter22\r\nns/v succeeded"}
        status = {"name": "w-a-0", "state": {"terminated": terminated}}
        await told.of.report("w-a-0", phase="Failed", containerStatuses=[status])
        await asyncio.sleep(15)
        (message,) = [message for _, _, message in await told.events()]
        assert "\x1b" not in message
        assert "\n" not in message
        assert "hunter22" not in message
        assert samples(told.metrics, "propeller_executions_ended_total") == {("USER", "failed", label): 1}
        assert "evil" not in told.metrics.text().decode().lower()


async def test_many_nodes_that_fail_are_one_event(caplog: pytest.LogCaptureFixture) -> None:
    nodes = 30
    async with telling(caplog) as told:
        policy = {"onFailurePolicy": 1}
        await told.of.create(*(task(f"n{number}") for number in range(nodes)), **policy)
        for number in range(nodes):
            await fail(told.of, f"w-n{number}-0")
        await asyncio.sleep(30)
        reasons = sorted(reason for _, reason, _ in await told.events())
        assert reasons == ["Failed", "NodeFailed"]
        assert samples(told.metrics, "propeller_nodes_ended_total") == {("task", "failed"): nodes}


async def test_a_burst_that_fails_costs_a_request_for_ten_at_most(caplog: pytest.LogCaptureFixture) -> None:
    async with telling(caplog) as told:
        names = [f"w{number}" for number in range(100)]
        for name in names:
            body = {"metadata": {"name": name}, "spec": graph(task("a")), "tasks": {"t": TASK}}
            await told.of.user.create(WORKFLOWS, body, "ns")
        await asyncio.sleep(2)
        for name in names:
            await fail(told.of, f"{name}-a-0")
        await asyncio.sleep(60)
        assert samples(told.metrics, "propeller_executions_ended_total") == {("USER", "failed", "Error"): 100}
        assert len(told.lines) == 200
        assert 5 <= len(await told.events()) <= 10
