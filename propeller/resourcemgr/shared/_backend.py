"""From settings to the tokens of a controller."""

from __future__ import annotations

import functools
import platform
import uuid
from urllib.parse import quote

from propeller.clock import Clock
from propeller.resourcemgr._backend import Backend, TakenBack
from propeller.resourcemgr._options import ResourceOptions
from propeller.resourcemgr._tokens import in_memory
from propeller.resourcemgr.shared._options import RedisOptions
from propeller.resourcemgr.shared._redis import RedisStore
from propeller.resourcemgr.shared._tokens import SharedTokens


def backend_of(options: RedisOptions) -> Backend:
    """Tokens in Redis if the settings name one, else in this process. Raises Invalid for settings that cannot be
    used.
    """
    return functools.partial(_in_redis, options) if options.url else in_memory


def _in_redis(redis: RedisOptions, options: ResourceOptions, *, clock: Clock, taken_back: TakenBack) -> SharedTokens:
    # of one process, not of a host: what an earlier process of that name holds is another's until its TTL has passed
    name = f"{quote(redis.identity or platform.node() or 'controller', safe='')}.{uuid.uuid4().hex[:8]}"
    return SharedTokens(
        options,
        RedisStore(redis, name),
        redis,
        name,
        clock=clock,
        unused_after=options.unused_grant,
        taken_back=taken_back,
    )
