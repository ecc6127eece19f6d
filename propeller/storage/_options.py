"""Options of storage: where blobs are stored, and how much of them is read. Units are in the docstrings."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from propeller.bounds import NonNegativeInt, PositiveFloat, PositiveInt


def own_directory() -> str:
    """Return this user's directory for propeller's state, used if no setting names another.

    For a user without a home it is among the temporary files; the code that creates it ensures that it is the user's
    own.
    """
    try:
        return str(Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "propeller")
    except RuntimeError:
        return f"{tempfile.gettempdir()}/propeller-{os.geteuid()}"


class StorageOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where inputs, outputs and offloaded state live."""

    metadata_prefix: str = ""
    """URI under which each execution keeps its inputs and outputs (FlytePropeller's metadata-prefix). Empty: below
    `$XDG_STATE_HOME/propeller` (`~/.local/state/propeller`), which is closed to other users; any user of the machine
    could create, read and write a shared directory.
    """

    raw_output_prefix: str = ""
    """URI under which tasks write files and data frames if the execution sets no other. Empty: beside the metadata."""

    read_prefixes: tuple[str, ...] = ()
    """URIs below which workflows may refer to blobs that the controller reads: inputs and closures that FlyteAdmin
    stored, literals that tasks offloaded, data of an earlier execution. Always allowed are the two prefixes above, and
    the whole buckets that contain them, where FlyteAdmin keeps its data. The controller writes only below
    `metadata_prefix`.
    """

    max_blob_bytes: PositiveInt = 64 * 1024 * 1024
    """Bytes. What a task writes is untrusted: a larger inputs, outputs or futures document is refused, not read."""

    max_messages: PositiveInt = 1_000_000
    """Messages in a protobuf document that has to be parsed whole (futures.pb, closures), and entries of a list or map
    that an attribute path leads through. A dynamic task of 50,000 nodes has 600,000 or more; a parsed message takes 100
    to 200 bytes, however few it has in the document, and a million take 50 ms to parse.
    """

    max_map_items: PositiveInt = 100_000
    """Items of a map task. As many as nodes of a workflow; each costs the controller a pod and 100 bytes."""

    cache_bytes: NonNegativeInt = 64 * 1024 * 1024
    """Bytes of literals kept in memory. A node's output is read once by the collector and soon again for its
    successors.
    """

    deadline: PositiveFloat = 30.0
    """Seconds for one read or write."""

    s3_endpoint: str = ""
    """URL of an S3-compatible server; empty means AWS. Credentials come from the usual AWS variables and files."""

    s3_region: str = "us-east-1"
    """Region to sign for; S3-compatible servers accept any."""

    def __post_init__(self) -> None:
        for field, name in (("metadata_prefix", "metadata"), ("raw_output_prefix", "raw")):
            if not getattr(self, field):
                msgspec.structs.force_setattr(self, field, f"file://{own_directory()}/{name}")
