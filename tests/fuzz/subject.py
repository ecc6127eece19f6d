"""The controller under test, as a process of its own: `python -m tests.fuzz.subject KUBECONFIG PREFIX REPORT`.

It is what `propeller controller` runs, with a sampler of the loop beside it. On SIGTERM it writes to REPORT, as JSON,
how long the loop was held at most: in seconds of the wall clock, and in CPU seconds of the loop's own thread between
two looks, which a busy machine does not change.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import signal
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from propeller.config import CheckpointOptions, Settings
from propeller.controller import WorkflowController
from propeller.kube import connect, load_connection
from propeller.storage import Storage, StorageOptions
from propeller.telemetry import configure_logs

LOOK_SECONDS = 0.005


class Holds:
    """The longest times for which the loop was held."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.cpu = 0.0
        self.late = 0
        """How often a look was more than a tenth of a second late."""

    async def follow(self) -> None:
        wall, cpu = time.monotonic(), time.thread_time()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now, taken = time.monotonic(), time.thread_time()
            late = now - wall - LOOK_SECONDS
            self.wall = max(self.wall, late)
            self.cpu = max(self.cpu, taken - cpu)
            self.late += late > 0.1
            wall, cpu = now, taken


async def main(kubeconfig: str, prefix: str, report: str) -> None:
    configure_logs("warning")
    settings = Settings(
        storage=StorageOptions(metadata_prefix=f"file://{prefix}/metadata", raw_output_prefix=f"file://{prefix}/raw"),
        checkpoint=CheckpointOptions(max_lag=0.2),
    )
    settings = msgspec.structs.replace(settings, controller=msgspec.structs.replace(settings.controller, ttl=0.0))
    holds = Holds()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        connect(load_connection(kubeconfig)) as client,
        Storage(settings.storage) as storage,
        WorkflowController(client, storage, settings).running(),
    ):
        print("ready", flush=True)
        sampler = asyncio.create_task(holds.follow())
        await stop.wait()
        sampler.cancel()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"wall": holds.wall, "cpu": holds.cpu, "late": holds.late, "peak_kib": peak}
    Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    gc.freeze()
    uvloop.run(main(*sys.argv[1:]))
