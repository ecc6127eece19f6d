"""The embedded server in a process of its own.

`python -m loadtest._embedded_server KUBECONFIG` writes that file, prints a line, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import orjson
import uvloop

from propeller.embedded.server import ApiServer


async def main(kubeconfig: str) -> None:
    async with ApiServer() as server, server.serve() as front:
        await asyncio.to_thread(Path(kubeconfig).write_bytes, orjson.dumps(front.kubeconfig()))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
