"""Faults of blob reads and writes."""

from __future__ import annotations

import asyncio
import random

from propeller.embedded.faults._profile import NO_FAULTS, FaultProfile
from propeller.errors import StorageError
from propeller.storage import Absence, ConditionalStore, Store


class FaultyStore:
    """Another store seen through faults; `profile` and `partitioned` may be changed at any time.

    More than 15 methods: those of a store.
    """

    def __init__(self, store: Store, rng: random.Random, profile: FaultProfile = NO_FAULTS) -> None:
        self._store = store
        self._rng = rng
        self.profile = profile
        self.partitioned = False
        self.is_local = store.is_local

    def read_now(self, uri: str, limit: int) -> bytes | Absence | None:
        if not self.is_local:
            return None
        self._trip(uri)
        return self._store.read_now(uri, limit)

    def write_now(self, uri: str, data: bytes) -> bool:
        if not self.is_local:
            return False
        self._trip(uri)
        done = self._store.write_now(uri, data)
        self._trip(uri)
        return done

    async def read(self, uri: str, limit: int) -> bytes:
        await self._travel(uri)
        data = await self._store.read(uri, limit)
        await self._travel(uri)
        return data

    async def write(self, uri: str, data: bytes) -> None:
        await self._travel(uri)
        await self._store.write(uri, data)
        await self._travel(uri)

    async def delete(self, uri: str) -> None:
        await self._travel(uri)
        await self._store.delete(uri)
        await self._travel(uri)

    async def create(self, uri: str, data: bytes) -> str | None:
        await self._travel(uri)
        done = await self._conditional.create(uri, data)
        await self._travel(uri)
        return done

    async def read_version(self, uri: str, limit: int) -> tuple[bytes, str]:
        await self._travel(uri)
        found = await self._conditional.read_version(uri, limit)
        await self._travel(uri)
        return found

    async def replace(self, uri: str, data: bytes, version: str) -> str | None:
        await self._travel(uri)
        done = await self._conditional.replace(uri, data, version)
        await self._travel(uri)
        return done

    async def copy(self, source: str, target: str) -> str | None:
        await self._travel(target)
        version = await self._conditional.copy(source, target)
        await self._travel(target)
        return version

    async def list_blobs(self, prefix: str, most: int) -> list[str]:
        await self._travel(prefix)
        return await self._conditional.list_blobs(prefix, most)

    async def exists(self, uri: str) -> bool:
        await self._travel(uri)
        return await self._conditional.exists(uri)

    async def aclose(self) -> None:
        await self._store.aclose()

    @property
    def _conditional(self) -> ConditionalStore:
        assert isinstance(self._store, ConditionalStore)
        return self._store

    async def _travel(self, uri: str) -> None:
        if pause := self.profile.pause(self._rng, self.profile.blob_latency / 2):
            await asyncio.sleep(pause)
        self._trip(uri)

    def _trip(self, uri: str) -> None:
        if self.partitioned or self._rng.random() < self.profile.blob_errors / 2:
            raise StorageError(f"the connection broke at {uri}")
