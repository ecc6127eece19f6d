"""The kopf peer: an operator with `kopf.on.event`, that keeps objects in a dict.

`python -m loadtest._informer_kopf KUBECONFIG PODS EVENTS`, run by a Python that has kopf and uvloop: nothing of the
project's own is imported but what needs the standard library alone. It prints what _informer_peers prints.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Any

import kopf  # it has a virtual environment of its own
import uvloop

from loadtest._informer_usage import Span


async def main(pods: int, events: int) -> None:
    registry = kopf.OperatorRegistry()
    store: dict[str, Any] = {}
    listed, updated = asyncio.Event(), asyncio.Event()
    stop = asyncio.Event()
    seen = 0

    @kopf.on.login(registry=registry)  # type: ignore[untyped-decorator]  # kopf is in another environment
    async def login(**known: Any) -> Any:
        return kopf.login_with_kubeconfig(**known)

    @kopf.on.event("", "v1", "pods", registry=registry)  # type: ignore[untyped-decorator]  # kopf is in another environment
    async def happened(event: dict[str, Any], **_: object) -> None:
        nonlocal seen
        obj = event["object"]
        store[obj["metadata"]["uid"]] = obj
        if len(store) == pods:
            listed.set()
        seen += event["type"] == "MODIFIED"
        if seen == events:
            updated.set()

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    async with asyncio.TaskGroup() as group:
        span = Span()
        operator = kopf.operator(
            registry=registry, settings=settings, clusterwide=True, standalone=True, stop_flag=stop
        )
        group.create_task(operator)
        await listed.wait()
        span.report()
        await updated.wait()
        span.report()
        stop.set()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    os.environ["KUBECONFIG"] = sys.argv[1]
    uvloop.run(main(int(sys.argv[2]), int(sys.argv[3])))
