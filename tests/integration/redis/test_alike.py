"""The store in Redis and the store as an object give the same answers, whatever they are told."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from propeller.resourcemgr import Limits, Pool, Tenant
from propeller.resourcemgr.shared._messages import Run, Statement, items_text, rules_of
from propeller.resourcemgr.shared._redis import SCRIPT, answer_of, keys_of
from propeller.resourcemgr.shared._store import Store
from propeller.testing import RedisServer

pytestmark = pytest.mark.needs("redis-server")

TTL = 9000


def _limits(rng: random.Random, generation: int) -> Limits:
    """Pools that are scarce, a rate, and a tenant with a weight and a limit of its own; in half of them some do not
    lend all of their share.
    """
    return Limits(
        pools=(
            Pool(name="all", capacity=rng.choice([3, 8])),
            Pool(name="hive", capacity=rng.choice([0, 2, 5]), parent="all"),
            Pool(name="api=1,x/y", rate=rng.choice([0.5, 3.0]), burst=rng.choice([2, 4])),
        ),
        tenants=(
            Tenant(name="a", weight=rng.choice([1.0, 2.5]), limits={"hive": rng.choice([1, 3])}, lending=_lending(rng)),
            *(Tenant(name=name, lending=_lending(rng)) for name in ("a/x", "b", "b/y") if rng.random() < 0.5),
        ),
        generation=generation,
        max_bypass=rng.choice([0, 1, 3]),
    )


def _lending(rng: random.Random) -> dict[str, int]:
    return {pool: rng.choice([0, 1]) for pool in ("all", "hive") if rng.random() < 0.5}


class _Process:
    """States anything, as long as it is well formed."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.number = rng.choice([0, 100])
        self._rng = rng
        self._kinds = [
            items_text(items)
            for items in (
                [("all", 1)],
                [("all", 2)],
                [("all", 3), ("hive", 3)],
                [("all", 1), ("hive", 1), ("hive of a", 1)],
                [("api=1,x/y", 1)],
                [("api=1,x/y", 2), ("all", 1)],
            )
        ]

    def statement(self, limits: Limits, own: Limits) -> Statement:
        rng = self._rng
        self.number += rng.choices([1, 0, -1, 2], [20, 1, 1, 2])[0]
        tenants = rng.sample(["a", "a/x", "b/x", "b/y", "c%2F/d"], rng.randint(0, 3))
        rules = rules_of(own)
        return Statement(
            member=self.name,
            number=self.number,
            is_full=rng.random() < 0.2,
            ttl=TTL,
            generation=own.generation,
            digest=rules.digest,
            using=rng.choices([rules_of(limits).digest, rules.digest], [9, 1])[0],
            is_due=rng.random() < 0.1,
            rules=rules if rng.random() < 0.7 else None,
            is_asking=rng.random() < 0.3,
            is_candidate=rng.random() < 0.8,
            held=tuple((path, rng.choice(self._kinds), rng.randint(0, 3)) for path in tenants),
            waiting=tuple(
                (path, runs := self._runs(), rng.randint(0, 2) if runs else 0)
                for path in rng.sample(["a", "a/x", "b/x", "b/y"], rng.randint(0, 3))
            ),
        )

    def _runs(self) -> tuple[Run, ...]:
        rng = self._rng
        return tuple(
            (rng.choice(self._kinds), rng.randint(1, 4), rng.choice([0, 0, 5]), float(rng.randint(0, 10**6)))
            for _ in range(rng.randint(0, 3))
        )


def _plain(store: Store) -> dict[str, Any]:
    return {
        "pools": {name: (pool.held, pool.level, pool.at, pool.grants) for name, pool in store.pools.items()},
        "leases": dict(store.leases),
        "lanes": {key: (lane.runs, lane.aside, lane.number, lane.pool) for key, lane in store.lanes.items()},
        "held": {name: node.held for name, node in store.nodes.items() if node.held},
        "turns": {name: (node.tag, node.time) for name, node in store.nodes.items() if node.tag or node.time},
        "members": {name: (one.number, one.expires, one.pending) for name, one in store.members.items()},
        "waits": {name: node.waits for name, node in store.nodes.items() if node.waits},
        "balances": {key: pytest.approx(msgspec.structs.astuple(row)) for key, row in store.balances.items()},
        "groups": {key: pytest.approx(msgspec.structs.astuple(row)) for key, row in store.groups.items()},
    }


def _rows(client: Any, key: str) -> dict[str, Any]:
    return {name.decode(): msgspec.msgpack.decode(row) for name, row in client.hgetall(key).items()}


def _stored(client: Any, keys: list[str]) -> dict[str, Any]:
    _, _, pools, nodes, leases, lanes, members, balances, groups = keys
    of_nodes = _rows(client, nodes)
    return {
        "pools": {name: tuple(row) for name, row in _rows(client, pools).items()},
        "leases": _rows(client, leases),
        "lanes": {
            key: ([tuple(run) for run in row[3]], row[4], row[2], row[6]) for key, row in _rows(client, lanes).items()
        },
        "held": {name: row[3] for name, row in of_nodes.items() if row[3]},
        "turns": {name: (row[1], row[2]) for name, row in of_nodes.items() if row[1] or row[2]},
        "members": {
            name: (row[0], row[1], [tuple(held) for held in row[4]]) for name, row in _rows(client, members).items()
        },
        "waits": {
            name: {pool: tuple(counts) for pool, counts in row[4].items()} for name, row in of_nodes.items() if row[4]
        },
        "balances": {key: tuple(row) for key, row in _rows(client, balances).items()},
        "groups": {key: tuple(row) for key, row in _rows(client, groups).items()},
    }


@pytest.mark.parametrize("seed", range(12))
def test_the_same_statements_get_the_same_answers_and_leave_the_same_rows(redis: RedisServer, seed: int) -> None:
    from redis import Redis

    rng = random.Random(seed)
    client = Redis.from_url(redis.url)
    script, keys, store = client.register_script(SCRIPT), keys_of("propeller", "t"), Store()
    limits = [_limits(rng, generation) for generation in (1, 1, 2)]
    processes = [_Process(name, rng) for name in ("one", "two", "three")]
    at, server = 5_000_000, "first"
    for step in range(400):
        at += rng.choices([0, 3, 400, 3000, TTL, 3_600_000, -5000], [4, 8, 8, 4, 1, 1, 1])[0]
        server = rng.choices([server, f"run {step}"], [200, 1])[0]
        own = limits[0] if step < 200 else rng.choice(limits)
        statement = rng.choice(processes).statement(limits[-1] if step > 220 else limits[0], own)
        expected = store.exchange(statement, at, server)
        encoded = msgspec.msgpack.encode(statement)
        assert answer_of(script(keys=keys, args=[encoded, at, server])) == expected, (step, statement)
        if step % 20 == 0:
            assert _stored(client, keys) == _plain(store), step
    assert _stored(client, keys) == _plain(store)
    client.close()
