"""`propeller tenants limit set` and `propeller tenants list`: limits of tenants in FairQueues."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any

from propeller.cli._connecting import connected
from propeller.cli._event_loop import run
from propeller.cli._exit_codes import BAD_CALL, SUCCEEDED
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings
from propeller.cli._table import amounts, table
from propeller.errors import Conflict, Invalid, NotFound, PropellerError
from propeller.fairqueues import FAIR_QUEUES, Edit, FairQueue, edits
from propeller.kube import Client
from propeller.text import bounded

MANAGER = "propeller-tenants-limit"
"""The field manager."""

_TRIES = 10
"""Of a change that others make changes beside."""

_LOOK_SECONDS = 0.2

MAX_DIGITS = 18
"""Of a limit: an integer of 64 bits has so many."""

MAX_SHOWN = 100
"""Characters of a word in a message."""

_AMOUNT = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")

_STATUS_COLUMNS = ("held", "waiting", "share", "ideal")


def set_limits(
    *,
    tenant: str,
    limits: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    weight: float | None,
    queue: str,
    timeout: float,
    config: str | None,
) -> int:
    """Set how many tokens of pools a TENANT (a project, or project/domain) may hold, and its weight."""
    wanted: dict[str, int | None] = {}
    for pool, amount in map(_limit_of, limits):
        if pool in wanted:
            raise Invalid(f"pool {pool!r} is given twice: say once how many of its tokens")
        wanted[pool] = amount
    if not wanted and weight is None:
        raise Invalid("say what to set: POOL=N, or --weight W")
    return run(_set(tenant, wanted, weight, queue, timeout, kubeconfig, context, config))


def _limit_of(word: str) -> tuple[str, int | None]:
    pool, _, amount = word.partition("=")
    if not pool or not (amount == "none" or _AMOUNT.fullmatch(amount)):
        raise Invalid(
            f"{bounded(word, MAX_SHOWN)!r} is no limit: write POOL=N, such as hive=40, or POOL=none; N has "
            f"{MAX_DIGITS} digits at most"
        )
    return pool, None if amount == "none" else int(amount)


async def _set(
    tenant: str,
    limits: Mapping[str, int | None],
    weight: float | None,
    queue: str,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    config: str | None,
) -> int:
    async with connected(kubeconfig, context, load_settings(config)) as (client, _):
        for left in reversed(range(_TRIES)):
            try:
                written = [await _write(client, edit) for edit in await _edits(client, tenant, limits, weight, queue)]
                break
            except Conflict:
                if not left:
                    raise
        codes = [await _followed(client, one, tenant, timeout) for one in written]
    return max(codes, default=SUCCEEDED)


async def _edits(
    client: Client, tenant: str, limits: Mapping[str, int | None], weight: float | None, queue: str
) -> list[Edit]:
    return edits(await _queues(client), tenant, limits, weight, queue)


async def _queues(client: Client) -> list[FairQueue]:
    """All FairQueues. Raises PropellerError."""
    try:
        return [queue async for page in client.pages(FAIR_QUEUES) for queue in page.items]
    except NotFound as error:
        raise PropellerError(
            "the cluster does not have the resource type fairqueues.propeller.dev. "
            "Install it: propeller install --print | kubectl apply -f -"
        ) from error


async def _write(client: Client, edit: Edit) -> FairQueue:
    """Onto the version that the edit was made of. Raises Conflict if there is another by now."""
    metadata = edit.queue.metadata
    body = {
        "metadata": {"resourceVersion": metadata.resource_version, "uid": metadata.uid},
        "spec": {"tenants": list(edit.tenants)},
    }
    return await client.patch(FAIR_QUEUES, metadata.name, body=body, field_manager=MANAGER)


async def _followed(client: Client, written: FairQueue, tenant: str, timeout: float) -> int:
    """Say what came of a change, once a controller has seen it; return the exit code."""
    name, generation = written.metadata.name, written.metadata.generation
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout
    while loop.time() < ends:
        queue = await client.get(FAIR_QUEUES, name)
        status = queue.status if isinstance(queue.status, dict) else {}
        if status.get("observedGeneration", 0) >= generation:
            ready: Mapping[str, Any] = next(
                (one for one in status.get("conditions", ()) if one.get("type") == "Ready"), {}
            )
            if ready.get("status") != "True":
                say(f"fairqueue/{name}: refused: {ready.get('message', '')}", to_stderr=True)
                return BAD_CALL
            say(f"fairqueue/{name}: {tenant}: in force")
            return SUCCEEDED
        await asyncio.sleep(_LOOK_SECONDS)
    say(f"fairqueue/{name}: {tenant}: written; no controller has followed within {timeout:g} s")
    return SUCCEEDED


def list_tenants(*, kubeconfig: str | None, context: str | None, output: str, config: str | None) -> None:
    """List the tenants of all FairQueues."""
    rows = run(_list(kubeconfig, context, config))
    if output == "json":
        say_json(rows)
    else:
        say("\n".join(_lines(rows)))


async def _list(kubeconfig: str | None, context: str | None, config: str | None) -> list[dict[str, Any]]:
    async with connected(kubeconfig, context, load_settings(config)) as (client, _):
        return [row for queue in await _queues(client) for row in _rows(queue)]


def _rows(queue: FairQueue) -> Iterator[dict[str, Any]]:
    """Tenants that the FairQueue names, and those that hold or wait for its tokens."""
    spec, status = (part if isinstance(part, dict) else {} for part in (queue.spec, queue.status))
    named = {one["name"]: one for one in spec.get("tenants", ())}
    active = {one["name"]: one for one in status.get("tenants", ())}
    for name in sorted({*named, *active}):
        declared, usage = named.get(name, {}), active.get(name, {})
        yield {
            "fairqueue": queue.metadata.name,
            "tenant": name,
            "weight": declared.get("weight"),
            "limits": declared.get("limits", {}),
            "borrowing": declared.get("borrowing", {}),
            "lending": declared.get("lending", {}),
            **{column: usage.get(column) for column in _STATUS_COLUMNS},
        }


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A table; a tenant without a weight of its own has 1."""
    header = ("TENANT", "WEIGHT", "LIMITS", "HELD", "WAITING", "SHARE", "IDEAL", "FAIRQUEUE")
    cells = (
        (
            row["tenant"],
            f"{row['weight'] or 1:g}",
            amounts(row["limits"])
            + "".join(f" +{pool}={n}" for pool, n in row["borrowing"].items())
            + "".join(f" -{pool}={n}" for pool, n in row["lending"].items()),
            amounts(row["held"] or {}),
            str(row["waiting"] or 0),
            f"{row['share'] or 0:.3f}",
            "-" if row["ideal"] is None else f"{row['ideal']:.3f}",
            row["fairqueue"],
        )
        for row in rows
    )
    yield from table(header, cells)
