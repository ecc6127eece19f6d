"""Parse the URI of a blob: the scheme selects the store, the rest is that store's own.

Paths are not percent-decoded, because tasks do not decode them either (fsspec's `file://` and `s3://`): decoding would
name another file.
"""

from __future__ import annotations

from propeller.errors import Invalid


def scheme_of(uri: str) -> str:
    """Return the scheme; "" if there is none."""
    scheme, separator, _ = uri.partition("://")
    return scheme if separator else ""


def uri_of(place: str) -> str:
    """Return the URI of a place that a task has written: flytekit writes local files as paths."""
    return f"file://{place}" if place.startswith("/") else place


def file_path(uri: str) -> str:
    """Return the path of a `file://` URI; raises Invalid if it is not absolute."""
    path = uri.removeprefix("file://")
    if not path.startswith("/"):
        raise Invalid(f"{uri!r} names no absolute path: write it like file:///data/propeller")
    if "\0" in path:
        raise Invalid(f"{uri!r} holds a NUL character, which no path may")
    return path


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return bucket and key of an `s3://` URI; raises Invalid if one is missing."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if key.endswith("/"):
        raise Invalid(f"{uri!r} names a directory, and a blob's key does not end with '/'")
    if not bucket or not key:
        raise Invalid(f"{uri!r} lacks a {'key' if bucket else 'bucket'}: write it like s3://bucket/some/key")
    return bucket, key
