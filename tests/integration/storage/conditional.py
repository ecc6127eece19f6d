"""A front of a server of the S3 protocol that honours conditions of writes, as Amazon's does and rclone's does not.

It checks a condition and passes the write on, one write at a time; everything else it passes on as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

_REFUSED = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>PreconditionFailed</Code>'
    "<Message>At least one of the pre-conditions you specified did not hold</Message></Error>"
)
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-encoding", "content-length"}


class ConditionalFront:
    """See the module's text. The signatures of requests are for the server behind, whose Host they name."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._writes = asyncio.Lock()
        self._versions: dict[str, str] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve; returns the endpoint's URL."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as self._session:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if request.method != "PUT":
            answer = await self._pass_on(request)
            if request.method == "DELETE":
                self._versions.pop(request.raw_path.partition("?")[0], None)
            return answer
        async with self._writes:
            path = request.raw_path.partition("?")[0]
            there = self._versions.get(path)
            if request.headers.get("If-None-Match") == "*" and there is not None:
                return web.Response(status=412, text=_REFUSED, content_type="application/xml")
            if (wanted := request.headers.get("If-Match")) is not None and wanted != there:
                return web.Response(status=412, text=_REFUSED, content_type="application/xml")
            answer = await self._pass_on(request)
            if answer.status == 200 and (version := answer.headers.get("ETag")):
                self._versions[path] = version
            return answer

    async def _pass_on(self, request: web.Request) -> web.Response:
        headers = {name: text for name, text in request.headers.items() if name.lower() != "transfer-encoding"}
        async with self._session.request(
            request.method, f"{self._url}{request.raw_path}", headers=headers, data=await request.read()
        ) as answer:
            passed = {name: text for name, text in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            body = await answer.read()
            return web.Response(status=answer.status, headers=passed, body=body)
