"""Names of pods and labels, derived from a node's identity alone, so that two controllers, or one before and after a
crash, use the same.

Formats are FlytePropeller's (pluginmachinery/encoding, nodes/common/utils.go): existing tools find pods and outputs by
them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from propeller.fnv import fnv1a_32

POD_NAME_LENGTH = 50
"""FlytePropeller's IDMaxLength: short enough to be a label value too."""

UNIQUE_ID_LENGTH = 20

HASHED_LENGTH = 8
"""Characters of an id that was too long: "f" and 32 bits in base32."""

PATH_LENGTH = 200
"""Characters of a node's path before it is replaced by its digest: deep nesting must not make long texts."""

CACHED_NAMES = 4_096
"""Names that are cached: each is used some ten times, most of them as its node starts and ends. Each takes 0.4 KB."""

CACHED_PATHS = 256
"""Paths of registered entities that are cached: a map asks for the one of its launch plan for each item."""

MAX_CACHED_CHARACTERS = 1000
"""Characters of one that is: a stranger chose them."""

_ENCODING = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"abcdefghijklmnopqrstuvwxyz123456")
_NOT_DNS_LABEL = re.compile(r"[^-a-z0-9]+")
_NOT_DNS_SUBDOMAIN = re.compile(r"[^-.a-z0-9]+")


def fixed_length_id(parts: tuple[str, ...], length: int) -> str:
    """The parts joined by "-" without leading empty ones; if longer than `length`, "f" and their FNV-1a hash."""
    joined = ""
    for part in parts:
        joined = f"{joined}-{part}" if joined else part
    if len(joined) <= length:
        return joined
    return "f" + flytes_base32(fnv1a_32(joined.encode()).to_bytes(4, "big"))


def flytes_base32(data: bytes) -> str:
    """Encode as flyteplugins' Base32Encoder does: an alphabet of its own, no padding."""
    return base64.b32encode(data).rstrip(b"=").translate(_ENCODING).decode()


def shortened(text: str, length: int) -> str:
    """The text, or its digest of 128 bits if it is longer."""
    return text if len(text) <= length else "~" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(CACHED_NAMES)
def unique_node_id(parent: str, parent_attempt: int, node_id: str) -> str:
    """A node's id that is unique in its execution: with its parent's unique id and attempt ("" at the top)."""
    parts = (parent, str(parent_attempt), node_id) if parent else (node_id,)
    return fixed_length_id(parts, UNIQUE_ID_LENGTH)


@lru_cache(CACHED_NAMES)
def pod_name(execution: str, unique_id: str, attempt: int) -> str:
    """`<execution>-<node>-<attempt>`, hashed if too long, and in the characters of a DNS subdomain."""
    name = fixed_length_id((execution, unique_id, str(attempt)), POD_NAME_LENGTH)
    return folded(name).strip("-.")


def entity_path(project: str, domain: str, name: str, version: str) -> str:
    """`project/domain/name/version` of a registered entity, each part quoted so that it cannot be two, nor none."""
    size = len(project) + len(domain) + len(name) + len(version)
    return (_cached_path if size <= MAX_CACHED_CHARACTERS else _path)(project, domain, name, version)


def _path(project: str, domain: str, name: str, version: str) -> str:
    return "/".join(_component(part) for part in (project, domain, name, version))


_cached_path = lru_cache(CACHED_PATHS)(_path)


def _component(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E") if text in {".", ".."} else quote(text, safe="") or "%-"


def execution_directories(prefixes: Iterable[str], own: str, uid: str) -> list[str]:
    """The directories that an execution may have, ours first: FlytePropeller's has no uid. `own` is
    `project-domain-name`.
    """
    return [f"{prefix.rstrip('/')}/{own}{end}" for prefix in prefixes for end in (f"-{uid[:8]}", "")]


def folded(text: str) -> str:
    """The text in the characters that a pod's name may have."""
    return _NOT_DNS_SUBDOMAIN.sub("-", text.lower())


@lru_cache(CACHED_NAMES)
def label_value(text: str) -> str:
    """Sanitize as FlytePropeller: lower case, "-" for all but letters and digits, at most 63 characters."""
    return _NOT_DNS_LABEL.sub("-", text.lower())[:63].strip("-")
