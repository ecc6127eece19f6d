"""Closures that several executions share: where they are stored, and how one is told from any other blob.

They are the static part of a resource as JSON, named by their content. Nobody's own directory can have this name: those
of executions have a '-' or are names of Kubernetes, which have no '_'.
"""

from __future__ import annotations

import hashlib
import re

_DIRECTORY = "_closures"
_NAMED = re.compile(rf"/{_DIRECTORY}/([0-9a-f]{{64}})\.json\Z")


def shared_closure_uri(metadata_prefix: str, closure: bytes) -> str:
    """Return where a closure is stored below `storage.metadata_prefix`."""
    return f"{metadata_prefix.rstrip('/')}/{_DIRECTORY}/{_digest(closure)}.json"


def is_shared_closure(uri: str) -> bool:
    """Whether a URI is that of such a closure, below any prefix."""
    return _NAMED.search(uri) is not None


def is_content_of(uri: str, closure: bytes) -> bool:
    """Whether a blob is what the URI of a shared closure says."""
    named = _NAMED.search(uri)
    return named is not None and named[1] == _digest(closure)


def _digest(closure: bytes) -> str:
    return hashlib.sha256(closure).hexdigest()
