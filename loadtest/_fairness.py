"""How fair the resource manager is under a flood, and at what cost: on a ledger in virtual time, and by the real
controller on a real kube-apiserver; beside Kueue with fair sharing, and without any queue, if asked for.

Each run has a kube-apiserver of its own, so that none pays for the objects of the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import uvloop

from loadtest import _fairness_model, _shares
from loadtest._fairness_picture import Panel, check, draw
from loadtest._flood import WEIGHTS, Flood, Queue, Run, flood, say
from loadtest._floods_of_kueue import KueuePods
from loadtest._floods_of_propeller import Floor, Propeller, Shape
from loadtest._line import Line
from loadtest._scenarios import workplace
from propeller.kube import connect
from propeller.testing import run_kube_apiserver

FLOOD = 50_000
"""Tasks of the flood on the ledger."""

FLOODS = (1_000, 5_000)
"""Pods of each of three tenants on the real server."""

MIN_PODS = 300
"""Of them, whatever the scale: or a run ends before it has begun."""

SLOTS = {1.0: 40, 20.0: 200}
"""By the seconds that a pod runs: two cores end about 40 pods a second without being the bottleneck."""

WIDE_SLOTS = 1_000
"""So many that slots are no limit, but what two cores can create."""

WINDOW, MAX_WINDOW = 40.0, 150.0
"""Seconds that a run is measured for: one of busy slots, and one of all pods."""

GROUP = 100
MAX_DISTANCE, MAX_UNFAIR, MAX_WAIT = 5.0, 0.01, 0.5
RUNNING = {1.0: 90.0, 20.0: 98.0}
MIN_RATE, MIN_OF_FLOOR, MAX_OF_FLOOR = 100.0, 0.6, 2.0
"""Goals: percent, 1 - Jain's index, seconds; percent of slots; pods a second, and relative to no queue."""

_COUNTED = ("pods", "workloads", "localqueues", "clusterqueues", "cohorts", "flyteworkflows")
_NOT_THE_QUEUES = {
    ("pods", "POST"),
    ("pods/status", "PATCH"),  # the kubelet's
    ("flyteworkflows", "POST"),
    ("clusterqueues", "LIST"),  # to see what is held
}


def measure(*, scale: float, peer: str | None, picture: Path | None) -> Iterator[Line]:
    if picture is not None:
        check(picture)
    panels: list[Panel] = []
    yield from _model(max(3_000, round(FLOOD * scale)), panels)
    if peer is None:
        yield from _alone(max(MIN_PODS, round(FLOODS[0] * scale)), panels)
    else:
        for pods in FLOODS:
            yield from _beside(max(MIN_PODS, round(pods * scale)), panels)
    if picture is not None:
        draw(picture, panels, WEIGHTS)
        say(f"picture: {picture}")


def _model(tasks: int, panels: list[Panel]) -> Iterator[Line]:
    slots, seconds = 40, 20.0
    for together in (False, True):
        cluster = _fairness_model.flooded(tasks, slots, seconds, together=together)
        how = "slots come free together" if together else "slots come free one by one"
        name = f"ledger, flood of {tasks:,}, {how}"
        held = _shares.busy(cluster.spans, 0.0 if not together else seconds, cluster.now)
        yield from _fair(name, held, is_ours=True)
        panels.append(Panel.of(name, cluster.spans, (0.0, min(cluster.now, 40 * seconds)), seconds, WEIGHTS))
    waits = {is_fair: _fairness_model.small_waits(tasks, slots, seconds, is_fair=is_fair) for is_fair in (True, False)}
    for is_fair, how in ((True, "in turns"), (False, "first come, first served")):
        for share, word in ((0.5, "median"), (0.99, "99th percentile")):
            name = f"ledger, a small tenant's wait beside {tasks:,}, {how}, {word}"
            budget = seconds / slots + 1e-9 if is_fair else None  # the next slot that comes free
            yield Line(name=name, value=_shares.quantile(waits[is_fair], share), unit="s", budget=budget)


def _fair(name: str, held: dict[str, float], *, is_ours: bool) -> Iterator[Line]:
    distances = _shares.distances(held, WEIGHTS)
    far = max(abs(distance) for distance in distances.values()) * 100
    total = sum(held.get(tenant, 0.0) for tenant in WEIGHTS) or 1.0
    for tenant, weight in WEIGHTS.items():
        share, ideal = held.get(tenant, 0.0) / total, weight / sum(WEIGHTS.values())
        yield Line(name=f"{name}: share of weight {weight:g}, ideally {ideal:.3f}", value=share, unit="")
    own = is_ours or None
    what = f"{name}: largest distance from the ideal"
    yield Line(name=what, value=round(far, 6), unit="%", budget=own and MAX_DISTANCE)
    index = _shares.jain(held, WEIGHTS)
    yield Line(name=f"{name}: Jain's index", value=index, unit="", at_least=own and 1 - MAX_UNFAIR)


def _alone(pods: int, panels: list[Panel]) -> Iterator[Line]:
    for shape in Shape:
        yield from _busy(_run(Propeller(shape), _busy_run(pods, 1.0)), panels)
    yield from _busy(_run(Propeller(Shape.FAN_OUT), _busy_run(pods, 20.0)), panels)
    yield from _busy(_run(Propeller(Shape.FAN_OUT), _together_run(pods)), panels)


def _beside(pods: int, panels: list[Panel]) -> Iterator[Line]:
    all_of_them = Run(
        name=f"3 x {pods:,}, 1 s, {WIDE_SLOTS} slots",
        pods=pods,
        slots=WIDE_SLOTS,
        seconds=1.0,
        window=MAX_WINDOW,
        complete=True,
    )
    bare = _run(Floor(), all_of_them)
    yield from _cost(bare, bare)
    queues: list[Queue] = [Propeller(Shape.FAN_OUT), Propeller(Shape.MAP), KueuePods(), KueuePods(GROUP)]
    for queue in queues:
        yield from _cost(_run(queue, all_of_them), bare)
    for queue in (Propeller(Shape.FAN_OUT), KueuePods()):
        for seconds in SLOTS:
            yield from _busy(_run(queue, _busy_run(pods, seconds)), panels)
        yield from _busy(_run(queue, _together_run(pods)), panels)


def _busy_run(pods: int, seconds: float) -> Run:
    slots = min(SLOTS[seconds], pods // 2)
    return Run(
        name=f"3 x {pods:,}, {seconds:g} s, {slots} slots", pods=pods, slots=slots, seconds=seconds, window=WINDOW
    )


def _together_run(pods: int) -> Run:
    name = f"3 x {pods:,}, 40 slots that come free together"
    return Run(name=name, pods=pods, slots=40, seconds=4.0, window=WINDOW, together=True)


def _run(queue: Queue, run: Run) -> tuple[str, Flood]:
    say(f"{queue.name}: {run.name} ...")
    with workplace() as directory, run_kube_apiserver(directory) as server:

        async def flooded() -> Flood:
            async with connect(server.connection()) as client:
                return await flood(server, client, directory, queue, run)

        return f"{queue.name}, {run.name}", uvloop.run(flooded())


def _busy(measured: tuple[str, Flood], panels: list[Panel]) -> Iterator[Line]:
    """What is limited by slots: who gets them, how well they are used, how long a small tenant waits."""
    name, seen = measured
    run, is_ours = seen.run, name.startswith("propeller")
    panels.append(Panel.of(name, seen.spans, seen.window, max(1.0, run.seconds / 4), WEIGHTS))
    yield from _fair(name, seen.busy, is_ours=is_ours)
    used = 100 * seen.running / seen.held if seen.held else 0.0
    least = None if run.together or not is_ours else RUNNING[run.seconds]
    yield Line(name=f"{name}: slots held", value=seen.held, unit="")
    yield Line(name=f"{name}: of these really running", value=used, unit="%", at_least=least)
    if not run.together:
        yield from _waits(name, seen, budget=MAX_WAIT if is_ours else None)
    yield Line(name=f"{name}: pods that ended in a second", value=seen.rate, unit="/s")


def _waits(name: str, seen: Flood, budget: float | None) -> Iterator[Line]:
    waits = [*seen.waits, *seen.unserved]
    yield Line(name=f"{name}: single pods of a small tenant", value=len(waits), unit="")
    yield Line(name=f"{name}: of these still waiting at the end", value=len(seen.unserved), unit="")
    for share, word in ((0.5, "median"), (0.99, "99th percentile")):
        limit = budget if share > 0.5 else None
        yield Line(name=f"{name}: their wait, {word}", value=_shares.quantile(waits, share), unit="s", budget=limit)


def _cost(measured: tuple[str, Flood], floor: tuple[str, Flood]) -> Iterator[Line]:
    """What all of it costs, relative to the same pods without any queue."""
    name, seen = measured
    bare, is_ours, is_floor = floor[1], name.startswith("propeller"), measured is floor
    ended = max(1, seen.ended)
    own = is_ours or None
    yield Line(name=f"{name}: pods that ended", value=seen.ended, unit="")
    yield Line(name=f"{name}: pods in a second", value=seen.rate, unit="/s", at_least=own and MIN_RATE)
    server = seen.server_cpu / ended
    yield Line(name=f"{name}: API server CPU for a pod", value=server * 1e3, unit="ms")
    if is_floor:
        yield from _waits(name, seen, budget=None)
        return
    relative = seen.rate / bare.rate if bare.rate else 0.0
    yield Line(name=f"{name}: that, relative to no queue", value=relative, unit="x", at_least=own and MIN_OF_FLOOR)
    costs = server / (bare.server_cpu / max(1, bare.ended))
    yield Line(name=f"{name}: API server CPU, relative to no queue", value=costs, unit="x", budget=own and MAX_OF_FLOOR)
    yield Line(name=f"{name}: CPU of the queue for a pod", value=seen.own_cpu / ended * 1e3, unit="ms")
    statuses = sum(count for (what, _), count in seen.requests.items() if what == "flyteworkflows/status")
    others = _requests_of_the_queue(seen) - statuses
    events = seen.requests["events", "POST"] + seen.requests["events", "PATCH"]
    yield Line(name=f"{name}: status writes for a pod", value=statuses / ended, unit="")
    yield Line(name=f"{name}: Events for a pod", value=events / ended, unit="")
    yield Line(name=f"{name}: other requests for a pod", value=others / ended, unit="", budget=own and 0.02)
    yield from _waits(name, seen, budget=own and MAX_WAIT)


def _requests_of_the_queue(seen: Flood) -> int:
    return sum(
        count
        for (what, verb), count in seen.requests.items()
        if what.partition("/")[0] in _COUNTED and (what, verb) not in _NOT_THE_QUEUES
    )
