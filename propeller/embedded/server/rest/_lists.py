"""Reads: one object, a list, a page of a list.

Guarantees
    All pages of a list show the objects as they were when its first was made, or the next is refused with 410.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from propeller.embedded.server import _storage
from propeller.embedded.server._errors import (
    Cause,
    Failure,
    bad_request,
    expired,
    forbidden_field,
    invalid,
    not_found,
    unsupported_value,
    version_too_large,
)
from propeller.embedded.server._storage import Collection, Record, Storage
from propeller.embedded.server.negotiation._render import list_response, object_response
from propeller.embedded.server.negotiation._requests import META_GROUP, Call, Target, number_in
from propeller.embedded.server.rest._selection import Selection, selection_of
from propeller.kube import Response

_LIST_EXPIRED = "The resourceVersion for the provided list is too old."
_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Token(msgspec.Struct, frozen=True):
    """The beginning of the next page: after the key `start`, as of version `rv`; -1 for the latest."""

    rv: int = 0
    start: str = ""
    v: str = "meta.k8s.io/v1"


_TOKENS = msgspec.json.Decoder(Token)


def record_of(target: Target) -> Record:
    """The object that a path names. Raises Failure."""
    kind = target.kind
    key = f"{target.namespace}/{target.name}" if target.namespace else target.name
    record = kind.collection.records.get(key)
    if record is None:
        raise not_found(kind.group, kind.plural, target.name)
    return record


def get(call: Call, storage: Storage, now: float) -> Response:
    """One object."""
    if asked := call.query.get("resourceVersion"):
        not_in_future(parse_version(asked), storage)
    return object_response(call, record_of(call.target), now)


def list_objects(call: Call, storage: Storage, now: float) -> Response:
    """A list, whole or a page."""
    return list_response(call, *listed(call, storage), now)


def listed(call: Call, storage: Storage) -> tuple[Iterable[Record], dict[str, Any]]:
    """The records of a list, whole or a page, and its metadata. Raises Failure."""
    query, target = call.query, call.target
    _validate(query)
    selection = selection_of(target, query)
    limit = number_in(query, "limit")
    version, after, exact = _start(query, storage, limit)
    if query.get("resourceVersion") == "0" and not query.get("continue"):
        limit = 0  # answered from the cache, which knows no pages
    in_the_past = exact and version != storage.version
    found = _records(target.kind.collection, selection, version, after, in_the_past)
    metadata: dict[str, Any] = {"resourceVersion": str(version)} | ({"continue": ""} if target.kind.custom else {})
    if limit <= 0:
        return found, metadata
    page = list(itertools.islice(found, limit))
    if next(found, None) is not None:
        metadata["continue"] = encode_token(Token(version, page[-1].key + "\0"))
        if in_the_past and not selection.is_selective:
            metadata["remainingItemCount"] = 1 + sum(1 for _ in found)
        elif not selection.is_selective:
            metadata["remainingItemCount"] = target.kind.collection.count(selection.namespace, page[-1].key)
    return page, metadata


def _records(
    collection: Collection, selection: Selection, version: int, after: str, in_the_past: bool
) -> Iterator[Record]:
    namespace = selection.namespace
    if in_the_past:
        try:
            found: Iterable[Record] = collection.at(version, namespace, after)
        except _storage.Expired as error:
            raise _expired(after) from error
    else:
        found = map(collection.records.__getitem__, collection.keys(namespace, after))
    return filter(selection.matches, found) if selection.is_selective else iter(found)


def _expired(after: str) -> Failure:
    if not after:
        return expired(_LIST_EXPIRED)
    return expired(_CONTINUE_EXPIRED, continue_token=encode_token(Token(-1, after + "\0")))


def _start(query: Mapping[str, str], storage: Storage, limit: int) -> tuple[int, str, bool]:
    """The version to list at, the key to begin after, and whether it must be exactly that version."""
    asked = query.get("resourceVersion", "")
    if text := query.get("continue", ""):
        token = decode_token(text)
        if asked not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        after = token.start.removesuffix("\0")
        return (token.rv, after, True) if token.rv > 0 else (storage.version, after, False)
    if not asked:
        return storage.version, "", False
    version = parse_version(asked)
    not_in_future(version, storage)
    match = query.get("resourceVersionMatch", "")
    if match == "Exact" or (not match and limit > 0 and version > 0):
        return version, "", True
    return storage.version, "", False


def parse_version(text: str) -> int:
    """A resourceVersion that a client sent. Raises Failure."""
    if not text.isdecimal():
        why = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: {why}")
    return int(text)


def not_in_future(version: int, storage: Storage) -> None:
    """Raises Failure for a version that is yet to come: this server's reads never have to wait for one."""
    if version > storage.version:
        raise version_too_large(version, storage.version)


def encode_token(token: Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decode_token(text: str) -> Token:
    """Raises Failure for anything that is no token of this server."""
    try:
        token = _TOKENS.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, msgspec.DecodeError) as error:  # text that is no base64, or not even ASCII
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error
    if token.v != "meta.k8s.io/v1" or not token.start or token.rv == 0:
        raise bad_request("invalid continue token: continue key is not valid: incorrect encoded start resourceVersion")
    return token


def _validate(query: Mapping[str, str]) -> None:
    causes: list[Cause] = []
    match, field = query.get("resourceVersionMatch", ""), "resourceVersionMatch"
    if match:
        if not query.get("resourceVersion"):
            causes.append(forbidden_field(field, f"{field} is forbidden unless resourceVersion is provided"))
        if query.get("continue"):
            causes.append(forbidden_field(field, f"{field} is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            causes.append(unsupported_value(field, match, ("Exact", "NotOlderThan", "")))
        if match == "Exact" and query.get("resourceVersion") == "0":
            causes.append(forbidden_field(field, f'{field} "exact" is forbidden for resourceVersion "0"'))
    if "sendInitialEvents" in query:
        causes.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if causes:
        raise invalid(META_GROUP, "ListOptions", "", causes)
