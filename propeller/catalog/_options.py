"""Options of the catalog: where cached outputs are, and how long a task waits for them. Units are in the docstrings."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from propeller.redaction import shown_url

PASSWORD = "PROPELLER_CATALOG_PASSWORD"  # noqa: S105  it is a name
"""The variable with the password of PostgreSQL."""


class CatalogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cache of outputs of tasks with `cache=True`. Tasks without it cost no request."""

    enabled: bool = True
    """Whether outputs are cached. Without, each task runs each time, as if it had no `cache=True`."""

    prefix: str = ""
    """URI below which cached outputs are stored: `file://` or `s3://`, the same for all controllers that share a cache.
    Empty: `catalog` below `storage.metadata_prefix`.
    """

    backend: str = ""
    """A database that keeps the cache instead of blobs below `prefix`: `sqlite:///absolute/path` of a file that the
    processes of one machine share, or `postgresql://host:port/database` (14 or later; needs the extra `sql`). Empty:
    the object store, which is there anyway.
    """

    username: str = ""
    """For PostgreSQL. It needs to create tables once, and to read and write them. Empty: the user of the process.

    A password is no setting: it is in the environment as `PROPELLER_CATALOG_PASSWORD`, or in `password_file`.
    """

    password_file: str = ""
    """Read at each connect, so that a changed secret is used without a restart."""

    sslmode: Literal["disable", "prefer", "require", "verify-full"] = "prefer"
    """TLS to PostgreSQL, in libpq's words and with its default. Only `verify-full` knows who answers."""

    ca_file: str = ""
    """PEM of the authority that has signed PostgreSQL's certificate, for `verify-full`; empty: those of the system."""

    connections: int = 4
    """To PostgreSQL at most, from each controller. A look-up takes a millisecond of one; servers allow a hundred."""

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
        if self.backend:
            _check_backend(self.backend)
        if self.ca_file and self.sslmode != "verify-full":
            raise ValueError(f"ca_file counts with sslmode verify-full alone, and sslmode is {self.sslmode}")
        if not 1 <= self.connections <= 100:
            raise ValueError(f"connections must be from 1 to 100, and is {self.connections}")
        for field in ("deadline", "outage_pause", "reservation_poll"):
            if not 0 < getattr(self, field) < float("inf"):
                raise ValueError(f"{field} must be over 0, and is {getattr(self, field)}")
        if not 3 <= self.reservation_ttl < float("inf"):
            raise ValueError(
                f"reservation_ttl must be at least 3, and is {self.reservation_ttl}: an object store may take a second"
            )


def _check_backend(uri: str) -> None:
    """Raise ValueError for a URI that names no database, without a password that it may have."""
    shown = shown_url(uri)
    try:
        parts = urlsplit(uri)
        is_sqlite = parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1
        is_postgresql = parts.scheme == "postgresql" and bool(parts.hostname) and len(parts.path) > 1
        is_postgresql = is_postgresql and (parts.port or 1) > 0
    except ValueError:
        is_sqlite = is_postgresql = False
    if not is_sqlite and not is_postgresql:
        raise ValueError(
            f"backend is {shown!r}: write sqlite:///absolute/path, or postgresql://host:port/database; prefix names an "
            "object store"
        )
    if shown != uri:
        raise ValueError(
            f"backend {shown!r} has a user, a query or a fragment: write the user to username, the password to "
            f"{PASSWORD} in the environment or to password_file, and the kind of TLS to sslmode"
        )
