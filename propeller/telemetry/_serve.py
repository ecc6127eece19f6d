"""The HTTP port for probes and scrapes: /metrics, /healthz, /readyz; and pages of JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol, TypeVar

from propeller.errors import Invalid, Unavailable
from propeller.listening import Guard, protocol_log
from propeller.redaction import redact
from propeller.telemetry._options import MetricsOptions
from propeller.text import bounded, one_line

T = TypeVar("T")

REASON_CHARACTERS = 1024
"""Of why a probe fails."""

SHUTDOWN_SECONDS = 1.0
"""That answers which are under way have to end."""

Probe = Callable[[], str | Awaitable[str | None] | None]
"""Returns why the process is not healthy or ready, or None if it is."""

Page = Callable[[Mapping[str, str]], bytes | Awaitable[bytes]]
"""Returns a document of JSON for a query. Raises Invalid for a query that makes no sense (400), Unavailable (503)."""


class Scraped(Protocol):
    """Metrics: those of this process, or of others."""

    def text(self) -> bytes | Awaitable[bytes]:
        """All of them, in Prometheus' text format."""


@asynccontextmanager
async def serve_metrics(
    metrics: Scraped,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    settings: MetricsOptions = MetricsOptions(),
    live: Probe = lambda: None,
    ready: Probe = lambda: None,
    pages: Mapping[str, Page] = {},
) -> AsyncIterator[int]:
    """Serve until the context exits; its value is the port, a free one if `port` is 0. `pages` are by path.

    /healthz and /readyz answer 200 `ok`, or 503 with the probe's reason. They are served on the loop that does the
    work, so they do not answer while it is blocked, which a probe should detect. A connection serves one request.
    Raises Unavailable if the address cannot be bound.
    """
    from aiohttp import web  # here, as only a process that serves needs the server half of aiohttp

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(
            body=await _whole(metrics.text()), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    def answers(probe: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            reason = await _whole(probe())
            if reason is None:
                return web.Response(text="ok\n")
            return web.Response(status=503, text=f"{bounded(one_line(redact(reason)), REASON_CHARACTERS)}\n")

        return answer

    def shows(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def show(request: web.Request) -> web.Response:
            try:
                return web.Response(body=await _whole(page(request.query)), content_type="application/json")
            except (Invalid, Unavailable) as error:
                status = 400 if isinstance(error, Invalid) else 503
                return web.Response(status=status, text=f"{bounded(one_line(redact(str(error))), REASON_CHARACTERS)}\n")

        return show

    guard = Guard(connections=settings.connections, head_bytes=settings.head_bytes, head_seconds=settings.head_seconds)

    @web.middleware
    async def once(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        with guard.handling(request):
            answer = await handler(request)
            answer.force_close()
            return answer

    app = web.Application(middlewares=[once])
    app.router.add_get("/metrics", scrape)
    app.router.add_get("/healthz", answers(live))
    app.router.add_get("/readyz", answers(ready))
    for path, page in pages.items():
        app.router.add_get(path, shows(page))
    runner = web.AppRunner(app, access_log=None, logger=protocol_log, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    assert runner.server is not None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        try:
            bound = await stack.enter_async_context(guard.listen(runner.server, host, port))
        except OSError as error:
            raise Unavailable(f"cannot serve metrics on {host}:{port}: {error.strerror or error}") from error
        yield bound


async def _whole(answer: T | Awaitable[T]) -> T:
    return await answer if isinstance(answer, Awaitable) else answer
