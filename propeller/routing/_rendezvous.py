"""Weighted rendezvous hashing: which of some clusters a key belongs to, such that a change moves only what it must.

    score(cluster, key) = weight / -ln((h + 1/2) / 2^52)
    h = the upper 52 of the 64 bits of mix(blake2b(key) XOR blake2b(cluster))

A key belongs to the cluster with the highest score. `blake2b` has a digest of 8 bytes, little endian, and is
personalised with `propeller`; `mix` is the finalizer of SplitMix64.

Guarantees
    A cluster's part of the keys is its weight's part of all weights. A cluster that comes, or gets a higher weight,
    takes keys from others and moves none between them; one that goes, or gets a lower weight, only gives keys away.
    Scores depend on names, weights and the key alone: all processes find the same, whatever the order of clusters.
Source
    C. Schindelhauer, G. Schomaker, "Weighted Distributed Hash Tables", SPAA 2005, the logarithmic method; D. Thaler,
    C. V. Ravishankar, "Using name-based mappings to increase hit rates", 1998; G. Steele, D. Lea, C. Flood, "Fast
    Splittable Pseudorandom Number Generators", OOPSLA 2014 (the finalizer is D. Stafford's Mix13).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from math import log

_LANE = 128
"""Bits of one large integer that each cluster has: 64 of a hash, and 64 above them that hold a product's upper half. So
one operation of Python works on all clusters, which makes a decision among 50 cost a quarter of 50 hashes.
"""

_WORD = (1 << 64) - 1
_MANTISSA = (1 << 52) - 1
_ONE = 0x3FF << 52
"""The exponent of doubles from 1 to 2: with 52 bits of a hash as its mantissa, a double is 1 + h / 2^52."""

_BELOW_ONE = 1 - 2**-53
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Of SplitMix64."""


class Rendezvous:
    """Of some clusters by name, each with a weight above 0."""

    __slots__ = ("_bytes", "_exponents", "_mantissas", "_ones", "_seeds", "_unpack", "_weights", "_words", "names")

    def __init__(self, names: Sequence[str], weights: Sequence[float]) -> None:
        count = len(names)
        self.names = tuple(names)
        self._weights = tuple(weights)
        self._ones = sum(1 << (_LANE * lane) for lane in range(count))
        self._seeds = sum(_digest(name) << (_LANE * lane) for lane, name in enumerate(names))
        self._words = self._ones * _WORD
        self._mantissas = self._ones * _MANTISSA
        self._exponents = self._ones * _ONE
        self._bytes = count * _LANE // 8
        self._unpack = struct.Struct("<" + "d8x" * count).unpack

    def scores(self, key: str) -> list[float]:
        """The negative inverse of each cluster's score, ln(u) / weight, in the order of `names`: the highest wins."""
        words = self._words
        x = self._seeds ^ (self._ones * _digest(key))
        x = ((x ^ (x >> 30)) & words) * _FIRST & words
        x = ((x ^ (x >> 27)) & words) * _SECOND & words
        x = ((x ^ (x >> 31)) & words) >> 12 & self._mantissas
        doubles = self._unpack((x | self._exponents).to_bytes(self._bytes, "little"))
        return [log(double - _BELOW_ONE) / weight for double, weight in zip(doubles, self._weights, strict=True)]

    def ranking(self, key: str) -> list[tuple[float, str]]:
        """Each cluster with its score as the formula has it, the highest first; of equal ones by name."""
        found = [(-1 / score, name) for score, name in zip(self.scores(key), self.names, strict=True)]
        return sorted(found, key=lambda one: (-one[0], one[1]))


def _digest(text: str) -> int:
    data = text.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8, person=b"propeller").digest(), "little")
