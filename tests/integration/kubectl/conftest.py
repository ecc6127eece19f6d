"""The real kubectl, against an embedded API server that runs in the test's own loop."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from propeller.controller import workflow_crd
from propeller.embedded.server import ApiServer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client
from tests.assets import binary

DEADLINE = 60.0
"""Seconds within which one command ends on any machine."""


class Failed(Exception):
    """A command that ended with another code than 0; the text is what it said."""


class Kubectl:
    """Runs kubectl with a kubeconfig; each call returns what it printed, or raises Failed."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [
            str(binary("kubectl")),
            f"--kubeconfig={kubeconfig}",
            f"--cache-dir={kubeconfig.parent / 'kube'}",
        ]

    async def __call__(self, *arguments: str, given: Any = None) -> str:
        """`given` goes to its standard input: text as it is, anything else as JSON."""
        text = given if isinstance(given, str) else json.dumps(given)
        process = await self._start(*arguments)
        try:
            async with asyncio.timeout(DEADLINE):
                out, errors = await process.communicate(b"" if given is None else text.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise Failed(errors.decode())
        return out.decode() + errors.decode()

    async def json(self, *arguments: str) -> Any:
        """What `-o json` shows."""
        return json.loads(await self(*arguments, "-o", "json"))

    @asynccontextmanager
    async def following(self, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
        """A command that goes on until the block is left; read its lines."""
        process = await self._start(*arguments)
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def _start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": "/nonexistent"},
        )


async def logs(
    namespace: str,
    name: str,
    container: str | None = None,
    *,
    follow: bool = False,
    tail: int | None = None,
    **options: Any,
) -> AsyncIterator[bytes]:
    """Three lines of any container's output; of which, following, the last takes its time."""
    for number in range(3)[-tail if tail else 0 :]:
        if follow and number == 2:
            await asyncio.sleep(0.2)
        yield f"{namespace}/{name}/{container} line {number}\n".encode()


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer(logs=logs) as server:
        yield server


@pytest.fixture
async def client(server: ApiServer) -> Client:
    client = Client(server.transport())
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    return client


@pytest.fixture
async def kubectl(server: ApiServer, client: Client, tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with server.serve() as front:
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(front.kubeconfig()))
        yield Kubectl(path)


def pod(name: str = "p", **metadata: Any) -> dict[str, Any]:
    """A manifest as people write them."""
    spec = {"containers": [{"name": "main", "image": "img:1", "env": [{"name": "A", "value": "1"}]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}
