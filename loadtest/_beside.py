"""Ours and another controller of the same resource, in turns on one API server: the cost of each for the same work.

loadtest/flytepropeller has FlytePropeller's command line. Flyte's own resource type is installed, which has no status
subresource.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import uvloop

from loadtest._floor import floor_of
from loadtest._line import Line
from loadtest._scenarios import Result, Scenario, install, run, scenarios, workplace
from propeller.kube import Client, connect
from propeller.testing import KubeApiserver, run_kube_apiserver

REPETITIONS = 2


class Taken(msgspec.Struct, frozen=True):
    """The best of some repetitions, as other load of the machine only makes them worse. CPU in milliseconds a task,
    memory in MiB, `between` is the median from node to node in milliseconds.
    """

    requests: float
    own: float
    server: float
    rate: float
    memory: float
    between: float | None


def measure(*, peer: str, controller: str, only: Sequence[str], scale: float) -> Iterator[Line]:
    chosen = scenarios(scale, only)
    with workplace() as directory, run_kube_apiserver(directory) as server:
        yield from uvloop.run(_in_turns(server, directory, chosen, (controller, peer)))


async def _in_turns(
    server: KubeApiserver, directory: Path, chosen: Sequence[Scenario], commands: tuple[str, str]
) -> list[Line]:
    """`commands` of our controller and of the other one."""
    lines: list[Line] = []
    async with connect(server.connection()) as client:
        await install(client, flyte=True)
        for number, scenario in enumerate(chosen):
            floor = await floor_of(server, client, directory, f"floor{number}", shape=scenario.shape)
            ours, theirs = await _both(server, client, directory, scenario, number, commands)
            lines.extend(_compared(scenario, ours, theirs, floor.server * 1e3))
    return lines


async def _both(
    server: KubeApiserver,
    client: Client,
    directory: Path,
    scenario: Scenario,
    number: int,
    commands: tuple[str, str],
) -> tuple[Taken, Taken]:
    found: tuple[list[Result], list[Result]] = ([], [])
    for repetition in range(REPETITIONS):
        for which, (command, results) in enumerate(zip(commands, found, strict=True)):
            name = f"load{number}-{repetition}-{which}"
            results.append(await run(server, client, directory / name, scenario, name, command))
    return _best(found[0]), _best(found[1])


def _best(results: Sequence[Result]) -> Taken:
    medians = [result.between[len(result.between) // 2] for result in results if result.between]
    return Taken(
        requests=min(result.requests / result.tasks for result in results),
        own=min(result.own_cpu / result.tasks for result in results) * 1e3,
        server=min(result.server_cpu / result.tasks for result in results) * 1e3,
        rate=max(result.tasks / result.took for result in results),
        memory=max(result.memory for result in results) / 2**20,
        between=min(medians) * 1e3 if medians else None,
    )


def _compared(scenario: Scenario, ours: Taken, theirs: Taken, bare: float) -> Iterator[Line]:
    """The cost of both, and ours relative to theirs. `bare` is the API server's cost of a pod alone in the same shape,
    ms: its create, the report of its end, and their events, which are the same for any controller.
    """
    burst = scenario.tasks >= 20 and not scenario.spread
    timed = bool(scenario.seconds or scenario.spread)  # then the pods set the pace
    for who, taken in (("ours", ours), ("theirs", theirs)):
        yield Line(name=f"{scenario.name}: requests for a task, {who}", value=taken.requests, unit="")
        yield Line(name=f"{scenario.name}: CPU for a task, {who}", value=taken.own, unit="ms")
        yield Line(name=f"{scenario.name}: API server CPU for a task, {who}", value=taken.server, unit="ms")
        yield Line(name=f"{scenario.name}: tasks in a second, {who}", value=taken.rate, unit="/s")
        yield Line(name=f"{scenario.name}: memory, {who}", value=taken.memory, unit="MiB")
        if taken.between is not None:
            yield Line(name=f"{scenario.name}: node to node, median, {who}", value=taken.between, unit="ms")
    relative = f"{scenario.name}: ours relative to theirs"
    yield Line(name=f"{relative}, CPU", value=ours.own / theirs.own, unit="x", budget=0.4 if burst else 0.1)
    yield Line(name=f"{relative}, API server CPU", value=ours.server / theirs.server, unit="x", budget=0.4)
    yield Line(name=f"{scenario.name}: API server CPU for a bare pod", value=bare, unit="ms")
    beyond = max(ours.server - bare, 0.0) / max(theirs.server - bare, 0.01)
    yield Line(name=f"{relative}, API server CPU beyond a bare pod's", value=beyond, unit="x")
    yield Line(name=f"{relative}, memory", value=ours.memory / theirs.memory, unit="x", budget=0.6)
    if not timed:
        budget = 1 / 1.5 if burst else 1 / 5
        yield Line(name=f"{relative}, time", value=theirs.rate / ours.rate, unit="x", budget=budget)
