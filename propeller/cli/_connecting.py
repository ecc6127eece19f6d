"""The options that say which cluster, and what a person should hear when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from propeller.cli._saying import say
from propeller.config import Settings
from propeller.errors import Denied, NotFound, PropellerError
from propeller.kube import FLYTE_WORKFLOWS, Client, Connection, connect, load_connection

F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(function: F) -> F:
    """`--kubeconfig` and `--context`."""
    for option in (
        click.option(
            "--context", default=None, metavar="NAME", help="Context of the kubeconfig; default: its current."
        ),
        click.option(
            "--kubeconfig",
            default=None,
            metavar="FILE",
            help="Which cluster; default: KUBECONFIG, ~/.kube/config, or the cluster that this runs in.",
        ),
    ):
        function = option(function)
    return function


REACH_SECONDS = 3.0
"""How long a command waits for the first answer of the cluster: who sits in front of it should soon hear what is wrong.
"""

SLOW_SECONDS = 3.0
"""After which a command says that it waits for credentials."""


@asynccontextmanager
async def _said_if_slow(what: str) -> AsyncIterator[None]:
    timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, lambda: say(f"{what} ...", to_stderr=True))
    try:
        yield
    finally:
        timer.cancel()


@asynccontextmanager
async def connected(
    kubeconfig: str | None, context: str | None, settings: Settings
) -> AsyncIterator[tuple[Client, Connection]]:
    """A client of the cluster that the options name, which answers. Raises Invalid for a kubeconfig, Unavailable."""
    connection = load_connection(kubeconfig, context)
    async with connect(connection, settings.client) as client:
        if connection.obtain is None:
            await client.reach(REACH_SECONDS)
        else:  # a plugin may have to ask somebody to log in
            async with _said_if_slow(f"waiting for the credentials of context {connection.obtain[1]!r} (exec plugin)"):
                await client.reach(settings.client.deadline)
        yield client, connection


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
