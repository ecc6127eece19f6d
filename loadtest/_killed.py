"""A controller that is killed again and again while it runs workflows on a real API server.

`propeller controller` gets SIGKILL at moments drawn from a seed, also while it starts, and is started again until every
workflow has ended. Each workflow has 20 tasks at once, and a chain behind them that takes their results: its output is
the number of its tasks if none was lost.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from flyteidl.core import literals_pb2

from loadtest import workflows
from loadtest._ledger import Ledger, total
from loadtest._line import Line
from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.errors import CorruptBlob
from propeller.informers import Change, Informer, InformerOptions
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, PODS, Client, connect
from propeller.status import decode_status
from propeller.storage import Storage, StorageOptions
from propeller.testing import KubeApiserver, eventually, run_kube_apiserver
from propeller.workflow import NodePhase, WorkflowPhase

NAMESPACE = "killed"
PARALLEL, CHAIN = 20, 5
TASKS = PARALLEL + CHAIN
MAX_TASK = 1.5  # seconds
MAX_LAG = 0.5
"""Seconds until progress is in a status: less than a life lasts, so that some go on from one."""
DURING_START = 0.25
"""Of the lives of a controller: this many end before it is ready. A start takes about a second."""
MAX_START, MAX_WORK = 1.0, 2.0
"""Seconds after which it is killed at the latest, from its start, and from when it is ready: a status is written after
one, so that some lives go on from statuses and pods, and others from pods alone.
"""
READY = b"running the workflows of"
DEADLINE = 60.0  # seconds for one life to get ready: it hangs, or the machine is far too slow
SECONDS_EACH, MIN_SECONDS = 10.0, 60.0
"""Until all have ended, by the number of workflows: one takes a second or two. Then no further life begins."""
_ENDED = frozenset({3, 5, 6})


class Life(msgspec.Struct, frozen=True):
    """One process. `working`: it was ready when it was killed, and workflows were under way."""

    working: bool
    code: int
    log: str

    @property
    def problem(self) -> str:
        if self.code != -signal.SIGKILL:
            return f"a controller ended by itself, with {self.code}:\n{self.log}"
        return f"a controller raised:\n{self.log}" if "Traceback" in self.log else ""


class Outcome(msgspec.Struct, frozen=True):
    """The outcome: `problems` are sentences, none if all is as it should be."""

    workflows: int
    pods: int
    checkpoints: int
    """Statuses of workflows that had not ended."""
    lives: list[Life]
    problems: list[str]

    @property
    def killed_at_work(self) -> int:
        return sum(life.working for life in self.lives)


def measure(*, scale: float = 1.0, seed: int = 1) -> Iterator[Line]:
    count = max(1, round(20 * scale))
    with tempfile.TemporaryDirectory() as directory, run_kube_apiserver(Path(directory)) as server:
        outcome = uvloop.run(run(server, Path(directory), count, seed))
    for problem in outcome.problems:
        print(problem, file=sys.stderr)
    yield Line(name=f"workflows of {PARALLEL} parallel tasks and a chain of {CHAIN}", value=outcome.workflows, unit="")
    yield Line(name="pods created for them", value=outcome.pods, unit="", budget=outcome.workflows * TASKS)
    yield Line(name="times that the controller was killed", value=len(outcome.lives), unit="")
    yield Line(name="of these, while it was at work", value=outcome.killed_at_work, unit="")
    yield Line(name="statuses written of workflows under way", value=outcome.checkpoints, unit="")
    yield Line(name="workflows, attempts and pods that are not as they should be", value=len(outcome.problems),
               unit="", budget=0)  # fmt: skip


async def run(server: KubeApiserver, directory: Path, count: int, seed: int) -> Outcome:
    """Run that many workflows to their end; the controllers store in `directory`."""
    draw = random.Random(seed)
    kubeconfig = server.kubeconfig(directory / "kubeconfig")
    prefix = f"file://{directory}/metadata"
    settings = directory / "settings.yaml"
    settings.write_text(f"checkpoint: {{max_lag: {MAX_LAG}}}\n")
    command = (
        *(sys.executable, "-m", "propeller.cli", "controller", "--kubeconfig", str(kubeconfig), "--no-elect"),
        *("--config", str(settings)),
        *("--namespace", NAMESPACE, "--metrics-port", "0", "--metadata-prefix", prefix),
    )
    async with (
        connect(server.connection()) as client,
        Storage(StorageOptions(metadata_prefix=prefix)) as storage,
    ):
        await prepare(client)
        ledger = Ledger(client, NAMESPACE, lambda: draw.uniform(0.0, MAX_TASK))
        async with ledger.running():
            for resource in workflows.resources(workflows.counting(PARALLEL, CHAIN), count, "w"):
                metadata = resource["metadata"] | {"namespace": NAMESPACE}
                await client.create(FLYTE_WORKFLOWS, resource | {"metadata": metadata}, NAMESPACE)
            async with all_ended(client, count) as (ended, checkpoints):
                until = time.monotonic() + MIN_SECONDS + SECONDS_EACH * count
                lives = [life async for life in _lives(command, ended, until, random.Random(seed))]
            problems = [problem async for problem in problems_of(client, storage, ledger, count)]
    problems += [life.problem for life in lives if life.problem]
    return Outcome(count, ledger.created.total(), len(checkpoints), lives, problems)


async def prepare(client: Client) -> None:
    """The resource type, served, and the namespace."""
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    await client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    await eventually(lambda: client.list(FLYTE_WORKFLOWS, NAMESPACE))


@asynccontextmanager
async def all_ended(client: Client, count: int) -> AsyncIterator[tuple[asyncio.Event, set[str]]]:
    """Set when that many workflows have ended, in whatever way; and the versions of statuses written before."""
    done: set[str] = set()
    checkpoints: set[str] = set()
    event = asyncio.Event()

    def seen(change: Change[dict[str, Any]]) -> None:
        if change.new is None:
            return
        phase = change.new.get("status", {}).get("phase")
        if phase in _ENDED:
            done.add(change.key)
        elif phase:
            checkpoints.add(change.new["metadata"]["resourceVersion"])
        if len(done) == count:
            event.set()

    settings = InformerOptions(progress_deadline=10.0)
    async with Informer(client, FLYTE_WORKFLOWS, namespace=NAMESPACE, settings=settings) as informer:
        await informer.wait_for_sync(DEADLINE)
        informer.subscribe(seen)
        yield event, checkpoints


async def _lives(
    command: tuple[str, ...], ended: asyncio.Event, until: float, draw: random.Random
) -> AsyncIterator[Life]:
    """One controller after the other, until all has ended, or the time (monotonic) is over."""
    while not ended.is_set() and time.monotonic() < until:
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        log: list[bytes] = []
        ready = asyncio.Event()
        reader = asyncio.create_task(_read(process.stderr, log, ready))
        try:
            if draw.random() < DURING_START:
                await _wait(ended, draw.uniform(0.0, MAX_START))
            else:
                await asyncio.wait_for(ready.wait(), DEADLINE)
                await _wait(ended, draw.uniform(0.0, MAX_WORK))
            working = not ended.is_set() and any(READY in line for line in log)
        finally:
            if process.returncode is None:
                process.kill()
            code = await process.wait()
            await reader
        yield Life(working, code, b"".join(log).decode())


async def _read(stream: asyncio.StreamReader, log: list[bytes], ready: asyncio.Event) -> None:
    """To the end of the process; sets `ready` when it is, and when it will never be."""
    async for line in stream:
        log.append(line)
        if READY in line:
            ready.set()
    ready.set()


async def _wait(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return


async def problems_of(
    client: Client, storage: Storage, ledger: Ledger, count: int, tasks: int = TASKS
) -> AsyncIterator[str]:
    """Yield deviations from the expected state, as sentences."""
    found = [workflow async for page in client.pages(FLYTE_WORKFLOWS, NAMESPACE) for workflow in page.items]
    if len(found) != count:
        yield f"{len(found)} workflows are there, not {count}"
    for workflow in found:
        async for problem in _problems_of(workflow, storage, ledger, tasks):
            yield f"{workflow['metadata']['name']}: {problem}"
    for attempt, pods in ledger.created.items():
        if pods != 1:
            yield f"{attempt} had {pods} pods"
        if attempt.attempt:
            yield f"{attempt} is a retry of something that never failed"
    if ledger.stopped:
        yield f"pods were stopped: {sorted(set(ledger.stopped))}"
    left = [pod for one in ledger.clients async for page in one.pages(PODS, NAMESPACE) for pod in page.items]
    if running_on := [pod.metadata.name for pod in left if pod.status.phase != "Succeeded"]:
        yield f"pods are left running: {running_on}"
    if len(left) != count * tasks:
        yield f"{len(left)} pods are there, not {count * tasks}"


async def _problems_of(workflow: dict[str, Any], storage: Storage, ledger: Ledger, tasks: int) -> AsyncIterator[str]:
    status = workflow.get("status", {})
    if status.get("phase") != 3:
        yield f"it has phase {status.get('phase')}: {status.get('error')}"
    nodes = {attempt.node for attempt in ledger.created if attempt.workflow == workflow["metadata"]["uid"]}
    if len(nodes) != tasks:
        yield f"{len(nodes)} of its nodes had pods, not {tasks}"
    try:
        snapshot = await decode_status(status, storage, status["dataDir"])
    except CorruptBlob as error:
        yield f"its status does not decode: {error}"
        return
    if snapshot is None:
        yield "its status has no snapshot"
        return
    if snapshot.phase is not WorkflowPhase.SUCCEEDED or any(snapshot.attempts):
        yield f"its snapshot says {snapshot.phase!r}, attempts {list(snapshot.attempts)}"
    if unlike := [phase for phase in snapshot.phases if phase != NodePhase.SUCCEEDED]:
        yield f"nodes of its snapshot are in phases {unlike}"
    outputs = await storage.read(f"{status['dataDir']}/end-node/data/0/outputs.pb", fresh=True)
    if (result := total(literals_pb2.LiteralMap.FromString(outputs))) != tasks:
        yield f"its output is {result}: the results of {tasks - result} tasks were lost"
