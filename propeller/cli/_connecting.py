"""Connect to the cluster that a command's options select, and say what is wrong if it does not respond."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from propeller.cli._output import say
from propeller.config import Settings
from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Denied, NotFound, PropellerError, Retryable, Unavailable, Untrusted
from propeller.kube import Client, Connection, connect, load_connection
from propeller.pauses import Pauses

PLUGIN_VARIABLE = "PROPELLER_CLIENT__PLUGIN_DEADLINE"

_log = logging.getLogger(__name__)


@asynccontextmanager
async def _said_if_slow(what: str, seconds: float) -> AsyncIterator[None]:
    timer = asyncio.get_running_loop().call_later(seconds, lambda: say(f"{what} ...", to_stderr=True))
    try:
        yield
    finally:
        timer.cancel()


@asynccontextmanager
async def connected(
    kubeconfig: str | None, context: str | None, settings: Settings
) -> AsyncIterator[tuple[Client, Connection]]:
    """Open a client of the selected cluster, which has responded. Raises Invalid for a kubeconfig, Unavailable."""
    connection = load_connection(kubeconfig, context)
    async with connect(connection, settings.client) as client:
        await _reach(client, connection)
        yield client, connection


async def _reach(client: Client, connection: Connection) -> None:
    settings, provider = client.settings, connection.provider
    if provider is None:
        await client.reach(settings.reach_deadline)
    elif not provider.interactive:
        try:
            await client.reach(settings.plugin_deadline)
        except Unavailable as error:
            if not str(error).startswith(provider.where):
                raise
            raise Unavailable(f"{error}. If it needs longer, set {PLUGIN_VARIABLE}=30") from error
    else:  # the plugin may prompt for a login
        async with _said_if_slow(f"waiting for {provider.where}", settings.slow_after):
            await client.reach(settings.deadline)


async def reach_patiently(client: Client, connection: Connection) -> None:
    """Wait until the server responds and has the resource type, and log each failed attempt: a controller outlasts its
    API server.

    Raises if waiting does not help: the certificate is not trusted, credentials are refused, the resource type is
    missing.
    """
    settings, pauses = client.settings, Pauses(client.settings.reach_backoff, client.settings.reach_backoff_cap)
    while True:
        try:
            await client.reach(settings.deadline if connection.provider is not None else settings.reach_deadline)
            return await require_workflows(client, connection)
        except Untrusted:
            raise
        except Retryable as error:
            pause = pauses.failed(asyncio.get_running_loop().time())
            _log.warning("%s; asking again in %.1f s", error, pause)
            await asyncio.sleep(pause)


async def require_workflows(client: Client, connection: Connection) -> None:
    """Be sure, before anything starts, that the server answers, knows us, and has the resource type. Raises."""
    try:
        await client.has_subresource(FLYTE_WORKFLOWS, "status")
    except NotFound as error:
        raise PropellerError(
            f"{connection.origin} does not have the resource type flyteworkflows.flyte.lyft.com. "
            "Install it: propeller install --print | kubectl apply -f -"
        ) from error
    except Denied as error:
        raise PropellerError(
            f"{error}. Does the kubeconfig still hold valid credentials for {connection.origin}?"
        ) from error
