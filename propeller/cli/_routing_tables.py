"""Routing tables that commands name: a file, or the RoutingTable of a cluster."""

from __future__ import annotations

from pathlib import Path

from propeller.cli._connecting import connected
from propeller.config import Settings
from propeller.errors import Invalid, NotFound, PropellerError
from propeller.kube import Client
from propeller.routing import ROUTING_TABLES, InvalidTable, Table, parse_table, table_of

_OF_CLUSTER = ("routingtable/", "routingtables/", "rt/")
MAX_BYTES = 8 * 1024 * 1024
"""Of a file with executions or expectations."""


class Tables:
    """Reads tables; the cluster is connected to if one of them is there."""

    def __init__(self, kubeconfig: str | None, context: str | None, settings: Settings) -> None:
        self._cluster = (kubeconfig, context, settings)

    async def read(self, named: str) -> Table:
        """The table. Raises InvalidTable with all that is wrong, Invalid for a file that cannot be read."""
        if (name := name_of_cluster(named)) is not None:
            async with connected(*self._cluster) as (client, _):
                return await table_of_cluster(client, name)
        return parse_table(content_of(named), named)


def table_of_settings(settings: Settings) -> str:
    """The table that the settings name, as commands name it; "" if they name none."""
    return settings.routing.file or (f"routingtable/{settings.routing.table}" if settings.routing.table else "")


def name_of_cluster(named: str) -> str | None:
    """The name of the RoutingTable that is named, None if a file is."""
    return next((named.removeprefix(prefix) for prefix in _OF_CLUSTER if named.startswith(prefix)), None)


async def table_of_cluster(client: Client, name: str) -> Table:
    """The table in the spec of a RoutingTable. Raises InvalidTable, PropellerError if it is not there."""
    try:
        found = await client.get(ROUTING_TABLES, name)
    except NotFound as error:
        raise PropellerError(
            f"there is no RoutingTable {name!r}, or no such type: propeller install --print installs it"
        ) from error
    try:
        return table_of(found.spec)
    except InvalidTable as error:
        raise InvalidTable(error.problems, f"routingtable/{name}") from None


def content_of(path: str) -> bytes:
    """The content of a file. Raises Invalid."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise Invalid(f"{path} has more than {MAX_BYTES} bytes")
    return content
