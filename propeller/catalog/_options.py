"""Options of the catalog: where cached outputs are, and how long a task waits for them. Units are in the docstrings."""

from __future__ import annotations

import msgspec


class CatalogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cache of outputs of tasks with `cache=True`. Tasks without it cost no request."""

    enabled: bool = True
    """Whether outputs are cached. Without, each task runs each time, as if it had no `cache=True`."""

    prefix: str = ""
    """URI below which cached outputs are stored: `file://` or `s3://`, the same for all controllers that share a cache.
    Empty: `catalog` below `storage.metadata_prefix`.
    """

    deadline: float = 5.0
    """Seconds for a look into the cache, or for a put. A store that takes longer is as good as none: the task runs
    uncached.
    """

    outage_pause: float = 30.0
    """Seconds for which the cache is not asked after three failures in a row. Without a pause each task would wait for
    `deadline` twice while the store is down.
    """

    check_files: bool = True
    """Whether files, directories and tables that cached outputs refer to are looked for before they are used: one more
    request for each. Buckets have lifecycle rules, and a task that gets a URI of nothing fails.
    """

    reservation_ttl: float = 60.0
    """Seconds after which a reservation (`cache_serialize`) that its owner has not renewed is void. Larger, and
    executions wait longer for a controller that has crashed; smaller, and an object store that is slow for a while lets
    two tasks compute the same. It is renewed three times in this time.
    """

    reservation_poll: float = 10.0
    """Seconds between two looks at a reservation that another controller holds. Those of one controller wait for its
    end, not for this.
    """

    def __post_init__(self) -> None:
        for field in ("deadline", "outage_pause", "reservation_poll"):
            if not 0 < getattr(self, field) < float("inf"):
                raise ValueError(f"{field} must be over 0, and is {getattr(self, field)}")
        if not 3 <= self.reservation_ttl < float("inf"):
            raise ValueError(
                f"reservation_ttl must be at least 3, and is {self.reservation_ttl}: an object store may take a second"
            )
