"""Read and write the shard map, which is an annotation of the group's Lease.

Guarantees
    A write replaces the map that it was computed from, or changes nothing.
    The map that this process knows never becomes older, whatever the cache shows.
"""

from __future__ import annotations

import msgspec

from propeller.errors import AlreadyExists, Conflict, NotFound
from propeller.informers import went_back
from propeller.kube import LEASES, Client, Lease, ObjectMeta
from propeller.reconcile.shards._shard_map import ShardMap, decode_map, encode_map

GROUP_LABEL = "propeller.dev/shards"
"""On all Leases of a group: its name."""

MAP_ANNOTATION = "propeller.dev/shard-map"
"""On the group's Lease: the shard map, as JSON."""


class MapStore:
    """The map of the group `namespace/name`, which divides `count` shards (0: as it says), the last of them `named`."""

    def __init__(self, client: Client, namespace: str, name: str, count: int, named: tuple[str, ...] = ()) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._empty = ShardMap(count, named=named)
        self._lease: Lease | None = None
        self.map = self._empty
        """The newest that is known."""

    def saw(self, lease: Lease | None) -> None:
        """Note the group's Lease as the cache has it. Raises Invalid if its map cannot be used: see `decode_map`."""
        if lease is None or (
            self._lease is not None
            and self._lease.metadata.uid == lease.metadata.uid
            and not went_back(lease.metadata.resource_version, self._lease.metadata.resource_version)
        ):
            return
        self._take(lease)

    async def read(self) -> None:
        """Ask the server. Raises as `decode_map`, and what the client raises."""
        try:
            self._take(await self._client.get(LEASES, self._name, self._namespace))
        except NotFound:
            self._lease, self.map = None, self._empty

    async def write(self, after: ShardMap) -> bool:
        """Write the map in the place of the one that is known; False if another was written meanwhile, which is known
        then. Raises Invalid, and what the client raises: then it may have been written.
        """
        annotations = {MAP_ANNOTATION: encode_map(after)}
        try:
            if self._lease is None:
                metadata = ObjectMeta(
                    name=self._name,
                    namespace=self._namespace,
                    labels={GROUP_LABEL: self._name},
                    annotations=annotations,
                )
                written = await self._client.create(LEASES, Lease(metadata=metadata), self._namespace)
            else:
                known = self._lease.metadata
                metadata = msgspec.structs.replace(
                    known,
                    labels={**(known.labels or {}), GROUP_LABEL: self._name},
                    annotations={**(known.annotations or {}), **annotations},
                )
                changed = msgspec.structs.replace(self._lease, metadata=metadata)
                written = await self._client.replace(LEASES, changed, self._name, self._namespace)
        except (AlreadyExists, Conflict, NotFound):
            await self.read()
            return False
        self._take(written)
        return True

    def _take(self, lease: Lease) -> None:
        text = (lease.metadata.annotations or {}).get(MAP_ANNOTATION, "")
        where = f"{self._namespace}/{self._name}"
        empty = self._empty
        self.map = decode_map(text, empty.count, where, empty.named) if text else empty
        self._lease = lease
