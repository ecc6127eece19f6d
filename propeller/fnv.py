"""The FNV-1a hashes (http://www.isthe.com/chongo/tech/comp/fnv/), by which Flyte and Kubernetes name and shard."""

from __future__ import annotations


def fnv1a_32(data: bytes) -> int:
    return _fnv1a(data, 0x811C9DC5, 0x01000193, 0xFFFFFFFF)


def fnv1a_64(data: bytes) -> int:
    return _fnv1a(data, 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF)


def _fnv1a(data: bytes, offset: int, prime: int, mask: int) -> int:
    digest = offset
    for byte in data:
        digest = ((digest ^ byte) * prime) & mask
    return digest
