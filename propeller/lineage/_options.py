"""Options of the OpenLineage events. Units are in the docstrings."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from propeller.redaction import shown_url

TOKEN = "PROPELLER_LINEAGE_TOKEN"  # noqa: S105  it is a name
"""The variable with the bearer token."""


class LineageOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenLineage events of executions and tasks. Without a URL they cost nothing."""

    url: str = ""
    """`file:///path` of a file to which a line of JSON is added for each event, or the `http(s)://` URL of a server
    that takes them (Marquez: `http://host:5000/api/v1/lineage`). Empty: no events.

    A bearer token is no setting: it is in the environment as `PROPELLER_LINEAGE_TOKEN`, or in `token_file`.
    """

    token_file: str = ""
    """Read at each request, so that a changed secret is used without a restart."""

    namespace: str = ""
    """Namespace of the jobs; empty: that of the execution's resource, which is `PROJECT-DOMAIN` by default."""

    items: int = 1000
    """Items of a map node that have events of their own. Of a node with more items, none has: a catalog of runs is no
    place for 100,000 of one node, and they would fill the queue.
    """

    queue: int = 10_000
    """Events that wait to be sent, of about a kilobyte. While the receiver is down or slow, those that come when it is
    full are dropped, and counted.
    """

    at_once: int = 8
    """Requests under way, each on a connection that stays open, and events that are made of outputs at the same time.
    """

    timeout: float = 10.0
    """Seconds for one request, for reading the inputs and outputs of one task, and, when the process ends, for what
    waits still.
    """

    def __post_init__(self) -> None:
        if self.url:
            _check_url(self.url)
        if not 0 <= self.items <= 100_000:
            raise ValueError(f"items must be from 0 to 100000, and is {self.items}")
        if not 1 <= self.queue <= 1_000_000:
            raise ValueError(f"queue must be from 1 to 1000000, and is {self.queue}")
        if not 1 <= self.at_once <= 100:
            raise ValueError(f"at_once must be from 1 to 100, and is {self.at_once}")
        if not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout must be over 0, and is {self.timeout}")


def _check_url(url: str) -> None:
    """Raise ValueError for a URL that cannot be used, without the secrets that it may have."""
    shown = shown_url(url)
    try:
        parts = urlsplit(url)
        is_file = parts.scheme == "file" and not parts.netloc and len(parts.path) > 1
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_file = is_http = False
    if not is_file and not is_http:
        raise ValueError(f"url is {shown!r}: write file:///absolute/path, or http(s)://host/api/v1/lineage")
    if shown != url:
        raise ValueError(
            f"url {shown!r} has a user, a query or a fragment: write the token to {TOKEN} in the environment, or to "
            "token_file"
        )
