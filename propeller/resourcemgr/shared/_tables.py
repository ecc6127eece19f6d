"""Rows of the store, as `store.lua` keeps them in Redis' hashes."""

from __future__ import annotations

import msgspec

from propeller.resourcemgr.shared._messages import Held, Run


class Pool(msgspec.Struct):
    """`held` are tokens of all processes; `level` what is left of those that have come at the rate, as of `at`."""

    held: float = 0.0
    level: float = 0.0
    at: float = 0.0
    grants: int = 0


class Node(msgspec.Struct):
    """A tenant. `tag` and `time` are its turn among those beside it, and the turn that those below it have reached
    (start-time fair queueing); `held` its tokens by pool, with those of the tenants below it; `waits`, by pool, how
    many lanes of it and of those below it wait there, and how many of those right below it have some.
    """

    claims: int = 0
    tag: float = 0.0
    time: float = 0.0
    held: dict[str, float] = {}
    waits: dict[str, tuple[int, int]] = {}


class Balance(msgspec.Struct):
    """A tenant among those beside it that wait for the same pool. `lead` is the integral of what its share was above
    their mean, until `at`, when that of the mean was `level`; `claim` is what its last claim added to a share, `step`
    the same by its weight. See `resourcemgr._balance`.
    """

    lead: float = 0.0
    at: float = 0.0
    level: float = 0.0
    share: float = 0.0
    weight: float = 0.0
    claim: float = 0.0
    step: float = 0.0
    is_served: bool = False


class Group(msgspec.Struct):
    """Those of one parent that wait for the same pool."""

    weight: float = 0.0
    rate: float = 0.0
    level: float = 0.0
    at: float = 0.0
    since: float = 0.0
    largest: float = 0.0
    granted: float = 0.0


class Lane(msgspec.Struct):
    """Claims of one tenant that wait in one process, in their order; for `pool`, "" until that is known. `aside` is the
    pool which had some tokens left, but too few for the first of them, when its grants were `aside_at`; "" if that was
    not so yet.
    """

    member: str
    path: str
    number: int
    runs: list[Run]
    aside: str = ""
    aside_at: int = 0
    pool: str = ""
    rest: int = 0
    """Claims behind these that were not stated."""


class Member(msgspec.Struct):
    """A process. `pending` are claims that were granted since its last statement was answered."""

    number: int
    expires: float
    configured: str
    """Generation and digest of its own limits."""
    using: str
    pending: list[Held] = []


class Meta(msgspec.Struct):
    """`t` is the store's time in milliseconds: it follows the server's clock, which was `at` when it was read last, but
    neither jumps nor goes back. `server` is the run of the server that has written this.
    """

    server: str = ""
    t: float = 0.0
    at: float = 0.0
    frozen_until: float = 0.0
    is_unserved: bool = False
    """Whether something came free that was not granted yet, as the store was frozen."""
    first: str = ""
    """The lane whose first claim was overtaken too often: what it takes is saved up for it."""
    is_aside: bool = False
    """Whether a lane is set aside, or was when they were looked at last."""
    numbers: int = 0
    generation: int = 0
    digest: str = ""
    source: str = ""
    owner: str = ""
    max_bypass: int = 0
    most_nodes: int = 4096
    speaker: str = ""
    """The process that is to speak for all."""
