"""Tokens that several controllers share, kept in Redis.

Claims wait in the process that has them. To the store each process states in absolute numbers what it holds and what
waits, and the store grants claims: so many of a tenant that take the same. So one exchange carries all that has changed
since the last one, whatever the number of claims; a claim takes its tokens of all pools at once; and the order between
tenants is that of all processes together.

A process's slice is what the store counts for it. It is never less than what the process holds, so the slices of all
processes never exceed a pool, whatever is lost in between.
"""

from propeller.resourcemgr.shared._backend import backend_of
from propeller.resourcemgr.shared._exchange import Exchange
from propeller.resourcemgr.shared._options import RedisOptions
from propeller.resourcemgr.shared._redis import RedisStore
from propeller.resourcemgr.shared._tokens import SharedTokens

__all__ = ["Exchange", "RedisOptions", "RedisStore", "SharedTokens", "backend_of"]
