"""How lists and watches are followed. Units are in the docstrings."""

from __future__ import annotations

import msgspec

from propeller.bounds import PositiveFloat


class InformerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How caches follow the API server."""

    watch_timeout: PositiveFloat = 300.0
    """Seconds after which the server ends a watch and we resume it. client-go draws 5-10 minutes; shorter sheds load
    sooner.
    """

    progress_deadline: PositiveFloat = 90.0
    """Seconds without an event or bookmark after which a stream is taken for half-open. The server sends a bookmark a
    minute.
    """

    stream_lists: bool = False
    """Whether to ask for lists as a stream of events (WatchList, KEP-3157) rather than by pages. That spares the server
    some memory and costs us twice the CPU (65 against 32 us a pod), as each object comes for itself. Servers that do
    not know it are asked for pages all the same.
    """

    backoff: PositiveFloat = 0.5
    """Seconds before the first retry of a failed list or watch, or one that ended before its time; doubles, with
    jitter, up to `backoff_cap`, and is reset after two of those without a failure.
    """

    backoff_cap: PositiveFloat = 30.0
    """Seconds. After an outage every client comes back within this time, spread out by jitter."""
