"""The object store: blobs by URI in files, memory or S3, and flyteidl literals in and out of them.

One `Storage` for a process, opened with `async with`; everything else here works through it.
"""

from propeller.storage._literals import literals_of, open_literals, read_literals, read_offloaded, write_literals
from propeller.storage._options import StorageOptions, own_directory
from propeller.storage._private import make_private
from propeller.storage._readable import require_names
from propeller.storage._resolve import Lookup, promised_nodes, resolve
from propeller.storage._storage import Storage
from propeller.storage._stores import MISSING, Absence, ConditionalStore, MemoryStore, Store
from propeller.storage._structs import struct_to_python
from propeller.storage._text import literal_to_text
from propeller.storage._threads import in_thread_if_large
from propeller.storage._uri import uri_of

__all__ = [
    "MISSING",
    "Absence",
    "ConditionalStore",
    "Lookup",
    "MemoryStore",
    "Storage",
    "StorageOptions",
    "Store",
    "in_thread_if_large",
    "literal_to_text",
    "literals_of",
    "make_private",
    "open_literals",
    "own_directory",
    "promised_nodes",
    "read_literals",
    "read_offloaded",
    "require_names",
    "resolve",
    "struct_to_python",
    "uri_of",
    "write_literals",
]
