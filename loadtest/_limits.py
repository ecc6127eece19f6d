"""What limits cost where they hold nothing up: the same flood with three pools, a rule for each, and a quota, and
without.

A controller of each kind is started anew for each flood, in the order A B B A: what the machine does beside it, and
what grows in etcd, weighs on both alike. Pools and quota are large: what is measured is the taking and giving back, not
the waiting.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop
import yaml

from loadtest._line import Line
from loadtest._options import PROPELLER
from loadtest._scenarios import Scenario, install, run, scenarios, workplace
from propeller.kube import NAMESPACES, RESOURCE_QUOTAS, Client, connect
from propeller.testing import KubeApiserver, run_kube_apiserver

NAMES = ("one-pod workflows", "fan-out of 500")
REPEATS = 3
"""Times A B B A."""

BUDGET = 1.05

LARGE = 1_000_000
LIMITED = {
    "resources": {
        "pools": [
            {"name": "all", "capacity": LARGE},
            {"name": "tasks", "capacity": LARGE, "parent": "all"},
            {"name": "calls", "rate": LARGE, "burst": LARGE},
        ],
        "tenants": [{"name": "flytesnacks", "weight": 2.0}],
        "rules": [{"pools": {"tasks": 1}}, {"pools": {"calls": 1}}, {"pools": {"all": 1}}],
    }
}
UNLIMITED = {"resources": {"fair_queues": False}, "launches": {"quotas": False}}
HARD = {"pods": str(LARGE), "count/pods": str(LARGE), "requests.nvidia.com/gpu": str(LARGE)}


def measure(*, scale: float = 1.0, only: Sequence[str] = ()) -> Iterator[Line]:
    chosen = [scenario for scenario in scenarios(scale * 2, only or NAMES) if not scenario.spread]
    with workplace() as directory, run_kube_apiserver(directory) as server:
        yield from uvloop.run(_measure(server, directory, chosen))


async def _measure(server: KubeApiserver, directory: Path, chosen: Sequence[Scenario]) -> list[Line]:
    lines: list[Line] = []
    commands = {}
    for name, settings in (("with", LIMITED), ("without", UNLIMITED)):
        config = directory / f"{name}.yaml"
        config.write_text(yaml.safe_dump(settings))
        commands[name] = f"{PROPELLER} --config {config}"
    async with connect(server.connection()) as client:
        await install(client, flyte=False)
        for place, scenario in enumerate(chosen):
            spent: dict[str, list[float]] = {name: [] for name in commands}
            for number, name in enumerate(("without", "with", "with", "without") * REPEATS):
                namespace = f"l{place}-{number}"
                await client.create(NAMESPACES, {"metadata": {"name": namespace}})
                if name == "with":
                    await _limit(client, namespace)
                result = await run(server, client, directory / namespace, scenario, namespace, commands[name])
                spent[name].append(result.own_cpu / result.tasks)
            lines.extend(_lines(scenario.name, spent["without"], spent["with"]))
    return lines


async def _limit(client: Client, namespace: str) -> None:
    """There is no quota controller: admission counts from this status on."""
    quota = {"metadata": {"name": "q"}, "spec": {"hard": HARD}}
    await client.create(RESOURCE_QUOTAS, quota, namespace)
    status = {"hard": HARD, "used": dict.fromkeys(HARD, "0")}
    await client.patch(RESOURCE_QUOTAS, "q", namespace, body={"status": status}, subresource="status")


def _lines(name: str, without: Sequence[float], limited: Sequence[float]) -> Iterator[Line]:
    """Medians, and how far the floods of one kind are apart: the ratio is no better known than that."""
    middle = statistics.median(without)
    yield Line(name=f"{name}: controller CPU for a task without limits", value=middle * 1e3, unit="ms")
    yield Line(
        name=f"{name}: with three pools and a quota, relative to that",
        value=statistics.median(limited) / middle,
        unit="x",
        budget=BUDGET,
    )
    apart = max((max(one) - min(one)) / statistics.median(one) for one in (without, limited))
    yield Line(name=f"{name}: floods of one kind differ by up to", value=apart * 100, unit="%")
