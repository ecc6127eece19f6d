"""Informers side by side: the cost of a list, of an event, and of a pod in the cache.

First on a real API server over TLS: ours, the bare floor, client-go, kubernetes-asyncio and kopf, each in a fresh
process of its own, while another process makes the updates. Then ours alone with many pods, on the embedded server in
its own process over HTTP: a list, a burst, a relist.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import uvloop

from loadtest._go_peers import Missing
from loadtest._informer_commands import PEERS, Peer
from loadtest._informer_processes import Measured, measured
from loadtest._informer_scale import Phase
from loadtest._line import Line
from propeller.testing import run_kube_apiserver

REPETITIONS = 3
EXPIRED = 100
"""Updates that a relist finds."""

BUDGETS: dict[str, tuple[float | None, float | None, float | None]] = {
    "client-go": (0.7, 0.25, 1.0),
    "client-go, JSON": (None, None, None),
    "kubernetes-asyncio": (0.1, 0.15, 0.15),
    "kopf": (0.1, 0.15, 0.15),
}
"""Ours relative to theirs, at most: list CPU, memory, event CPU. Of client-go it is protobuf that counts, which
controllers choose for pods; JSON is its default.
"""


class Sizes(msgspec.Struct, frozen=True):
    """Pods side by side, and updates of them; pods of ours alone, and the updates of a burst."""

    pods: int
    updates: int
    many: int
    burst: int


def sizes_of(scale: float) -> Sizes:
    return Sizes(
        pods=max(500, round(10_000 * scale)),
        updates=max(100, round(2_000 * scale)),
        many=max(2_000, round(50_000 * scale)),
        burst=max(1_000, round(20_000 * scale)),
    )


class Taken(msgspec.Struct, frozen=True):
    """Of one process: CPU in seconds for a pod of the list and for an event; bytes that stay for a pod."""

    list: float
    kept: float
    event: float


class _Span(msgspec.Struct, frozen=True):
    cpu: float
    memory: int


def measure(*, scale: float = 1.0) -> Iterator[Line]:
    sizes = sizes_of(scale)
    with tempfile.TemporaryDirectory() as directory, run_kube_apiserver(Path(directory)) as server:
        kubeconfig = server.kubeconfig(Path(directory, "kubeconfig"))
        taken = uvloop.run(_side_by_side(str(kubeconfig), _commands(), sizes))
    yield from _compared(taken)
    with tempfile.TemporaryDirectory() as directory:
        yield from _at_scale(*uvloop.run(_alone(str(Path(directory, "kubeconfig")), sizes)), sizes)


def _commands() -> dict[Peer, list[str]]:
    """The command line of each peer that is here; why another is left out is said."""
    found = {}
    for peer in PEERS:
        try:
            found[peer] = peer.command()
        except Missing as error:
            print(f"  {peer.name} is left out: {error}", file=sys.stderr)
    return found


async def _side_by_side(kubeconfig: str, commands: Mapping[Peer, Sequence[str]], sizes: Sizes) -> dict[str, Taken]:
    """The cost of each. Peers take turns, so that other load of the machine meets all alike."""
    await _write(kubeconfig, sizes.pods, 0)
    updates = itertools.count(1)
    rounds: dict[str, list[Taken]] = {peer.name: [] for peer in commands}
    for _ in range(REPETITIONS):
        for peer, command in commands.items():
            line = [*command, kubeconfig, str(sizes.pods), str(sizes.updates), *peer.options]
            async with measured(peer.name, line) as process:
                listed = msgspec.json.decode(await process.line(), type=_Span)
                await _write(kubeconfig, sizes.updates, next(updates))
                followed = msgspec.json.decode(await process.line(), type=_Span)
            rounds[peer.name].append(
                Taken(listed.cpu / sizes.pods, listed.memory / sizes.pods, followed.cpu / sizes.updates)
            )
    return {name: _of_rounds(taken) for name, taken in rounds.items()}


async def _write(kubeconfig: str, pods: int, update: int) -> None:
    """Create so many pods (update 0), or update them, by a process whose CPU is not counted."""
    command = [sys.executable, "-m", "loadtest._informer_pods", kubeconfig, str(pods), str(update)]
    async with measured("the writer", command) as process:
        await process.finished()


def _of_rounds(taken: Sequence[Taken]) -> Taken:
    """The least CPU, as other load of the machine only ever adds; the median of memory."""
    return Taken(
        list=min(one.list for one in taken),
        kept=statistics.median(one.kept for one in taken),
        event=min(one.event for one in taken),
    )


def _compared(taken: Mapping[str, Taken]) -> Iterator[Line]:
    for name, took in taken.items():
        yield Line(name=f"{name}: CPU of a pod in the list", value=took.list * 1e6, unit="us")
        yield Line(name=f"{name}: kept of a pod", value=took.kept / 1e3, unit="kB")
        yield Line(name=f"{name}: CPU of an event", value=took.event * 1e6, unit="us")
    ours = taken["ours"]
    for name, (of_list, of_kept, of_event) in BUDGETS.items():
        if theirs := taken.get(name):
            relative = f"ours relative to {name}"
            yield Line(name=f"{relative}: list CPU", value=ours.list / theirs.list, unit="x", budget=of_list)
            yield Line(name=f"{relative}: kept", value=ours.kept / theirs.kept, unit="x", budget=of_kept)
            yield Line(name=f"{relative}: event CPU", value=ours.event / theirs.event, unit="x", budget=of_event)


async def _alone(kubeconfig: str, sizes: Sizes) -> tuple[Phase, Phase, Phase]:
    """Ours with many pods: the first list, a burst, a relist after a 410."""
    server_command = [sys.executable, "-m", "loadtest._informer_server", kubeconfig, str(sizes.many)]
    async with measured("the embedded server", server_command) as server:
        await server.line()
        rounds = [await _phases(server, kubeconfig, sizes) for _ in range(REPETITIONS)]
    listed, burst, anew = (_of_phases(phases) for phases in zip(*rounds, strict=True))
    return listed, burst, anew


async def _phases(server: Measured, kubeconfig: str, sizes: Sizes) -> tuple[Phase, Phase, Phase]:
    command = [sys.executable, "-m", "loadtest._informer_scale", kubeconfig, str(sizes.many), str(sizes.burst)]
    async with measured("ours", command) as ours:
        listed = msgspec.json.decode(await ours.line(), type=Phase)
        ours.hold()  # so that the burst waits for it as a whole
        await server.ask(f"update {sizes.burst}")
        ours.go_on()
        burst = msgspec.json.decode(await ours.line(), type=Phase)
        lists = int(await server.ask("lists"))
        ours.tell(await server.ask(f"expire {EXPIRED}"))
        anew = msgspec.json.decode(await ours.line(), type=Phase)
        assert int(await server.ask("lists")) > lists, "it came back without a list, so a list was not measured"
    return listed, burst, anew


def _of_phases(phases: Sequence[Phase]) -> Phase:
    """The least CPU, and the memory of the repetition with the median ratio of peak to the rest."""
    middle = sorted(phases, key=lambda phase: phase.peak / phase.kept)[len(phases) // 2]
    return Phase(min(phase.cpu for phase in phases), middle.peak, middle.kept)


def _at_scale(listed: Phase, burst: Phase, anew: Phase, sizes: Sizes) -> Iterator[Line]:
    pods = f"{sizes.many:,} pods"
    yield Line(name=f"ours, {pods}: CPU of one in the list", value=listed.cpu / sizes.many * 1e6, unit="us", budget=40)
    yield Line(name=f"ours, {pods}: kept of one", value=listed.kept / sizes.many / 1e3, unit="kB")
    yield Line(name=f"ours, {pods}: peak over what stays", value=listed.peak / listed.kept, unit="x", budget=1.3)
    yield Line(
        name=f"ours, a burst of {sizes.burst:,}: CPU of an event",
        value=burst.cpu / sizes.burst * 1e6,
        unit="us",
        budget=100,
    )
    yield Line(
        name=f"ours, a burst of {sizes.burst:,}: events in a second of CPU", value=sizes.burst / burst.cpu, unit="/s"
    )
    yield Line(name=f"ours, {pods}: CPU of one in a list anew", value=anew.cpu / sizes.many * 1e6, unit="us", budget=40)
    yield Line(name=f"ours, {pods}: peak over what stays, list anew", value=anew.peak / anew.kept, unit="x", budget=1.3)
