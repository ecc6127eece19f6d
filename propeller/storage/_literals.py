"""Read and write flyteidl literals in blobs: whole maps, and single literals that were offloaded because of their size.

Literals that are only passed on are not parsed (`wire.Literals`): tasks wrote them, and the parsed form may take a
hundred times their bytes.
"""

from __future__ import annotations

from flyteidl.core import literals_pb2

from propeller.errors import CorruptBlob
from propeller.storage._storage import Storage
from propeller.storage._threads import in_thread_if_large
from propeller.wire import (
    HASH,
    OFFLOADED,
    PARSED_MESSAGES,
    Encoded,
    Literals,
    Slice,
    only,
    parse,
    text,
    value_of,
    whole,
)

LIMIT = "storage.max_messages"
"""The setting that limits how many messages are parsed."""


async def open_literals(storage: Storage, uri: str) -> Literals:
    """Open the map stored at `uri`, without parsing it. Raises as `Storage.read`, and CorruptBlob if it is not a
    map.
    """
    return literals_of(await storage.read(uri), uri)


def literals_of(data: bytes, uri: str) -> Literals:
    """The map whose bytes `uri` holds. Raises CorruptBlob."""
    try:
        return Literals(data)
    except CorruptBlob as error:
        raise CorruptBlob(f"{uri} ({len(data)} bytes) is not a flyteidl.core.LiteralMap: {error}") from error


async def read_literals(storage: Storage, uri: str) -> literals_pb2.LiteralMap:
    """The map stored at `uri`, parsed. Raises as `open_literals`, and CorruptBlob over `storage.max_messages`."""
    data = await storage.read(uri)
    most = storage.settings.max_messages
    return await in_thread_if_large(len(data), parse, literals_pb2.LiteralMap, data, most, uri, LIMIT)


async def write_literals(storage: Storage, uri: str, literals: Literals | literals_pb2.LiteralMap) -> None:
    """Store a map. The same map gives the same bytes, so that writing it again changes nothing.

    Raises as `Storage.write`, and Invalid if it is over storage.max_blob_bytes.
    """
    if isinstance(literals, Literals):
        encoded = literals.encode().require(storage.settings.max_blob_bytes, uri)
        await storage.write(uri, encoded.tobytes())
    else:
        await storage.write(uri, literals.SerializeToString(deterministic=True))


async def read_offloaded(storage: Storage, literal: Slice) -> Slice:
    """Return the literal, read from its URI if it was offloaded. Its hash is kept.

    Raises as `Storage.read`, Invalid for a URI that may not be read, and CorruptBlob if the content does not match the
    literal.
    """
    kind, reference = value_of(literal)
    if kind != OFFLOADED:
        return literal
    metadata = parse(
        literals_pb2.LiteralOffloadedMetadata, reference.tobytes(), PARSED_MESSAGES, "an offloaded literal's metadata"
    )
    uri, size = metadata.uri, metadata.size_bytes
    if not uri:
        raise CorruptBlob("an offloaded literal does not say where it is: its uri is empty")
    storage.require_readable(uri, "offloaded_metadata.uri of a literal")
    data = await storage.read(uri)
    if size and size != len(data):
        raise CorruptBlob(f"{uri} has {len(data)} bytes; the literal that was offloaded there had {size}")
    try:
        found, _ = value_of(whole(data))
        own, given = only(whole(data), (HASH,)), only(literal, (HASH,))
        text(own[1]), text(given[1])
    except CorruptBlob as error:
        raise CorruptBlob(f"{uri} ({len(data)} bytes) is not a flyteidl.core.Literal: {error}") from error
    if found == OFFLOADED:
        raise CorruptBlob(f"{uri} holds an offloaded literal: one may not lead to another")
    if given[1].size and not own[1].size:
        return whole(Encoded((data,)).add(HASH, given[1]).tobytes())
    return whole(data)
