"""The HTTP port for probes and scrapes: /metrics, /healthz, /readyz."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from propeller.errors import Unavailable
from propeller.telemetry._metrics import Metrics

Probe = Callable[[], str | None]
"""Says why not, or None where all is well."""


@asynccontextmanager
async def serve_metrics(
    metrics: Metrics,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    live: Probe = lambda: None,
    ready: Probe = lambda: None,
) -> AsyncIterator[int]:
    """Serve until the context is left; its value is the port, which is a free one where `port` is 0.

    /healthz and /readyz answer 200 `ok`, or 503 with the probe's reason. Being served on the loop that does the work,
    they do not answer at all while it is blocked, which is what a probe should find. Raises Unavailable where the
    address cannot be bound.
    """
    from aiohttp import web  # here, as only a process that serves needs the server half of aiohttp

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def answers(probe: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            reason = probe()
            return web.Response(text="ok\n") if reason is None else web.Response(status=503, text=f"{reason}\n")

        return answer

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    app.router.add_get("/healthz", answers(live))
    app.router.add_get("/readyz", answers(ready))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
        except OSError as error:
            raise Unavailable(f"cannot serve metrics on {host}:{port}: {error.strerror or error}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
