"""Backup copies of everything that is stored, like etcd's snapshots.

Guarantees
    A copy is of one moment, and later changes do not affect it.
    Restoring brings back every object as it was, including uid and resourceVersion, and the version counter: it goes
    back, unless it is bumped (etcdutl snapshot restore --bump-revision --mark-compacted). The history before the
    restore is gone.
Source: etcd's etcdutl/snapshot; https://kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from propeller.embedded.server._storage import Collection, Record, Storage


class Backup(msgspec.Struct, frozen=True):
    """All objects at one version, by the name of their collection."""

    version: int
    collections: Mapping[str, tuple[Record, ...]]


def back_up(storage: Storage) -> Backup:
    """A copy of now."""
    collections = {collection.name: tuple(collection.records.values()) for collection in storage.collections}
    return Backup(storage.version, collections)


def restore(storage: Storage, backup: Backup, bump: int) -> None:
    """Fill an empty storage that has every collection of the copy. Listeners hear of each object as of a new one."""
    collections = {collection.name: collection for collection in storage.collections}
    found: list[tuple[Collection, Record]] = [
        (collections[name], record) for name, records in backup.collections.items() for record in records
    ]
    for collection, record in sorted(found, key=lambda one: one[1].version):
        storage.put(collection, record, None)
    storage.go_on_from(backup.version + bump)
