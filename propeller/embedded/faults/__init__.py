"""Faults drawn from a seed: between a client and the embedded API server, and in the object store.

`FaultyLink` is an interceptor for `ApiServer.transport`, `FaultyStore` a store for `Storage`; both take a `Weather`,
which says how bad it is now.
"""

from propeller.embedded.faults._link import FaultyLink
from propeller.embedded.faults._store import FaultyStore
from propeller.embedded.faults._weather import FAIR, Weather

__all__ = ["FAIR", "FaultyLink", "FaultyStore", "Weather"]
