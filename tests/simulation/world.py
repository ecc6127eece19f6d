"""One world: an API server, a kubelet, users, and controllers that fail in every way, until everything has ended."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from dataclasses import dataclass

from propeller.embedded.faults import FaultyLink
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from tests.simulation.event_log import Listener
from tests.simulation.faults import Faults
from tests.simulation.gated import Answering
from tests.simulation.kubelet import Kubelet
from tests.simulation.loop import Stuck, run
from tests.simulation.nested import Vandal
from tests.simulation.processes import Processes
from tests.simulation.reached import Cell
from tests.simulation.retyped import definition
from tests.simulation.scene import NAMESPACE, Scene
from tests.simulation.sharded import COUNT, Actors, ShardedProcesses
from tests.simulation.users import Users
from tests.simulation.verdict import check_the_end, wait_for_the_end


@dataclass(frozen=True)
class Result:
    """What came of a seed."""

    seed: int
    failures: tuple[str, ...]
    digest: str
    workflows: int
    pods: int
    seconds: float
    """Virtual."""
    reached: frozenset[Cell] = frozenset()
    """What befell which kinds of nodes and tasks."""


def simulate(seed: int, *, verbose: bool = False, sharded: bool = False) -> Result:
    """Run the world of a seed to its end. `sharded`: several controllers divide the workflows."""
    random.seed(seed)
    collecting = gc.isenabled()
    gc.disable()  # what is collected when must not depend on what ran before
    try:
        return run(seed, lambda loop: _run(Scene(seed, loop, verbose=verbose, sharded=COUNT if sharded else 0)))
    except Stuck as error:
        return Result(seed, (str(error),), "", 0, 0, 0.0)
    finally:
        if collecting:
            gc.enable()


async def _run(scene: Scene) -> Result:
    log = logging.getLogger("propeller")
    listener = Listener(scene.event_log)
    level, propagates = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(listener)
    try:
        async with scene.server:
            await _live(scene)
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = propagates
    workflows = scene.oracle.workflows.values()
    pods = sum(len(workflow.pods) for workflow in workflows)
    return Result(
        scene.seed,
        tuple(scene.event_log.failures),
        scene.event_log.digest,
        len(workflows),
        pods,
        scene.loop.time(),
        frozenset(scene.reached.cells),
    )


def _processes(scene: Scene) -> Processes:
    if not scene.settings.shards.count:
        return Processes(scene)
    scene.actors = Actors(scene.event_log)
    scene.restored.then = scene.actors.restored
    return ShardedProcesses(scene)


async def _live(scene: Scene) -> None:
    await scene.clean.create(CUSTOM_RESOURCE_DEFINITIONS, definition(subresource=scene.rng.random() >= 0.3))
    await scene.clean.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    await scene.limits.install()
    link = FaultyLink(random.Random(0))
    kubelet = Kubelet(scene.client("kubelet", link), scene.blobs, scene.oracle, scene.rng, scene.sidecars, scene.drains)
    processes = _processes(scene)
    users = Users(scene, processes)
    running = asyncio.create_task(kubelet.run())
    vandal = asyncio.create_task(Vandal(scene).run()) if scene.oracle.nested else None
    answering = asyncio.create_task(Answering(scene).run()) if scene.oracle.gated else None
    archiving = asyncio.create_task(scene.archive.run()) if scene.archive is not None else None
    coming = None
    try:
        shared = scene.tokens.shared
        if isinstance(processes, ShardedProcesses):
            processes.start_some()
            if not scene.fault_free:
                coming = asyncio.create_task(processes.come_and_go())
        else:
            processes.start()
            if shared is not None:
                scene.oracle.overlap = True
                processes.start()
        beside = [asyncio.create_task(scene.denials.run()), asyncio.create_task(scene.strangers.run())]
        if scene.tokens.live:
            beside.append(asyncio.create_task(scene.limits.run()))
        if scene.pressure.used:
            beside.append(asyncio.create_task(scene.pressure.run()))
        if shared is not None and not scene.fault_free:
            beside.append(asyncio.create_task(shared.trouble()))
        if scene.quotas.used:
            beside.append(asyncio.create_task(scene.quotas.run(scene.clean, NAMESPACE)))
        if scene.retyped.used:
            beside.append(asyncio.create_task(scene.retyped.run(users.create)))
        using = asyncio.create_task(users.run())
        if not scene.fault_free:
            await Faults(scene, processes).run()
        await using
        if vandal is not None:
            vandal.cancel()
        scene.denials.heal()
        scene.strangers.leave()
        scene.retyped.leave()
        scene.limits.leave()
        scene.pressure.heal()
        if shared is not None:
            shared.leave()
        await scene.quotas.heal(scene.clean, NAMESPACE)
        await asyncio.gather(*beside)
        if coming is not None:
            coming.cancel()
        processes.heal()
        await scene.limits.end()
        await wait_for_the_end(scene)
        check_the_end(scene)
        await scene.limits.check(processes.alive[-1].name)
        await scene.finalizers.check(scene.event_log)
        if shared is not None:
            await shared.check()
    finally:
        await processes.stop()
        running.cancel()
        others = [task for task in (answering, vandal, archiving) if task is not None]
        for task in others:
            task.cancel()
        await asyncio.wait([running, *others])
    if not running.cancelled() and (error := running.exception()) is not None:
        raise error
