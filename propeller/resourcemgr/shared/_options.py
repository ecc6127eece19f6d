"""Options of the store that controllers share."""

from __future__ import annotations

from typing import Literal

import msgspec

from propeller.bounds import NonNegativeFloat, PositiveFloat


class RedisOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Redis (6 or later) as the store of tokens, for several controllers that share the pools of `resources`. All of
    them have to have the same `prefix` and `tree`, and should have the same `ttl`. See docs/limits.md.

    A password is no setting: it is in the environment as `PROPELLER_REDIS_PASSWORD`, or in `password_file`.
    """

    url: str = ""
    """`redis://host:port/database`, or `rediss://` for TLS. Of a cluster, any of its nodes. Empty: each controller
    counts for itself."""

    username: str = ""
    """For servers with ACLs. It needs EVAL, EVALSHA, INFO, TIME, SUBSCRIBE, PUBLISH, and strings and hashes below
    `prefix`."""

    password_file: str = ""
    """Read at each connect, so that a changed secret is used without a restart."""

    ca_file: str = ""
    """PEM of the authority that has signed the server's certificate; empty: those of the system."""

    certificate_file: str = ""
    """PEM of this client's own certificate, if the server asks for one; with `key_file`."""

    key_file: str = ""

    prefix: str = "propeller"
    """What all keys and channels begin with: for servers that are shared with others."""

    tree: str = "tokens"
    """Name of the pools: controllers with the same name share them. It is the keys' hash tag, so that all are on one
    node of a cluster."""

    identity: str = ""
    """How this controller is called where others say who holds what; empty: the host's name."""

    ttl: NonNegativeFloat = 0.0
    """Seconds after which tokens come back of a controller of which nothing is heard; it renews them three times in
    that time. As long pauses the granting of tokens after Redis has restarted or failed over, or was empty. 0: twice
    `election.duration`. The pods of a controller that dies run on, and other pods would be started in addition if its
    tokens came back before another one, which has waited for its Lease to lapse, counts them. With `shards.count` less
    than that is refused; without, it has to be longer than a controller takes to be replaced."""

    timeout: PositiveFloat = 2.0
    """Seconds for one exchange. Redis answers within milliseconds; one that does not is lost, or paused."""

    lost: Literal["slice", "stop"] = "slice"
    """What to do without Redis: `slice`, start no more at once than when it was last heard of; `stop`, start nothing.
    If Redis is down, no limit is exceeded by either. If a single controller is cut off from it, others get its tokens
    after `ttl`: with `slice` limits may be exceeded by what it goes on to start, with `stop` by what it has running."""

    lost_after: NonNegativeFloat = 5.0
    """Seconds without an answer after which the slice is used. Longer than most failovers, during which claims wait."""
