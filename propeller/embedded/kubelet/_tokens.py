"""The service account tokens of one pod: requested, written into its projected volumes, replaced before they expire.

Source: k8s.io/kubernetes/pkg/kubelet/token, which replaces a token after four fifths of its life.

Guarantees
    A file always holds a whole token. A token is bound to its pod: the API server refuses it once the pod is deleted.
Errors
    `obtain` raises PropellerErrors as the client does; while tokens are `kept`, they are logged, and requests repeated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from propeller.clock import Clock, parse_rfc3339
from propeller.embedded.kubelet._api import Api, Token
from propeller.errors import PropellerError
from propeller.kube._objects import Raw

_log = logging.getLogger(__name__)

_SECONDS = 3600
"""Kubernetes' default of a projected token's expirationSeconds."""


class TokenSource(msgspec.Struct, frozen=True):
    """One `serviceAccountToken` of a projected volume: the file `path` in `volume`."""

    volume: str
    path: str
    audience: str
    seconds: int


def token_sources(pod: Raw) -> Iterator[TokenSource]:
    """Return every token that the pod's volumes have."""
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (wanted := source.get("serviceAccountToken")) is not None:
                seconds = wanted.get("expirationSeconds") or _SECONDS
                yield TokenSource(volume["name"], wanted["path"], wanted.get("audience") or "", int(seconds))


class Tokens:
    """The tokens of one pod, or none unless it is `given` any. `refresh` is the share of a token's life after which it
    is replaced.
    """

    def __init__(self, pod: Raw, *, given: bool, api: Api, clock: Clock, retry: float, refresh: float) -> None:
        self._pod = pod
        self._sources = tuple(token_sources(pod)) if given else ()
        self._api = api
        self._clock = clock
        self._retry = retry
        self._refresh = refresh
        self._held: dict[TokenSource, tuple[str, float]] = {}
        """Each token, and when it is to be replaced, in epoch seconds."""
        self._first = asyncio.Event()
        """Set once there is one."""

    async def obtain(self) -> None:
        """Request the tokens that are missing or due."""
        for source in self._sources:
            if self._due(source) <= self._clock.now():
                await self._request(source)

    def of(self, volume: str) -> dict[str, bytes]:
        """Return the tokens of a volume by their paths."""
        return {source.path: token.encode() for source, (token, _) in self._held.items() if source.volume == volume}

    @asynccontextmanager
    async def kept(self, volumes: Path) -> AsyncIterator[None]:
        """Replace each token in its file below `volumes` when it is due, as long as the block runs."""
        if not self._sources:
            yield
            return
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(self._keep(volumes))
            yield
            keeper.cancel()

    async def _keep(self, volumes: Path) -> None:
        while True:
            await self._first.wait()
            await asyncio.sleep(max(min(map(self._due, self._held)) - self._clock.now(), 0.0))
            for source in [one for one in self._held if self._due(one) <= self._clock.now()]:
                try:
                    await self._request(source)
                    replace(volumes / source.volume / source.path, self._held[source][0].encode())
                except (PropellerError, OSError) as error:
                    _log.warning("token %s of pod %s: %s", source.path, self._pod["metadata"]["name"], error)
                    await asyncio.sleep(self._retry)

    def _due(self, source: TokenSource) -> float:
        return self._held[source][1] if source in self._held else 0.0

    async def _request(self, source: TokenSource) -> None:
        token: Token = await self._api.token(self._pod, source.audience, source.seconds)
        now = self._clock.now()
        life = max(parse_rfc3339(token.expires) - now, 0.0)
        self._held[source] = (token.text, now + life * self._refresh)
        self._first.set()


def replace(path: Path, content: bytes) -> None:
    """Write a file that readers never see in part."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
