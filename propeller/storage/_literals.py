"""flyteidl literals in blobs: whole maps, and single ones that were moved out of them for their size."""

from __future__ import annotations

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from propeller.errors import CorruptBlob
from propeller.storage._storage import Storage


async def read_literals(storage: Storage, uri: str) -> literals_pb2.LiteralMap:
    """The map stored at `uri`. Raises what `Storage.read` does, and CorruptBlob where it is something else."""
    data = await storage.read(uri)
    try:
        return literals_pb2.LiteralMap.FromString(data)
    except DecodeError as error:
        raise CorruptBlob(f"{uri} ({len(data)} bytes) is not a flyteidl.core.LiteralMap") from error


async def write_literals(storage: Storage, uri: str, literals: literals_pb2.LiteralMap) -> None:
    """Store a map: the same map as the same bytes, so that writing it again changes nothing."""
    await storage.write(uri, literals.SerializeToString(deterministic=True))


async def read_offloaded(storage: Storage, literal: literals_pb2.Literal) -> literals_pb2.Literal:
    """The literal itself: read from where it was moved to, where it was. Its hash is kept.

    Raises what `Storage.read` does, and CorruptBlob where what is there is not what the literal says.
    """
    if literal.WhichOneof("value") != "offloaded_metadata":
        return literal
    uri, size = literal.offloaded_metadata.uri, literal.offloaded_metadata.size_bytes
    if not uri:
        raise CorruptBlob("an offloaded literal does not say where it is: its uri is empty")
    data = await storage.read(uri)
    if size and size != len(data):
        raise CorruptBlob(f"{uri} has {len(data)} bytes; the literal that was offloaded there had {size}")
    try:
        whole = literals_pb2.Literal.FromString(data)
    except DecodeError as error:
        raise CorruptBlob(f"{uri} ({len(data)} bytes) is not a flyteidl.core.Literal") from error
    if whole.WhichOneof("value") == "offloaded_metadata":
        raise CorruptBlob(f"{uri} holds an offloaded literal: one may not lead to another")
    whole.hash = whole.hash or literal.hash
    return whole
