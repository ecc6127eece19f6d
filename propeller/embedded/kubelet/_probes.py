"""A container's probes: whether it has started, is alive, and is ready.

Source: k8s.io/kubernetes/pkg/kubelet/prober. Liveness and readiness begin once the start-up probe has succeeded.

Caveats
    Probes by `exec` and `grpc` are ignored, as if the container had none. Certificates are not verified; upstream's
    kubelet does not either.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from propeller.kube._objects import Raw

_STARTUP, _LIVENESS, _READINESS = "startupProbe", "livenessProbe", "readinessProbe"
_GRACE = 30.0  # seconds that a container has to end, as pods have by default
_STATUS_BYTES = 4096  # of an answer, whose first line is read


class Health:
    """What a container's probes have found. Without probes, a container that runs has started and is ready."""

    def __init__(self, container: Raw) -> None:
        self.started = not _asks(container, _STARTUP)
        self.ready = self.started and not _asks(container, _READINESS)


class Unhealthy(msgspec.Struct, frozen=True):
    """A container has to be restarted: which probe failed, and how."""

    probe: str
    why: str


def has_probes(container: Raw) -> bool:
    return any(_asks(container, kind) for kind in (_STARTUP, _LIVENESS, _READINESS))


@asynccontextmanager
async def probing(
    container: Raw,
    health: Health,
    kill: Callable[[int], None],
    address: str,
    changed: Callable[[], None],
    unhealthy: Callable[[Unhealthy], None],
) -> AsyncIterator[None]:
    """Probe a container that runs at `address` as long as the block runs: keep `health`, call `changed` when it is
    another, and end the container, after a call of `unhealthy`, when it has to be restarted.
    """

    async def end_if_unhealthy() -> None:
        unhealthy(await _probe(container, address, health, changed))
        kill(signal.SIGTERM)
        await asyncio.sleep(_GRACE)
        kill(signal.SIGKILL)

    async with asyncio.TaskGroup() as group:
        prober = group.create_task(end_if_unhealthy())
        try:
            yield
        finally:
            prober.cancel()


async def _probe(container: Raw, address: str, health: Health, changed: Callable[[], None]) -> Unhealthy:
    """Return why the container has to be restarted, once it has."""
    if _asks(container, _STARTUP):
        async for why in _verdicts(container, _STARTUP, address):
            if why:
                return Unhealthy("Startup", why)
            break
        health.started = True
        health.ready = not _asks(container, _READINESS)
        changed()
    async with asyncio.TaskGroup() as group:
        readiness = group.create_task(_keep_ready(container, address, health, changed))
        found = await _unhealthy(container, address)
        readiness.cancel()
    return found


async def _unhealthy(container: Raw, address: str) -> Unhealthy:
    if _asks(container, _LIVENESS):
        async for why in _verdicts(container, _LIVENESS, address):
            if why:
                return Unhealthy("Liveness", why)
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # until cancelled


async def _keep_ready(container: Raw, address: str, health: Health, changed: Callable[[], None]) -> None:
    if _asks(container, _READINESS):
        async for why in _verdicts(container, _READINESS, address):
            if health.ready == bool(why):
                health.ready = not why
                changed()


async def _verdicts(container: Raw, kind: str, address: str) -> AsyncIterator[str]:
    """Yield after each try that makes the successes in a row ("") or failures in a row (why) reach their threshold."""
    spec = container[kind]
    await asyncio.sleep(spec.get("initialDelaySeconds") or 0)
    in_a_row = 0  # failures are negative
    while True:
        why = await _try(container, spec, address)
        in_a_row = min(in_a_row, 0) - 1 if why else max(in_a_row, 0) + 1
        if in_a_row >= (spec.get("successThreshold") or 1) or -in_a_row >= (spec.get("failureThreshold") or 3):
            yield why
        await asyncio.sleep(spec.get("periodSeconds") or 10)


async def _try(container: Raw, spec: Raw, address: str) -> str:
    """Return why a probe fails, "" if it succeeds."""
    try:
        async with asyncio.timeout(spec.get("timeoutSeconds") or 1):
            if "tcpSocket" in spec:
                _, writer = await _connect(container, spec["tcpSocket"], address)
                writer.close()
                return ""
            return await _get(container, spec["httpGet"], address)
    except TimeoutError:
        return "context deadline exceeded"
    except (OSError, ValueError) as error:
        return str(error)


async def _get(container: Raw, spec: Raw, address: str) -> str:
    reader, writer = await _connect(container, spec, address)
    try:
        path = spec.get("path") or "/"
        headers = {"Host": address, "User-Agent": "kube-probe/1.37", "Connection": "close"}
        headers |= {one["name"]: one["value"] for one in spec.get("httpHeaders") or ()}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = (await reader.readline()).split(b" ")
        if len(status) < 2 or not status[1].isdigit():
            return "malformed HTTP response"
        code = int(status[1])
        return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"
    finally:
        writer.close()


async def _connect(container: Raw, spec: Raw, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = spec["port"]
    if isinstance(port, str):
        named = [one["containerPort"] for one in container.get("ports") or () if one.get("name") == port]
        if not named:
            raise ValueError(f"couldn't find port: {port}")
        port = named[0]
    tls = None
    if spec.get("scheme") == "HTTPS":
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection(spec.get("host") or address, port, ssl=tls, limit=_STATUS_BYTES)


def _asks(container: Raw, kind: str) -> bool:
    """Return whether the container has this probe, by a means that is supported."""
    spec = container.get(kind) or {}
    return "httpGet" in spec or "tcpSocket" in spec
