"""`propeller routes simulate`: what a change of the table would do to the executions that run."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from propeller.cli._connecting import connected
from propeller.cli._event_loop import run
from propeller.cli._output import say, say_json
from propeller.cli._routes_text import simulation_lines
from propeller.cli._routing_subjects import running_of, running_on
from propeller.cli._routing_tables import Tables, content_of
from propeller.cli._settings import load_settings
from propeller.config import Settings
from propeller.errors import Invalid
from propeller.routing import ClusterState, Running, parse_running, simulate


def simulate_tables(
    *,
    old: str,
    new: str,
    executions: str,
    down: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    output: str,
    config: str | None,
) -> None:
    """Say how many running executions would move if table NEW took the place of OLD."""
    found = run(_simulate(old, new, executions, down, kubeconfig, context, load_settings(config)))
    if output == "json":
        say_json(msgspec.to_builtins(found))
    else:
        say("\n".join(simulation_lines(found)))


async def _simulate(
    old: str,
    new: str,
    executions: str,
    down: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    settings: Settings,
) -> Any:
    tables = Tables(kubeconfig, context, settings)
    before, after = await tables.read(old), await tables.read(new)
    for name in down:
        if name not in {*before.clusters, *after.clusters}:
            raise Invalid(f"neither table has a cluster {name!r}")
    if executions:
        running = _of_file(executions)
    else:
        async with connected(kubeconfig, context, settings) as (client, _):
            running = [one async for one in running_on(client)]
    return simulate(before, after, running, {name: ClusterState(healthy=False, reason="--down") for name in down})


def _of_file(path: str) -> list[Running]:
    content = content_of(path)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None  # it may be YAML, which only the list of attributes is read from
    if isinstance(document, dict) and "kind" in document:
        items = document.get("items", [document])
        if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
            raise Invalid(f"{path}: items has to be a list of FlyteWorkflows")
        return [found for one in items if (found := running_of(one)) is not None]
    return list(parse_running(content, path))
