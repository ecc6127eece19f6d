"""Faults drawn from a seed, between a client and the embedded API server, and in the object store.

`FaultyLink` is an interceptor for `ApiServer.transport`, `FaultyStore` wraps a store for `Storage`. Both take a
`FaultProfile`, which says how likely each fault is.
"""

from propeller.embedded.faults._link import FaultyLink
from propeller.embedded.faults._profile import NO_FAULTS, FaultProfile
from propeller.embedded.faults._store import FaultyStore

__all__ = ["NO_FAULTS", "FaultProfile", "FaultyLink", "FaultyStore"]
