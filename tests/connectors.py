"""flytekit's connector service as a process of its own, and one that answers as a test says, for what the real one
cannot show.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from propeller.connectors import ConnectorService
from propeller.testing._processes import ServerProcess, free_ports

MODULES = Path(__file__).with_name("flytekit_connectors")
START_DEADLINE = 120.0
"""Seconds: flytekit's import alone takes several on a machine that is busy."""


class FlytekitService:
    """`pyflyte serve connector` with those of a module of `tests/flytekit_connectors`; `more` are its variables. It can
    be stopped and started.
    """

    def __init__(self, home: Path, module: str, **more: Any) -> None:
        self.home = home
        self.jobs_directory = home / "jobs"
        self.jobs_directory.mkdir()
        self.port, self.metrics_port = free_ports(2)
        (home / "home").mkdir()
        command = [
            *(sys.executable, "-m", "flytekit.clis.sdk_in_container.pyflyte", "serve", "connector"),
            *("--port", str(self.port), "--prometheus_port", str(self.metrics_port), "--modules", module),
            *("--modules", "flytekit.sensor"),
        ]
        variables: dict[str, Any] = {
            "JOBS": self.jobs_directory,
            "PYTHONPATH": MODULES,
            "HOME": home / "home",
            "NO_COLOR": 1,
            **more,
        }
        variables["FLYTE_INTERNAL_IMAGE"] = "unused:1"  # of a Python newer than its images flytekit knows none
        environment = [f"{name}={value}" for name, value in variables.items()]
        self._process = ServerProcess("connector", ["env", *environment, *command], home / "connector.log")

    @property
    def settings(self) -> ConnectorService:
        return ConnectorService(name="flytekit", endpoint=f"127.0.0.1:{self.port}", insecure=True)

    def start(self) -> None:
        self._process.start(self._listens, deadline=START_DEADLINE)

    def kill(self) -> None:
        self._process.stop(signal.SIGKILL)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that was created, in no order, also those that the service has forgotten."""
        files = sorted(self.jobs_directory.glob("*.json")) + sorted(self.jobs_directory.glob("*.forgotten"))
        return [json.loads(path.read_text()) for path in files]


@contextmanager
def flytekit_service(home: Path, module: str = "propeller_jobs", **more: Any) -> Iterator[FlytekitService]:
    service = FlytekitService(home, module, **more)
    service.start()
    try:
        yield service
    finally:
        service.kill()


Answer = Callable[[bytes, Any], Awaitable[bytes | list[bytes]]]
"""The bytes of one message, or of the messages of a stream."""


@asynccontextmanager
async def answering(
    calls: Mapping[str, Answer],
    name: str = "other",
    *,
    port: int = 0,
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[ConnectorService]:
    """A gRPC server that answers calls, by name, with bytes of the test's choice."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            operation = details.method.rpartition("/")[2]
            if (answer := calls.get(operation)) is None:
                return None
            if operation == "ExecuteTaskSync":

                async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
                    async for request in requests:
                        for message in _messages(await answer(request, context)):
                            yield message

                return grpc.stream_stream_rpc_method_handler(stream)
            if operation == "GetTaskLogs":

                async def lines(request: bytes, context: Any) -> AsyncIterator[bytes]:
                    for message in _messages(await answer(request, context)):
                        yield message

                return grpc.unary_stream_rpc_method_handler(lines)
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    target = f"127.0.0.1:{port}"
    port = server.add_insecure_port(target) if credentials is None else server.add_secure_port(target, credentials)
    await server.start()
    try:
        yield ConnectorService(name=name, endpoint=f"127.0.0.1:{port}", insecure=credentials is None, timeout=5.0)
    finally:
        await server.stop(None)


def _messages(answer: bytes | list[bytes]) -> list[bytes]:
    return answer if isinstance(answer, list) else [answer]


def wait_until(holds: Callable[[], bool], what: str, deadline: float = 60.0) -> None:
    end = time.monotonic() + deadline
    while not holds():
        assert time.monotonic() < end, f"{what} did not come true within {deadline} s"
        time.sleep(0.05)


def environment() -> dict[str, str]:
    """Variables of a process that serializes workflows with the tests' tasks."""
    return {"PYTHONPATH": os.pathsep.join([str(MODULES), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
