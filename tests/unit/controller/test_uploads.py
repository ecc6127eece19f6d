"""A raw container's attempt beside a proxy that never ends: its uploader is told, and the proxy is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson
from flyteidl.core import literals_pb2

from propeller.config import RawContainerOptions
from propeller.embedded.server import Forward
from propeller.errors import Unavailable
from propeller.handlers.plugins.pod._dataloader import UPLOADER
from propeller.kube import Raw, Request, Response
from tests.unit.controller.bench import RAW_PODS, WORKFLOWS, Bench, bench
from tests.unit.workflow.drive import graph, task

POD = "w-n0-0"
TELL = "propeller/primary-ended"

RAW = {
    "id": {"name": "t"},
    "type": "raw-container",
    "interface": {"outputs": {"variables": {"x": {"type": {"simple": "INTEGER"}}}}},
    "container": {"image": "i", "command": ["run"], "dataConfig": {"enabled": True}},
}


def state(name: str, **of: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "imageID": "", "ready": True, "restartCount": 0, "state": of}


def ended(exit_code: int, at: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": exit_code, "finishedAt": at, "startedAt": at}}


def status(*containers: dict[str, Any], uploader: dict[str, Any]) -> dict[str, Any]:
    return {"phase": "Running", "containerStatuses": containers, "initContainerStatuses": [uploader]}


PROXY = state("istio-proxy", running={})
PROGRAM = state(POD, **ended(0, "2026-01-01T00:00:10Z"))
UPLOADS = state(UPLOADER, running={})


async def begun(of: Bench, **fields: Any) -> None:
    await of.user.create(
        WORKFLOWS, {"metadata": {"name": "w"}, "spec": graph(task("n0", **fields)), "tasks": {"t": RAW}}, "ns"
    )
    await asyncio.sleep(2.0)


def with_image(of: Bench) -> Bench:
    settings = msgspec.structs.replace(of.settings, raw_containers=RawContainerOptions(image="propeller"))
    return Bench(**{**vars(of), "settings": settings})


async def annotation(of: Bench) -> str | None:
    pod: Raw = await of.user.get(RAW_PODS, POD, "ns")
    found: str | None = pod["metadata"]["annotations"].get(TELL)
    return found


async def test_the_uploader_is_told_and_the_attempt_ends_when_it_has_uploaded() -> None:
    async with bench() as plain:
        of = with_image(plain)
        async with of.controller():
            await begun(of)
            await of.report(POD, **status(state(POD, running={}), PROXY, uploader=UPLOADS))
            await asyncio.sleep(1.0)
            assert await annotation(of) is None
            await of.report(POD, **status(PROGRAM, PROXY, uploader=UPLOADS))
            await asyncio.sleep(1.0)
            assert await annotation(of) == "true"
            assert (await of.status()).get("state") != "Succeeded"
            outputs = literals_pb2.LiteralMap()
            outputs.literals["x"].scalar.primitive.integer = 5
            words = (await of.user.get(RAW_PODS, POD, "ns"))["spec"]["initContainers"][0]["args"]
            directory = words[words.index("--to-output-prefix") + 1]
            await of.storage.write(f"{directory}/outputs.pb", outputs.SerializeToString())
            again = {**UPLOADS, "restartCount": 1, "lastState": ended(0, "2026-01-01T00:00:20Z")}
            await of.report(POD, **status(PROGRAM, PROXY, uploader=again))
            await asyncio.sleep(60.0)
            assert (await of.status())["state"] == "Succeeded"
            assert not await of.has_pod(POD)  # the proxy runs no more


class _Refuses:
    """Patches of pods fail at first."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "PATCH" and request.path.endswith(f"/pods/{POD}") and self.left:
            self.left -= 1
            raise Unavailable("the connection broke")
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def test_a_pod_that_could_not_be_told_is_told_later() -> None:
    async with bench() as plain:
        of = with_image(plain)
        async with of.controller(_Refuses(2)):
            await begun(of)
            await of.report(POD, **status(PROGRAM, PROXY, uploader=UPLOADS))
            await asyncio.sleep(1.0)
            assert await annotation(of) is None
            await asyncio.sleep(60.0)
            assert await annotation(of) == "true"


async def test_a_new_process_tells_what_the_last_one_did_not() -> None:
    async with bench() as plain:
        of = with_image(plain)
        async with of.controller(_Refuses(1000)):
            await begun(of)
            await of.report(POD, **status(PROGRAM, PROXY, uploader=UPLOADS))
            await asyncio.sleep(1.0)
        async with of.controller():
            await asyncio.sleep(30.0)
            assert await annotation(of) == "true"


class _Records:
    """Keeps the bodies of deletes of pods."""

    def __init__(self) -> None:
        self.deletes: list[Any] = []

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if request.method == "DELETE" and request.path.endswith(f"/pods/{POD}"):
            self.deletes.append(orjson.loads(request.body))
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def test_an_attempt_that_is_over_does_not_have_the_uploads_time_to_stop() -> None:
    records = _Records()
    async with bench() as plain:
        of = with_image(plain)
        async with of.controller(records):
            await begun(of, executionDeadline="60s")
            await of.report(POD, **status(state(POD, running={}), uploader=UPLOADS))
            pod = await of.user.get(RAW_PODS, POD, "ns")
            assert pod["spec"]["terminationGracePeriodSeconds"] == 3600
            await asyncio.sleep(120.0)
        assert {body["gracePeriodSeconds"] for body in records.deletes} == {30}
