"""How long the controller takes to import, and how much memory it idles with, on an API server of its own."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import uvloop
import yaml

from loadtest._line import Line
from propeller.controller import workflow_crd
from propeller.embedded.server import ApiServer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client

RUNS = 5
SETTLE_SECONDS = 3.0
_IMPORT = (
    "import time; began = time.perf_counter(); import propeller.cli._controller; print(time.perf_counter() - began)"
)


def measure() -> Iterator[Line]:
    seconds = [float(subprocess.check_output([sys.executable, "-c", _IMPORT])) for _ in range(RUNS)]
    yield Line(name="importing propeller controller", value=statistics.median(seconds), unit="s", budget=0.5)
    yield Line(name="idle controller, resident memory", value=uvloop.run(_idle()) / 2**20, unit="MiB", budget=80)


async def _idle() -> float:
    """Bytes."""
    async with ApiServer() as server, server.serve() as front:
        await Client(server.transport()).create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        with tempfile.TemporaryDirectory() as directory:
            kubeconfig = Path(directory, "kubeconfig")
            kubeconfig.write_text(yaml.safe_dump(front.kubeconfig()))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "propeller.cli", "controller", "--kubeconfig", str(kubeconfig)),
                *("--metrics-port", "0", "--log-level", "warning"),
            )
            try:
                await asyncio.sleep(SETTLE_SECONDS)
                return float(psutil.Process(process.pid).memory_info().rss)
            finally:
                process.terminate()
                await process.wait()
