"""`propeller clusters`: the clusters of a routing table: what they may take, whether they are well, what they have."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from propeller.cli._connecting import connected
from propeller.cli._event_loop import run
from propeller.cli._output import say, say_json
from propeller.cli._routing_subjects import running_on
from propeller.cli._routing_tables import content_of, name_of_cluster, table_of_settings
from propeller.cli._settings import load_settings
from propeller.cli._table import table
from propeller.clusters import Connector, Opener
from propeller.config import Settings
from propeller.errors import Invalid, NotFound, PropellerError
from propeller.handlers.plugins import EXECUTION_LABEL
from propeller.kube import PODS, Client
from propeller.routing import ROUTING_TABLES, Cluster, InvalidTable, RoutingTable, Table, parse_table, table_of
from propeller.text import bounded, one_line

MAX_REASON = 200
"""Characters of why a cluster does not answer."""


class Answer(msgspec.Struct, frozen=True):
    """What a cluster answers to a list of attempts' pods: how fast, or why it does not. `pods` is None if they were not
    counted.
    """

    seconds: float = 0.0
    error: str = ""
    pods: int | None = None


class ClusterStatus(msgspec.Struct, frozen=True, rename="camel"):
    """A cluster of the table. `healthy` and `reason` are what the controller says of it, None if it says nothing;
    `answer` is how it answers this command, None if it was not asked.
    """

    name: str
    state: str
    weight: float
    priority: int
    executions: int
    pods: int | None
    capacity: Mapping[str, int | None]
    healthy: bool | None
    reason: str
    answer: Answer | None


def show_clusters(
    *,
    table: str,
    probe: bool,
    deadline: float,
    kubeconfig: str | None,
    context: str | None,
    output: str,
    config: str | None,
) -> None:
    """Show the clusters of TABLE."""
    settings = load_settings(config)
    named = table or table_of_settings(settings)
    if not named:
        raise Invalid("name a table: propeller clusters routes.yaml, or routingtable/NAME, or settings with --config")
    found = run(_clusters(named, kubeconfig, context, settings, deadline if probe else None))
    if output == "json":
        say_json(msgspec.to_builtins(found))
    else:
        say("\n".join(_lines(found)))


async def _clusters(
    named: str, kubeconfig: str | None, context: str | None, settings: Settings, deadline: float | None
) -> list[ClusterStatus]:
    read = parse_table(content_of(named), named) if name_of_cluster(named) is None else None
    async with connected(kubeconfig, context, settings) as (client, connection):
        return await statuses(named, read, client, Connector(client, connection, settings.client), deadline)


async def statuses(
    named: str, read: Table | None, client: Client, opener: Opener, deadline: float | None
) -> list[ClusterStatus]:
    """The clusters of a file's table, or of the RoutingTable with that name; `deadline` None asks none of them."""
    status: Mapping[str, Mapping[str, Any]] = {}
    if read is None:
        read, status = await _of_resource(client, str(name_of_cluster(named)), named)
    executions: Mapping[str, int] = {} if status else Counter([one.cluster async for one in running_on(client)])
    clusters = list(read.clusters.values())
    answers: Sequence[Answer | None] = [None] * len(clusters)
    if deadline is not None:
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(_ask(opener, client, one, deadline, count=not status), name=f"ask {one.name}")
                for one in clusters
            ]
        answers = [task.result() for task in asked]
    return [
        _status(cluster, status.get(cluster.name), executions.get(cluster.name, 0), answer)
        for cluster, answer in zip(clusters, answers, strict=True)
    ]


async def _of_resource(client: Client, name: str, named: str) -> tuple[Table, Mapping[str, Mapping[str, Any]]]:
    """The table in force of a RoutingTable, and by cluster what its status says. Raises PropellerError."""
    try:
        found = await client.get(ROUTING_TABLES, name)
    except NotFound as error:
        raise PropellerError(f"there is no RoutingTable {name!r}, or no such type: docs/routing.md") from error
    status = found.status if isinstance(found.status, dict) else {}
    clusters = {one["name"]: one for one in status.get("clusters") or ()}
    try:
        return table_of(_in_force(found, status)), clusters
    except InvalidTable as error:
        raise InvalidTable(error.problems, named) from None


def _in_force(found: RoutingTable, status: Mapping[str, Any]) -> Any:
    """The spec that was accepted; the present one if none was yet."""
    return (status.get("accepted") or {}).get("spec") or found.spec


async def _ask(opener: Opener, control: Client, cluster: Cluster, deadline: float, *, count: bool) -> Answer:
    """Ask one cluster. Never raises what is wrong with it."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline), opener.open(cluster.connection) as opened:
            client = control if opened is None else opened
            began = loop.time()
            await client.list(PODS.metadata_only(), label_selector=EXECUTION_LABEL, limit=1)
            seconds = loop.time() - began
            return Answer(seconds, pods=await _pods(client) if count else None)
    except TimeoutError:
        return Answer(error=f"no answer within {deadline:g} s")
    except PropellerError as error:
        return Answer(error=one_line(bounded(str(error), MAX_REASON)))


async def _pods(client: Client) -> int:
    """How many pods of attempts there are."""
    pages = client.pages(PODS.metadata_only(), label_selector=EXECUTION_LABEL)
    return sum([len(page.items) async for page in pages])


def _status(cluster: Cluster, said: Mapping[str, Any] | None, executions: int, answer: Answer | None) -> ClusterStatus:
    return ClusterStatus(
        name=cluster.name,
        state=str(cluster.state.value),
        weight=cluster.weight,
        priority=cluster.priority,
        executions=executions if said is None else int(said.get("executions", 0)),
        pods=(answer.pods if answer is not None else None) if said is None else int(said.get("pods", 0)),
        capacity=msgspec.structs.asdict(cluster.capacity),
        healthy=None if said is None else bool(said.get("healthy")),
        reason="" if said is None else str(said.get("reason", "")),
        answer=answer,
    )


def _lines(found: Sequence[ClusterStatus]) -> list[str]:
    header = ("CLUSTER", "STATE", "HEALTH", "EXECUTIONS", "PODS", "WEIGHT", "PRIORITY", "ANSWERS")
    return list(table(header, map(_row, found)))


def _row(one: ClusterStatus) -> Sequence[object]:
    health = "unknown" if one.healthy is None else "healthy" if one.healthy else f"unhealthy: {one.reason}"
    return (
        one.name,
        one.state,
        health,
        _of(one.executions, one.capacity["executions"]),
        _of(one.pods, one.capacity["pods"]),
        f"{one.weight:g}",
        one.priority,
        _answer(one.answer),
    )


def _of(count: int | None, most: int | None) -> str:
    shown = "-" if count is None else str(count)
    return shown if most is None else f"{shown}/{most}"


def _answer(answer: Answer | None) -> str:
    if answer is None:
        return "not asked"
    return f"no: {answer.error}" if answer.error else f"in {answer.seconds * 1000:.0f} ms"
