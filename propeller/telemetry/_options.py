"""Who may ask for metrics and probes. Units are in the docstrings."""

from __future__ import annotations

import msgspec


class MetricsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask for metrics and probes, and how slowly. In a pod the port is open to all of the cluster."""

    connections: int = 64
    """At once. A scrape and a probe take one each, for milliseconds; a process has 1024 descriptors by default, and
    most are for the API server and the object store. One more makes the one go that has sent nothing for longest.
    """

    head_seconds: float = 10.0
    """Seconds until a request's head has to be whole. Probes give up after 1 by default, Prometheus after 10."""

    head_bytes: int = 16 * 1024
    """Bytes of a request's head: more than any scraper sends."""

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ValueError(f"connections must be at least 1: at {self.connections}, no probe would be answered")
