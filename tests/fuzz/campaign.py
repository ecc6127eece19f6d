"""Waves of damaged executions through one controller, and what became of each."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.errors import AlreadyExists, CorruptBlob, NotFound, PropellerError
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client, connect
from propeller.status import decode_status
from propeller.storage import Storage, StorageOptions
from propeller.testing import KubeApiserver
from tests.fuzz.bases import all_bases, named, ours
from tests.fuzz.blobs import leaver
from tests.fuzz.damage import Damage, damage
from tests.fuzz.pods import Pods
from tests.fuzz.statuses import STATUSES, pod_metadata
from tests.fuzz.verdicts import Finding, Verdict, judge

NAMESPACE = "fuzz"
WAVE = 100
QUIET_SECONDS = 10.0
"""Without any news of an execution that has not ended: then it is judged as it stands."""
MAX_SECONDS = 90.0
"""For one wave."""
READY_SECONDS = 90.0
EXECUTION_PARTS = frozenset({"apiVersion", "kind", "metadata", "status"})
"""Of a resource: not to be damaged. The API server has rules of its own for them."""


class Outcome(msgspec.Struct, frozen=True):
    """`wall` and `cpu` are seconds for which the loop was held at most, `late` how often it was for over 0.1 s."""

    what: str
    findings: list[Finding]
    refused: int
    """Resources that the API server itself did not take."""
    wall: float
    cpu: float
    late: int
    peak_mib: int
    problems: list[str]

    @property
    def counts(self) -> Counter[Verdict]:
        return Counter(finding.verdict for finding in self.findings)


class Campaign:
    """One API server, one namespace, one controller."""

    def __init__(self, server: KubeApiserver, client: Client, directory: Path, seed: int) -> None:
        self._client = client
        self._directory = directory
        self._kubeconfig = server.kubeconfig(directory / "kubeconfig")
        self.random = Random(seed)
        self.pods = Pods(client, NAMESPACE, directory)
        self.numbers = iter(range(10**9))

    # the controller

    @asynccontextmanager
    async def controller(self, problems: list[str], holds: list[dict[str, float]]) -> AsyncIterator[None]:
        report = self._directory / f"report-{next(self.numbers)}.json"
        log = report.with_suffix(".log")
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.fuzz.subject", str(self._kubeconfig), str(self._directory), str(report)),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                if await process.stdout.readline() != b"ready\n":
                    problems.append(f"the controller did not start:\n{log.read_text(errors='replace')[-3000:]}")
                    return
            yield
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), 60)
                except TimeoutError:
                    process.kill()
                    problems.append("the controller did not end on SIGTERM")
            elif process.returncode:
                problems.append(f"the controller ended by itself, with {process.returncode}")
        text = log.read_text(errors="replace")
        if "Traceback" in text:
            problems.append(f"the controller raised:\n{text[text.index('Traceback') - 500 :][:3000]}")
        if report.exists():
            holds.append(json.loads(report.read_text()))

    # executions

    async def create(self, resource: dict[str, Any], tasks: dict[str, Any]) -> bool:
        """Whether the API server took it."""
        name = resource["metadata"]["name"]
        self.pods.tasks[name] = tasks
        try:
            await self._client.create(FLYTE_WORKFLOWS, resource, NAMESPACE)
        except PropellerError:
            del self.pods.tasks[name]
            return False
        return True

    def fresh(self, base: dict[str, Any]) -> dict[str, Any]:
        return named(base, f"f{next(self.numbers)}", NAMESPACE)

    async def statuses(self) -> dict[str, dict[str, Any]]:
        found = {}
        async for page in self._client.pages(FLYTE_WORKFLOWS, NAMESPACE):
            for item in page.items:
                found[item["metadata"]["name"]] = item
        return found

    async def settled(self, names: set[str]) -> dict[str, dict[str, Any]]:
        """The objects, once each has ended, or nothing has changed for long."""
        began = changed = time.monotonic()
        before: dict[str, str] = {}
        while True:
            found = {name: item for name, item in (await self.statuses()).items() if name in names}
            versions = {name: item["metadata"]["resourceVersion"] for name, item in found.items()}
            if versions != before:
                before, changed = versions, time.monotonic()
            left = [item for item in found.values() if (item.get("status") or {}).get("phase") not in (3, 5, 6)]
            now = time.monotonic()
            if not left or now - changed > QUIET_SECONDS or now - began > MAX_SECONDS:
                return found
            await asyncio.sleep(0.5)

    async def begun(self, names: set[str]) -> None:
        """Return once each has a snapshot in its status, or has ended, or a while has passed."""
        async with asyncio.timeout(MAX_SECONDS) as limit:
            while not limit.expired():
                objects = await self.statuses()
                found = [objects[name].get("status") or {} for name in names]
                if all(status.get("nodes") or status.get("phase") in (3, 5, 6) for status in found):
                    return
                await asyncio.sleep(0.3)

    async def write_status(self, name: str, change: dict[str, Any]) -> None:
        try:
            await self._client.patch(FLYTE_WORKFLOWS, name, NAMESPACE, body={"status": change}, subresource="status")
        except PropellerError:
            return  # what no client can write, or the API server does not take, does no harm

    async def patch_pod(self, name: str, metadata: dict[str, Any]) -> None:
        try:
            await self._client.patch(PODS, name, NAMESPACE, body={"metadata": metadata})
        except PropellerError:
            return  # what the API server does not take does no harm

    async def waits(self, name: str, status: dict[str, Any]) -> str:
        """What the states of an execution, or the controller's log if it does not touch it, say that it waits for."""
        said = re.compile(rf"{NAMESPACE}/{name} .*\bwaits\b.*")
        for log in self._directory.glob("*.log"):
            if found := said.search(log.read_text(errors="replace")):
                return found[0]
        if text := str(status.get("message") or ""):
            return text
        async with Storage(StorageOptions(metadata_prefix=f"file://{self._directory}/metadata")) as storage:
            try:
                snapshot = await decode_status(status, storage, str(status.get("dataDir")))
            except (PropellerError, CorruptBlob):
                return ""
        reasons = [getattr(state, "reason", "") for state in snapshot.states.values()] if snapshot else []
        return "; ".join(filter(None, reasons))

    async def clear(self) -> None:
        """Remove what there is, with all finalizers."""
        for name, item in (await self.statuses()).items():
            if item["metadata"].get("finalizers"):
                await self._client.patch(FLYTE_WORKFLOWS, name, NAMESPACE, body={"metadata": {"finalizers": None}})
            try:
                await self._client.delete(FLYTE_WORKFLOWS, name, NAMESPACE)
            except NotFound:
                continue
        async for page in self._client.pages(PODS.typed(dict[str, Any]), NAMESPACE):
            for pod in page.items:
                try:
                    await self._client.delete(PODS, pod["metadata"]["name"], NAMESPACE, grace_seconds=0)
                except NotFound:
                    continue
        self.pods.tasks.clear()

    async def judged(self, damages: dict[str, list[Damage]]) -> list[Finding]:
        objects = await self.settled(set(damages))
        found = []
        for name, done in damages.items():
            status = (objects.get(name) or {}).get("status") or {}
            found.append(judge(name, done, status, waits=await self.waits(name, status)))
        return found


@asynccontextmanager
async def prepared(server: KubeApiserver, directory: Path, seed: int) -> AsyncIterator[Campaign]:
    async with connect(server.connection()) as client:
        for resource, body in (
            (CUSTOM_RESOURCE_DEFINITIONS, workflow_crd()),
            (NAMESPACES, {"metadata": {"name": NAMESPACE}}),
        ):
            try:
                await client.create(resource, body)
            except AlreadyExists:
                continue
        async with asyncio.timeout(30):
            while True:
                try:
                    await client.list(FLYTE_WORKFLOWS, NAMESPACE)
                    break
                except NotFound:
                    await asyncio.sleep(0.1)
        campaign = Campaign(server, client, directory, seed)
        async with campaign.pods.running():
            yield campaign


def outcome(
    what: str, findings: list[Finding], refused: int, holds: list[dict[str, float]], problems: list[str]
) -> Outcome:
    return Outcome(
        what,
        findings,
        refused,
        max((hold["wall"] for hold in holds), default=0.0),
        max((hold["cpu"] for hold in holds), default=0.0),
        int(sum(hold["late"] for hold in holds)),
        int(max((hold["peak_kib"] for hold in holds), default=0)) // 1024,
        problems,
    )


Told = Callable[[str], None]


async def fuzz_resources(campaign: Campaign, count: int, told: Told) -> Outcome:
    """Resources with one to three members damaged."""
    findings: list[Finding] = []
    problems: list[str] = []
    holds: list[dict[str, float]] = []
    refused = made = 0
    bases = all_bases()
    async with campaign.controller(problems, holds):
        while made < count and not problems:
            damages: dict[str, list[Damage]] = {}
            while len(damages) < min(WAVE, count - made):
                resource = campaign.fresh(campaign.random.choice(bases))
                tasks = json.loads(json.dumps(resource.get("tasks") or {}))
                parts = {key: value for key, value in resource.items() if key not in EXECUTION_PARTS}
                done = [damage(campaign.random, parts) for _ in range(campaign.random.choice((1, 1, 1, 2, 3)))]
                whole = {key: resource[key] for key in ("apiVersion", "kind", "metadata")} | parts
                if await campaign.create(whole, tasks):
                    damages[resource["metadata"]["name"]] = done
                else:
                    refused += 1
            made += len(damages)
            findings += await campaign.judged(damages)
            await campaign.clear()
            told(f"{made} of {count} resources: {_line(findings)}")
    return outcome("resources", findings, refused, holds, problems)


async def fuzz_blobs(campaign: Campaign, count: int, told: Told) -> Outcome:
    """What tasks leave in the place of their outputs."""
    findings: list[Finding] = []
    problems: list[str] = []
    holds: list[dict[str, float]] = []
    left: dict[str, list[str]] = {}
    campaign.pods.leave = leaver(campaign.random, campaign.pods, left)
    bases = ours()
    async with campaign.controller(problems, holds):
        while len(findings) < count and not problems:
            names: dict[str, list[Damage]] = {}
            for _ in range(min(WAVE, count - len(findings))):
                resource = campaign.fresh(campaign.random.choice(bases))
                if await campaign.create(resource, resource["tasks"]):
                    names[resource["metadata"]["name"]] = []
            found = await campaign.judged(names)
            findings += [
                msgspec.structs.replace(finding, damage="; ".join(left.get(finding.name, [])[-3:])) for finding in found
            ]
            await campaign.clear()
            told(f"{len(findings)} of {count} with damaged blobs: {_line(findings)}")
    campaign.pods.leave = campaign.pods.outputs
    return outcome("blobs", findings, 0, holds, problems)


async def fuzz_statuses(campaign: Campaign, count: int, told: Told) -> Outcome:
    """Statuses of executions under way, written by somebody else while the controller runs, or between two of them."""

    async def spoil(names: list[str]) -> dict[str, str]:
        done = {}
        objects = await campaign.statuses()
        for name in names:
            status = objects[name].get("status") or {}
            if status.get("nodes"):
                change, done[name] = campaign.random.choice(STATUSES)(campaign.random, status)
                await campaign.write_status(name, change)
        return done

    return await _under_way(campaign, count, told, "statuses", spoil)


async def fuzz_annotations(campaign: Campaign, count: int, told: Told) -> Outcome:
    """Annotations of running pods."""

    async def spoil(names: list[str]) -> dict[str, str]:
        done: dict[str, str] = {}
        for name, pod in list(campaign.pods.seen.items()):
            patch = pod_metadata(campaign.random, pod)
            owner = pod["metadata"]["ownerReferences"][0]["name"]
            done[owner] = f"{done.get(owner, '')} {patch}"[:300]
            await campaign.patch_pod(name, patch)
        return done

    return await _under_way(campaign, count, told, "annotations", spoil)


async def _under_way(
    campaign: Campaign, count: int, told: Told, what: str, spoil: Callable[[list[str]], Awaitable[dict[str, str]]]
) -> Outcome:
    """Executions are begun, their pods held; then they are spoiled, in every second wave while no controller runs."""
    findings: list[Finding] = []
    problems: list[str] = []
    holds: list[dict[str, float]] = []
    waves = 0
    while len(findings) < count and not problems:
        campaign.pods.held = True
        names: dict[str, list[Damage]] = {}
        done: dict[str, str] = {}
        running_on = waves % 2 == 0
        waves += 1
        async with campaign.controller(problems, holds):
            for _ in range(min(WAVE, count - len(findings))):
                resource = campaign.fresh(campaign.random.choice(ours()))
                if await campaign.create(resource, resource["tasks"]):
                    names[resource["metadata"]["name"]] = []
            await campaign.begun(set(names))
            if running_on:
                done = await spoil(list(names))
                await asyncio.sleep(1)
        if not running_on:
            done = await spoil(list(names))
        async with campaign.controller(problems, holds):
            campaign.pods.release()
            found = await campaign.judged(names)
        findings += [msgspec.structs.replace(finding, damage=done.get(finding.name, "")) for finding in found]
        await campaign.clear()
        told(f"{len(findings)} of {count} with damaged {what}: {_line(findings)}")
    return outcome(what, findings, 0, holds, problems)


def _line(findings: list[Finding]) -> str:
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
