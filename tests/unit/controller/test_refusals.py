"""Executions while the platform refuses their pods, and while strangers write into them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from propeller.clock import rfc3339
from propeller.controller import _effects
from propeller.controller._loading import Loader
from propeller.embedded.server import Forward
from propeller.handlers import execute
from propeller.kube import Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import TASK, graph, task

DENIALS = {
    "RBAC": (403, "Forbidden", 'pods is forbidden: User "p" cannot create resource "pods"'),
    "a policy": (422, "Invalid", "pods \"w-a-0\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no"),
    "a webhook": (400, "", 'admission webhook "a.b.c" denied the request: no'),
    "a role that a webhook authorizer denies": (403, "Forbidden", "pods is forbidden: no opinion"),
    "Pod Security": (403, "Forbidden", 'pods "w-a-0" is forbidden: violates PodSecurity "restricted:latest": seccomp'),
    "a service account that is not there": (
        *(403, "Forbidden"),
        'pods "w-a-0" is forbidden: error looking up service account ns/runner: serviceaccount "runner" not found',
    ),
    "a priority class that is not there": (
        *(403, "Forbidden"),
        'pods "w-a-0" is forbidden: no PriorityClass with name high was found',
    ),
    "a limit range that misses an amount": (
        *(403, "Forbidden"),
        'pods "w-a-0" is forbidden: maximum cpu usage per Container is 1.  No limit is specified',
    ),
    "a quota that misses an amount": (
        *(403, "Forbidden"),
        'pods "w-a-0" is forbidden: failed quota: q: must specify requests.cpu for: main',
    ),
    "a namespace that is being deleted": (
        *(403, "Forbidden"),
        'pods "w-a-0" is forbidden: unable to create new content in namespace ns because it is being terminated',
    ),
    "a webhook with a 403": (403, "Forbidden", 'admission webhook "a.b.c" denied the request: quota of licenses'),
    "words of somebody else": (403, "", "computer says no"),
    "credentials": (401, "Unauthorized", "Unauthorized"),
    "a webhook that is down": (500, "InternalError", 'Internal error occurred: failed calling webhook "a.b.c": no'),
}


class Refusing:
    """Creates of pods are refused while `answer` is one."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        body = {"kind": "Status", "code": code, "reason": reason, "message": message}
        self.answer: Response | None = Response(status=code, body=orjson.dumps(body))
        self.creates = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "POST" and request.path.endswith("/pods"):
            self.creates += 1
            if self.answer is not None:
                return self.answer
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def succeed(of: Bench, pod: str) -> None:
    for _ in range(300):
        if await of.has_pod(pod):
            await of.report(pod, phase="Succeeded")
            return
        await asyncio.sleep(1.0)
    raise AssertionError(f"{pod} is never created")


@pytest.mark.parametrize("denial", DENIALS)
@pytest.mark.parametrize("seconds", [12, 3600])
async def test_what_the_platform_forbids_for_a_while_is_waited_for_and_said(denial: str, seconds: int) -> None:
    link = Refusing(*DENIALS[denial])
    async with bench() as of, of.controller(link):
        await of.create(task("a"))
        await asyncio.sleep(seconds)
        status = await of.status()
        (waits,) = status["waits"]
        assert (status["state"], waits["node"]) == ("Running", "a")
        assert DENIALS[denial][2] in waits["reason"]
        assert 2 ** (waits["tries"].bit_length() - 1) == waits["tries"] <= link.creates < seconds / 45 + 8
        assert status["message"].startswith("a waits: create pods ns/w-a-0: ")
        assert f"since {waits['since']}, tried {waits['tries']} times" in status["message"]
        link.answer = None
        await succeed(of, "w-a-0")
        await asyncio.sleep(5.0)
        status = await of.status()
        assert (status["state"], status.get("waits")) == ("Succeeded", None)


async def test_a_denial_that_lasts_for_a_day_fails_the_execution_as_the_systems() -> None:
    async with bench() as of, of.controller(Refusing(*DENIALS["RBAC"])):
        await of.create(task("a"))
        await asyncio.sleep(24 * 3600.0 + 300)
        status = await of.status()
        assert (status["state"], status["error"]["kind"], status["error"]["code"]) == (
            "Failed",
            "SYSTEM",
            "RuntimeFailure",
        )
        assert "pods is forbidden" in status["message"]


async def test_a_restart_keeps_count_of_the_refusals() -> None:
    async with bench() as of:
        await of.create(task("a"))
        link = Refusing(*DENIALS["RBAC"])
        async with of.controller(link):
            await asyncio.sleep(600)
        before = (await of.status())["waits"][0]
        async with of.controller(link):
            await asyncio.sleep(600)
            after = (await of.status())["waits"][0]
        assert (after["since"], after["tries"] > before["tries"]) == (before["since"], True)


async def test_deadlines_end_what_waits() -> None:
    async with bench() as of, of.controller(Refusing(*DENIALS["RBAC"])):
        await of.create(task("a", activeDeadline="5m"))
        await asyncio.sleep(400)
        assert (await of.status())["error"]["code"] == "TimeoutExpired"


@pytest.mark.parametrize("text", ["300", "9" * 5000, "-1", "1e9", "NaN", "٣", "200", ""])
@pytest.mark.parametrize("annotation", ["attempt", "system-failures", "node", "path"])
async def test_whatever_somebody_writes_into_a_pod_its_execution_ends(annotation: str, text: str) -> None:
    async with bench() as of:
        await of.create(task("a"), task("b"), edges=[("a", "b")])
        async with of.controller():
            await asyncio.sleep(2.0)
            body = {"metadata": {"annotations": {f"propeller/{annotation}": text}}}
            await of.user.patch(RAW_PODS, "w-a-0", "ns", body=body)
            await asyncio.sleep(2.0)
        async with of.controller():
            await asyncio.sleep(2.0)
            await succeed(of, "w-a-0")
            for _ in range(60):
                await asyncio.sleep(1.0)
                for name, pod in (await of.pods()).items():
                    if pod["status"].get("phase") != "Succeeded":
                        await of.report(name, phase="Succeeded")
            assert (await of.status())["state"] == "Succeeded"


async def test_a_strangers_pod_that_claims_attempt_200_makes_no_node_skip_any() -> None:
    async with bench() as of:
        made = await of.create(task("a", retry={"minAttempts": 255}))
        owner = {"apiVersion": "flyte.lyft.com/v1alpha1", "kind": "FlyteWorkflow", "name": "w"}
        marks = {"propeller/node": "a", "propeller/attempt": "200"}
        metadata = {
            "name": "w-a-200",
            "labels": {"execution-id": "w"},
            "annotations": marks,
            "ownerReferences": [owner | {"uid": made["metadata"]["uid"]}],
        }
        spec = {"containers": [{"name": "c", "image": "i"}]}
        await of.user.create(RAW_PODS, {"metadata": metadata, "spec": spec}, "ns")
        async with of.controller():
            await succeed(of, "w-a-0")
            await asyncio.sleep(5.0)
            assert (await of.status())["state"] == "Succeeded"


async def test_a_job_that_raises_is_done_again_from_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Loader.load
    failing = {"load": 3, "execute": 3}

    async def bad_load(self: Loader, *arguments: Any) -> Any:
        failing["load"] -= 1
        if failing["load"] >= 0:
            raise ZeroDivisionError("a defect")
        return await load(self, *arguments)

    async def bad_act(*arguments: Any) -> Any:
        failing["execute"] -= 1
        if failing["execute"] >= 0:
            raise ZeroDivisionError("a defect")
        return await execute(*arguments)

    monkeypatch.setattr(Loader, "load_now", lambda *_: None)
    monkeypatch.setattr(Loader, "load", bad_load)
    monkeypatch.setattr(_effects, "execute", bad_act)
    async with bench() as of, of.controller():
        await of.create(task("a"))
        await succeed(of, "w-a-0")
        await asyncio.sleep(300.0)
        assert (await of.status())["state"] == "Succeeded"
        assert max(failing.values()) < 0


@pytest.mark.parametrize(
    "status",
    [
        {"nodes": 5},
        {"nodes": "ä"},
        {"nodes": ["a"]},
        {"nodesReference": {"bytes": 2**62}},
        {"nodesReference": {"bytes": -1, "uri": 5, "sha256": 7}},
        {"phase": [], "stoppedAt": "99999-01-01T00:00:00Z"},
        {"phase": 1e300},
    ],
    ids=str,
)
async def test_whatever_stands_in_a_status_its_execution_ends_or_is_left_as_it_is(
    status: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with bench() as of:
        await of.create(task("a"))
        await of.user.patch(WORKFLOWS, "w", "ns", body={"status": status}, subresource="status")
        async with of.controller():
            await asyncio.sleep(5.0)
            if await of.has_pod("w-a-0"):
                await of.report("w-a-0", phase="Succeeded")
            await asyncio.sleep(60.0)
            if "is left as it is, and waits" not in caplog.text:
                assert (await of.status())["state"] in {"Succeeded", "Failed"}
        assert "raised" not in caplog.text


async def test_an_end_that_only_the_snapshot_says_is_written() -> None:
    async with bench() as of:
        await of.create(task("a"))
        async with of.controller():
            await succeed(of, "w-a-0")
            await asyncio.sleep(30.0)
        await of.user.patch(WORKFLOWS, "w", "ns", body={"status": {"phase": 1, "state": None}}, subresource="status")
        async with of.controller():
            await asyncio.sleep(30.0)
            assert (await of.status())["state"] == "Succeeded"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"activeDeadlineSeconds": -1}, "activeDeadlineSeconds is -1"),
        ({"executionConfig": {"MaxParallelism": -1}}, "executionConfig.MaxParallelism is -1"),
    ],
)
async def test_a_resource_that_could_not_be_kept_to_fails_by_the_fields_name(
    fields: dict[str, Any], named: str
) -> None:
    async with bench() as of, of.controller():
        body = {"metadata": {"name": "w"}, "spec": graph(task("a")), "tasks": {"t": TASK}, **fields}
        await of.user.create(WORKFLOWS, body, "ns")
        await asyncio.sleep(10.0)
        status = await of.status()
        assert (status["state"], status["error"]["kind"]) == ("Failed", "USER")
        assert named in status["message"]


@pytest.mark.parametrize("restart", [False, True])
async def test_an_image_has_its_time_from_when_its_pod_got_a_node_also_after_a_restart(restart: bool) -> None:
    async with bench() as of:
        await of.create(task("a"))
        async with of.controller():
            await asyncio.sleep(900)
            at = rfc3339(of.clock.now())
            conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}]
            waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
            container = {"name": "w-a-0", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
            statuses = [container | {"state": waiting}]
            await of.report("w-a-0", phase="Pending", conditions=conditions, containerStatuses=statuses)
            await asyncio.sleep(100 if restart else 170)
            assert (await of.status())["state"] == "Running"
            if not restart:
                await asyncio.sleep(20)
                assert (await of.status())["state"] == "Failed"
                return
        async with of.controller():
            await asyncio.sleep(70)
            assert (await of.status())["state"] == "Running"
            await asyncio.sleep(20)
            assert (await of.status())["state"] == "Failed"
