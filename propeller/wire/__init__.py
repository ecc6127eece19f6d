"""The wire format of protobuf, read without parsing: literals as slices of bytes, and how many messages bytes hold.

A parsed message takes up to a hundred times its bytes, and the parser keeps the interpreter's lock while it works. So
the outputs of tasks are taken apart here by name, key or index, copied as bytes, and parsed only if needed, after
its messages have been counted.

Guarantees
    The result is that of protobuf's own parsers, or the bytes are refused: groups, and single fields that occur twice,
    which no serializer writes, are.
    Nothing takes more memory than 16 bytes for an item of a list, and 200 for a name, up to `MAX_NAMES`.
    Loops are Python's, so that a thread that runs one lets the event loop run.
Errors
    CorruptBlob, whose text ends with the fault.
"""

from propeller.wire._encoded import Encoded
from propeller.wire._fields import (
    COLLECTION,
    EMPTY,
    FIRST,
    HASH,
    MAP,
    MAX_NAMES,
    MAX_OTHER_KEYS,
    OFFLOADED,
    SCALAR,
    SECOND,
    Items,
    Slice,
    TooMany,
    entries,
    entry,
    fields,
    item,
    only,
    text,
    value_of,
    whole,
)
from propeller.wire._literals import PARSED_MESSAGES, UNCOUNTED_BYTES, ByName, Literals
from propeller.wire._parse import MAX_DEPTH, TooManyMessages, count, parse
from propeller.wire._typed_text import literal_of, simple_name, type_name

__all__ = [
    "COLLECTION",
    "EMPTY",
    "FIRST",
    "HASH",
    "MAP",
    "MAX_DEPTH",
    "MAX_NAMES",
    "MAX_OTHER_KEYS",
    "OFFLOADED",
    "PARSED_MESSAGES",
    "SCALAR",
    "SECOND",
    "UNCOUNTED_BYTES",
    "ByName",
    "Encoded",
    "Items",
    "Literals",
    "Slice",
    "TooMany",
    "TooManyMessages",
    "count",
    "entries",
    "entry",
    "fields",
    "item",
    "literal_of",
    "only",
    "parse",
    "simple_name",
    "text",
    "type_name",
    "value_of",
    "whole",
]
