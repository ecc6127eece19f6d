"""flyteidl literals in blobs: whole maps, and single ones that were moved out of them for their size.

What is read to be passed on is not parsed (`wire.Literals`): tasks wrote it, and its parsed form may be a hundred times
its bytes.
"""

from __future__ import annotations

from flyteidl.core import literals_pb2

from propeller.errors import CorruptBlob
from propeller.storage._apart import apart
from propeller.storage._storage import Storage
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
"""The setting that limits what is parsed whole."""


async def open_literals(storage: Storage, uri: str) -> Literals:
    """The map stored at `uri`, not parsed. Raises what `Storage.read` does, and CorruptBlob if it is something else."""
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
    return await apart(len(data), parse, literals_pb2.LiteralMap, data, storage.settings.max_messages, uri, LIMIT)


async def write_literals(storage: Storage, uri: str, literals: Literals | literals_pb2.LiteralMap) -> None:
    """Store a map: the same map as the same bytes, so that writing it again changes nothing.

    Raises what `Storage.write` does, and Invalid if it is over the limit of storage.max_blob_bytes.
    """
    if isinstance(literals, Literals):
        encoded = literals.encode().require(storage.settings.max_blob_bytes, uri)
        await storage.write(uri, encoded.tobytes())
    else:
        await storage.write(uri, literals.SerializeToString(deterministic=True))


async def read_offloaded(storage: Storage, literal: Slice) -> Slice:
    """The literal itself: read from where it was moved to, if it was. Its hash is kept.

    Raises what `Storage.read` does, Invalid for a URI that may not be read, and CorruptBlob if what is there is not
    what the literal says.
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
