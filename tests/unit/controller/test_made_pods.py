"""The failure of an operator's job tells of the pods that it made, at the cost of one LIST when it has failed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from propeller.embedded.server import Forward
from propeller.handlers.plugins import load_plugins
from propeller.kube import NODES, Raw, Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.controller.test_operators import JOBS, create, operated, report
from tests.unit.controller.test_task_plugins import FAILED, ended
from tests.unit.controller.things import controller, plugins_with, serve, thing
from tests.unit.controller.things import create as create_things
from tests.unit.controller.things import report as report_thing
from tests.unit.handlers import plugins_of_others as others
from tests.unit.handlers.test_plugins import point
from tests.unit.workflow.drive import task

LABEL = "training.kubeflow.org/job-name"
OOM = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:01Z"}}
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image nope:1"}}


class Lists:
    """Counts LISTs of pods by label, and has them answered by `answer` if there is one."""

    def __init__(self, answer: Callable[[], Awaitable[Response]] | None = None) -> None:
        self.count = 0
        self._answer = answer

    async def exchange(self, request: Request, forward: Forward) -> Response:
        selector = request.query.get("labelSelector", "")
        if request.method == "GET" and request.path.endswith("/pods") and "=" in selector:
            self.count += 1
            if self._answer is not None:
                return await self._answer()
        return await forward(request)

    def stream(self, request: Request, chunks: Any) -> Any:
        return chunks


async def worker(of: Bench, job: str, state: Raw, phase: str = "Failed") -> None:
    """A worker's pod, as the operator makes it, and how its container is."""
    uid = (await of.user.get(JOBS, job, "ns"))["metadata"]["uid"]
    owner = {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "name": job, "uid": uid, "controller": True}
    metadata = {"name": f"{job}-worker-0", "labels": {LABEL: job}, "ownerReferences": [owner]}
    spec = {"restartPolicy": "Never", "containers": [{"name": "pytorch", "image": "i"}]}
    await of.user.create(RAW_PODS, {"metadata": metadata, "spec": spec}, "ns")
    container = {"name": "pytorch", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    await of.report(f"{job}-worker-0", phase=phase, containerStatuses=[container])


def message(status: Raw) -> str:
    return str(status["error"]["message"])


async def test_the_error_of_a_failed_job_names_the_pod_that_was_out_of_memory() -> None:
    lists = Lists()
    async with operated() as of, of.controller(lists):
        await create(of)
        await report(of, "w-n0-0", "Running")
        await worker(of, "w-n0-0", OOM)
        assert lists.count == 0
        await report(of, "w-n0-0", "Failed", reason="PyTorchJobFailed", message="1 Worker replica failed")
        status = await ended(of)
    assert status["phase"] == FAILED
    assert "the job failed: PyTorchJobFailed - 1 Worker replica failed" in message(status)
    assert "pod w-n0-0-worker-0: [pytorch] terminated with exit code (137), signal SIGKILL" in message(status)
    assert (status["error"]["code"], status["error"]["kind"]) == ("DownstreamSystemError", "USER")
    assert lists.count == 1


async def test_a_job_whose_status_changes_while_its_pods_are_looked_at_costs_one_list() -> None:
    async def late() -> Response:
        await asyncio.sleep(3.0)
        return Response(status=200, headers={}, body=b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}')

    lists = Lists(late)
    async with operated() as of, of.controller(lists):
        await create(of)
        for number in range(4):
            condition = {"type": "Failed", "status": "True", "message": str(number)}
            body = {"status": {"conditions": [condition]}}
            await of.user.patch(JOBS, "w-n0-0", "ns", body=body, subresource="status")
            await asyncio.sleep(0.2)
        assert "the job failed: 0" in message(await ended(of))
    assert lists.count == 1


async def test_the_pods_of_an_earlier_attempt_are_not_those_of_the_next() -> None:
    async with operated() as of, of.controller():
        await create(of, retry={"minAttempts": 2})
        await worker(of, "w-n0-0", OOM)
        await report(of, "w-n0-0", "Failed")
        await report(of, "w-n0-1", "Failed", message="second")
        status = await ended(of)
    assert "second" in message(status)
    assert "worker-0" not in message(status)


async def test_a_job_that_failed_while_no_controller_ran_tells_of_its_pods_too() -> None:
    async with operated() as of:
        async with of.controller():
            await create(of)
            await report(of, "w-n0-0", "Running")
        await worker(of, "w-n0-0", OOM)
        await report(of, "w-n0-0", "Failed")
        async with of.controller():
            assert "pod w-n0-0-worker-0: " in message(await ended(of))


@pytest.mark.parametrize("limit", ["executionDeadline", "activeDeadline"])
async def test_a_timeout_says_which_pod_cannot_pull_its_image(limit: str) -> None:
    async with operated() as of, of.controller():
        await create(of, **{limit: "60s"})
        await worker(of, "w-n0-0", PULL, phase="Pending")
        status = await ended(of)
    assert status["error"]["code"] == "TimeoutExpired"
    assert "pod w-n0-0-worker-0: it cannot start: ImagePullBackOff: Back-off pulling image nope:1" in message(status)


async def hangs() -> Response:
    await asyncio.sleep(3600.0)
    raise AssertionError


async def denied() -> Response:
    body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no right list on pods"}
    return Response(status=403, headers={}, body=json.dumps(body).encode())


@pytest.mark.parametrize(("answer", "why"), [(hangs, "no answer within 10 s"), (denied, "no right list on pods")])
async def test_a_failure_is_told_without_its_pods_if_they_cannot_be_listed(
    answer: Callable[[], Awaitable[Response]], why: str
) -> None:
    async with operated() as of, of.controller(Lists(answer)):
        await create(of)
        await report(of, "w-n0-0", "Failed", message="as said")
        status = await ended(of)
    assert status["phase"] == FAILED
    assert "as said\nits pods could not be looked at: " in message(status)
    assert why in message(status)


async def test_the_failure_of_a_plain_pod_and_the_success_of_a_job_list_nothing() -> None:
    lists = Lists()
    async with operated() as of, of.controller(lists):
        await of.create(task("a"))
        await asyncio.sleep(1.0)
        ends = {"terminated": {"exitCode": 1}}
        failed = {"name": "w-a-0", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": ends}
        await of.report("w-a-0", phase="Failed", containerStatuses=[failed])
        assert (await ended(of))["phase"] == FAILED
        await of.user.delete(WORKFLOWS, "w", "ns", propagation="Background")
        await asyncio.sleep(60.0)
        await create(of)
        await report(of, "w-n0-0", "Succeeded")
        await ended(of)
    assert lists.count == 0


class Selects(others.Things):
    """Says whatever it is made with."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def pods_of(self, obj: Any) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.mark.parametrize(
    "found",
    [
        KeyError("no pods_of"),
        None,
        "labels",
        [{}],
        [{"a": 1}],
        [{"a": "b,c!=d"}],
        [{"a in (b)": ""}],
        [{"a": "x" * 64}],
        [{"a": "b"}] * 5,
        {"a": "b"},
    ],
)
async def test_a_plugin_that_selects_no_pods_by_labels_is_asked_for_nothing_more(
    found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lists = Lists()
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins_with(Selects(found)), lists):
            await create_things(of, thing("a"))
            await asyncio.sleep(1.0)
            await report_thing(of, "w-a-0", "Failed")
            assert message(await ended(of)).endswith("as asked")
    assert lists.count == 0
    assert any("plugin thing" in one.getMessage() for one in caplog.records)


class NotDerived:
    """Has what the protocol had before plugins could say which pods they make."""

    task_types = frozenset({"thing"})
    resource = others.THINGS

    def __getattr__(self, name: str) -> Any:
        if name in {"build", "observe", "missing", "is_alive", "has_ended", "grace_of"}:
            return getattr(others.Things(), name)
        raise AttributeError(name)


async def test_a_plugin_that_does_not_derive_from_the_protocol_runs_as_before() -> None:
    async with bench() as of:
        await serve(of)
        async with controller(of, plugins_with(NotDerived())):  # type: ignore[arg-type]
            await create_things(of, thing("a"))
            await asyncio.sleep(1.0)
            await report_thing(of, "w-a-0", "Failed")
            assert message(await ended(of)).endswith("as asked")


def test_owners_of_pods_that_are_no_namespaced_kinds_are_refused() -> None:
    for wrong in (("apps/v1",), "apps", (NODES,), 7):
        plugin = others.Things()
        plugin.pod_owners = wrong  # type: ignore[assignment]
        assert not plugins_with(plugin).is_pod("thing")
        assert not list(plugins_with(plugin))[1:]
    assert list(load_plugins([point("GOOD")]))[1:]
