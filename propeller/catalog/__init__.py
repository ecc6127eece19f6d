"""The cache of task outputs across executions: keys, entries, reservations, and what keeps them: an object store,
SQLite or PostgreSQL.
"""

from propeller.catalog._backend import Backend, Found, ObjectStore, Reserved, Reserving
from propeller.catalog._catalog import Catalog, Lookup
from propeller.catalog._entries import Origin, encode_entry, origin_of
from propeller.catalog._inventory import (
    MAX_LISTED,
    MAX_READ,
    Difference,
    Entry,
    Explanation,
    Paths,
    differences,
    evict,
    explain,
    list_paths,
    read_entries,
)
from propeller.catalog._key import ENTRY, RESERVATION, Key, key_of, task_path
from propeller.catalog._opening import DATABASES, store_of
from propeller.catalog._options import CatalogOptions
from propeller.catalog._reservations import Busy, Owner, Reservation, Reservations
from propeller.catalog._sql import SqlStore

__all__ = [
    "DATABASES",
    "ENTRY",
    "MAX_LISTED",
    "MAX_READ",
    "RESERVATION",
    "Backend",
    "Busy",
    "Catalog",
    "CatalogOptions",
    "Difference",
    "Entry",
    "Explanation",
    "Found",
    "Key",
    "Lookup",
    "ObjectStore",
    "Origin",
    "Owner",
    "Paths",
    "Reservation",
    "Reservations",
    "Reserved",
    "Reserving",
    "SqlStore",
    "differences",
    "encode_entry",
    "evict",
    "explain",
    "key_of",
    "list_paths",
    "origin_of",
    "read_entries",
    "store_of",
    "task_path",
]
