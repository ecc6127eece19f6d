"""An operator who changes limits while controllers work: raises and lowers them, has other pools, tenants and rules,
makes mistakes, deletes all of it, and leaves limits by which everything can end.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from propeller.errors import AlreadyExists, Conflict, NotFound
from propeller.fairqueues import RAW_FAIR_QUEUES, fair_queue_crd
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, Client, Raw
from tests.simulation.event_log import EventLog
from tests.simulation.retries import retry_until_ok
from tests.simulation.tokens import ABSENT, POOL, PROJECT, Tokens

NAME = "limits"

_FOLLOWED = 120.0
"""Virtual seconds after which a controller has followed a change if nothing is wrong."""

_CYCLE: Raw = {
    "pools": [{"name": "p", "capacity": 1, "parent": "q"}, {"name": "q", "capacity": 1, "parent": "p"}],
    "tenants": [],
    "rules": [],
}


class Limits:
    """In worlds with live limits."""

    def __init__(self, seed: int, client: Client, tokens: Tokens, event_log: EventLog) -> None:
        self._rng = random.Random(f"limits {seed}")
        self._lending = random.Random(f"lending of limits {seed}")
        self._client = client
        self._tokens = tokens
        self._event_log = event_log
        self._left = not tokens.live
        self._right: Raw = {}
        """What is in force while the last spec is wrong."""

    async def install(self) -> None:
        """Before anything starts."""
        if not self._left:
            await self._client.create(CUSTOM_RESOURCE_DEFINITIONS, fair_queue_crd())

    async def run(self) -> None:
        """Change limits until `leave`."""
        while not self._left:
            await asyncio.sleep(self._rng.choice((0.1, 2.0, 20.0)) * self._rng.random())
            if not self._left:
                await self._change(self._draw())

    def leave(self) -> None:
        self._left = True

    async def end(self) -> None:
        """Have limits by which everything can end."""
        if not self._tokens.live:
            return
        last = self._rng.choice((None, _spec(self._rng.choice((1, 3)))))
        await self._change(last)
        if last is not None and self._rng.random() < 0.5:
            await asyncio.sleep(_FOLLOWED)
            self._right = last
            await self._change(_CYCLE)

    def _draw(self) -> Raw | None:
        """A spec, or None for no FairQueue."""
        if self._rng.random() < 0.15:
            return None
        if self._rng.random() < 0.15:
            return _CYCLE
        return _spec(
            self._rng.choice((0, 1, 1, 2, 4, 8)),
            weight=self._rng.choice((None, 1, 2.5)),
            own=self._rng.choice((None, None, 1, 3)),
            extra=self._rng.choice((None, None, 1, 4)),
            lent=self._lending.choice((None, None, None, 0, 1)),
        )

    async def _change(self, spec: Raw | None) -> None:
        self._event_log.record(f"an operator wants limits {spec}")
        try:
            if spec is None:
                await retry_until_ok(lambda: self._client.delete(RAW_FAIR_QUEUES, NAME))
                return
            body = {"metadata": {"name": NAME}, "spec": spec}
            try:
                await retry_until_ok(lambda: self._client.create(RAW_FAIR_QUEUES, body))
            except AlreadyExists:
                await retry_until_ok(lambda: self._client.patch(RAW_FAIR_QUEUES, NAME, body={"spec": spec}))
        except (NotFound, Conflict):
            return  # a restored server has not got it

    async def check(self, who: str) -> None:
        """At the end that controller has the limits that the server has, and says so."""
        if not self._tokens.live:
            return
        expected, wanted = self._tokens.capacity, "none"
        try:
            found: Raw = await self._client.get(RAW_FAIR_QUEUES, NAME)
        except NotFound:
            found = {}
        if found:
            wanted = str(found["spec"])
            status = found.get("status", {})
            is_right = found["spec"] != _CYCLE
            in_force = found["spec"] if is_right else self._right
            expected = in_force["pools"][0]["capacity"]
            ready = [condition["status"] for condition in status.get("conditions", ())]
            if status.get("observedGeneration") != found["metadata"]["generation"] or ready != [str(is_right)]:
                self._event_log.violation(f"the status of FairQueue {found} does not tell of its spec")
        if (capacity := self._tokens.capacity_in_force(who)) != expected:
            self._event_log.violation(f"{who} has {capacity} of {POOL} in force, not {expected}, by limits {wanted}")


def _spec(
    capacity: int,
    *,
    weight: float | None = None,
    own: int | None = None,
    extra: int | None = None,
    lent: int | None = None,
) -> dict[str, Any]:
    """`own` is a limit of the world's one tenant, `extra` the capacity of a second pool that every attempt takes of,
    `lent` what a tenant without tasks lends of its share.
    """
    tenant: Raw = {"name": PROJECT}
    if weight is not None:
        tenant["weight"] = weight
    if own is not None:
        tenant["limits"] = {POOL: own}
    pools = [{"name": POOL, "capacity": capacity}]
    if extra is not None:
        pools.append({"name": "extra", "capacity": extra})
    rules = [{"pools": {"extra": 1}}] if extra is not None else []
    absent = [] if lent is None else [{"name": ABSENT, "lending": {POOL: lent}}]
    return {"pools": pools, "tenants": [tenant, *absent], "rules": rules}
