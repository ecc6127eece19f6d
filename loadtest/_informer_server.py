"""The embedded server in a process of its own, with pods that are changed on command.

`python -m loadtest._informer_server KUBECONFIG PODS` writes the kubeconfig, creates the pods, and prints a line; then
it executes commands, one a line, and prints a line after each:
    update EVENTS: update that many pods, once; prints the version of the last.
    expire EVENTS: the same while it is unreachable; watches are cut, and history is forgotten: a resumed watch gets
        410.
    lists: prints how often pods have been listed, in pages or as the beginning of a watch.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import uvloop

from loadtest import _informer_pods as pods_
from propeller.config import ApiServerOptions
from propeller.embedded.server import ApiServer, Forward
from propeller.errors import Unavailable
from propeller.kube import Client, Request, Response

_VARIABLES = 34
"""Of a pod's environment: they stand in for the managedFields that the embedded server writes only for applies."""

_HISTORY = 4 * 2**30  # bytes: all of a burst, so that a slow reader can resume


class Gate:
    """Passes all requests over HTTP, unless it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self.lists = 0

    async def exchange(self, request: Request, forward: Forward) -> Response:
        if self.closed:
            raise Unavailable("the server is away")
        is_page = "watch" not in request.query and "continue" not in request.query
        self.lists += is_page or "sendInitialEvents" in request.query
        return await forward(request)

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks


async def main(kubeconfig: str, pods: int) -> None:
    gate, numbers = Gate(), itertools.count(1)
    settings = ApiServerOptions(history_changes=10 * pods, history_bytes=_HISTORY)
    async with ApiServer(settings) as server, server.serve(interceptor=gate) as front:
        client = Client(server.transport())
        await pods_.create(client, pods, variables=_VARIABLES)
        await asyncio.to_thread(Path(kubeconfig).write_bytes, orjson.dumps(front.kubeconfig()))
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            match line.split():
                case ["update", events]:
                    await pods_.update(client, int(events), next(numbers))
                    print(server.resource_version, flush=True)
                case ["expire", events]:
                    gate.closed = True
                    server.drop_watches()
                    await pods_.update(client, int(events), next(numbers))
                    server.compact()
                    gate.closed = False
                    print(server.resource_version, flush=True)
                case ["lists"]:
                    print(gate.lists, flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
