"""`propeller queue`: who waits for tokens of which pool, since when, behind whom, and for how long still."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from rich.live import Live
from rich.text import Text

from propeller.cli._connecting import connected
from propeller.cli._console import CutLines, can_redraw, console_on
from propeller.cli._event_loop import run
from propeller.cli._front_pages import merged_queue
from propeller.cli._output import say, say_json
from propeller.cli._queue_text import queue_text
from propeller.cli._settings import lease_of, load_settings
from propeller.config import Settings, group_beside
from propeller.errors import Denied, Invalid, NotFound, PropellerError, Unavailable
from propeller.kube import LEASES, Client
from propeller.reconcile.shards import view_group
from propeller.redaction import redact, shown_url
from propeller.resourcemgr import path_of
from propeller.text import bounded, one_line, visible

DEADLINE = 10.0
"""Seconds for an answer of the controller."""

MAX_BYTES = 32 * 1024 * 1024
"""Of an answer: a page is some hundred KB."""

MAX_SHOWN = 200
"""Characters of a URL in a message."""

Look = Callable[[], Awaitable[bytes]]


def show_queue(
    *,
    kubeconfig: str | None,
    context: str | None,
    pool: str,
    tenant: str,
    first: int,
    watch: bool,
    interval: float,
    output: str,
    url: str,
    port: int,
    lease: str,
    config: str | None,
) -> None:
    """Show who waits for tokens of pools (docs/limits.md)."""
    if tenant:
        path_of(tenant)
    query = {"first": str(first)} | ({"pool": pool} if pool else {}) | ({"tenant": tenant} if tenant else {})
    settings = load_settings(config)
    place, name = settings.election.lease_namespace, settings.election.lease_name
    if lease:
        place, name = lease_of(lease)
    way = _at_url(url, query) if url else _by_lease(kubeconfig, context, settings, place, name, port, query)
    run(_show(way, as_json=output == "json", every=interval if watch else None))


async def _show(way: Any, *, as_json: bool, every: float | None) -> None:
    async with way as look:
        if every is None:
            _print(await look(), as_json=as_json)
        elif as_json or not can_redraw(console_on(sys.stdout)):
            while True:
                try:
                    _print(await look(), as_json=as_json)
                except Unavailable as error:  # another process may be taking over
                    say(one_line(str(error)), to_stderr=True)
                await asyncio.sleep(every)
        else:
            await _redraw(look, every)


def _print(answer: bytes, *, as_json: bool) -> None:
    page = _read(answer)
    if as_json:
        say_json(page)
    else:
        say(queue_text(page))


async def _redraw(look: Look, every: float) -> None:
    with Live(console=console_on(sys.stdout), auto_refresh=False, transient=False) as live:
        while True:
            try:
                shown = queue_text(_read(await look()))
            except Unavailable as error:  # another process may be taking over
                shown = str(error)
            live.update(CutLines(Text(visible(shown))), refresh=True)
            await asyncio.sleep(every)


def _read(answer: bytes) -> dict[str, Any]:
    try:
        page = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise PropellerError("the answer is no JSON: is that the HTTP port of a propeller controller?") from error
    if not isinstance(page, dict) or "claims" not in page:
        raise PropellerError("the answer is no queue: is that the HTTP port of a propeller controller?")
    return page


@asynccontextmanager
async def _at_url(url: str, query: Mapping[str, str]) -> AsyncIterator[Look]:
    import aiohttp  # here, as no other way needs it

    named = bounded(shown_url(url), MAX_SHOWN)
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"{named!r} is no URL: write http://127.0.0.1:10254")
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def look() -> bytes:
            try:
                async with session.get(f"{url.rstrip('/')}/queue", params=query, allow_redirects=False) as answer:
                    body = await _body(answer.content.iter_any(), named)
            except (aiohttp.ClientError, ValueError, TimeoutError) as error:
                raise Unavailable(f"{named} does not answer: {redact(str(error)) or type(error).__name__}") from error
            if answer.status == 200:
                return body
            text = body[:1000].decode(errors="replace").strip()
            kind = Invalid if answer.status == 400 else Unavailable
            raise kind(f"{named}: {text if answer.status in (400, 503) else f'it answers {answer.status} to /queue'}")

        yield look


async def _body(parts: AsyncIterator[bytes], url: str) -> bytes:
    """All of an answer. Raises PropellerError for one that is too large to be a page."""
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > MAX_BYTES:
            raise PropellerError(f"{url} answers with more than {MAX_BYTES} bytes: is that a propeller controller?")
    return bytes(body)


@asynccontextmanager
async def _by_lease(
    kubeconfig: str | None,
    context: str | None,
    settings: Settings,
    namespace: str,
    lease: str,
    port: int,
    query: Mapping[str, str],
) -> AsyncIterator[Look]:
    async with connected(kubeconfig, context, settings) as (client, _):
        yield lambda: _through_proxy(client, namespace, lease, port, query)


async def _through_proxy(client: Client, namespace: str, lease: str, port: int, query: Mapping[str, str]) -> bytes:
    """Ask the pod that has the lease, or, if controllers divide the work, each of them: their holders' identities are
    the pod's name, `_`, and something that tells it from others of its name.
    """
    members = await _members(client, namespace, lease)
    holders = members or [await _leader(client, namespace, lease)]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_tried(_of_pod(client, namespace, lease, holder, port, query)), name=f"ask {holder}")
            for holder in holders
        ]
    answers = [task.result() for task in tasks]
    pages = [answer for answer in answers if isinstance(answer, bytes)]
    if not pages:
        raise next(answer for answer in answers if isinstance(answer, PropellerError))
    if len(pages) == 1:
        return pages[0]
    return orjson.dumps(merged_queue([_read(page) for page in pages], int(query["first"])))


async def _tried(asking: Awaitable[bytes]) -> bytes | PropellerError:
    """The answer, or why there is none: other controllers are asked all the same."""
    try:
        return await asking
    except PropellerError as error:
        return error


async def _leader(client: Client, namespace: str, lease: str) -> str:
    try:
        holder = (await client.get(LEASES, lease, namespace)).spec.holder_identity or ""
    except NotFound as error:
        raise PropellerError(
            f"there is no lease {namespace}/{lease}, so no controller is known: name its lease with --lease, or its "
            "HTTP port with --url http://HOST:10254"
        ) from error
    if not holder:
        raise Unavailable(f"nobody has the lease {namespace}/{lease}: no controller is active")
    return holder


async def _members(client: Client, namespace: str, lease: str) -> list[str]:
    """Of controllers that divide the work, one holder's identity for each pod; none if they do not, or if that may not
    be read.
    """
    try:
        group = await view_group(client, namespace, group_beside(lease))
    except (NotFound, Denied):
        return []
    by_pod = {_pod_of(holder): holder for holder in group.identities.values() if holder}
    return [by_pod[pod] for pod in sorted(by_pod)]


def _pod_of(holder: str) -> str:
    """Names of pods have no underscore."""
    return holder.partition("_")[0]


async def _of_pod(
    client: Client, namespace: str, lease: str, holder: str, port: int, query: Mapping[str, str]
) -> bytes:
    pod = _pod_of(holder)
    instead = (
        f"Instead: kubectl port-forward -n {namespace} pod/{pod} {port}, and propeller queue --url "
        f"http://127.0.0.1:{port}"
    )
    try:
        return await client.proxied(pod, namespace, port, "/queue", query, deadline=DEADLINE)
    except NotFound as error:
        raise PropellerError(
            f"{holder} has the lease {namespace}/{lease}, and there is no pod {pod} in namespace {namespace}: if it "
            f"runs outside of the cluster, propeller queue --url http://HOST:{port}"
        ) from error
    except Denied as error:
        raise PropellerError(
            f"{error}. It takes the right get on pods/proxy in namespace {namespace}. {instead}"
        ) from error
    except PropellerError as error:
        raise Unavailable(
            f"pod {pod} of namespace {namespace} does not answer on port {port}: {error}. Does it serve on all "
            f"addresses (--metrics-host 0.0.0.0)? {instead}"
        ) from error
