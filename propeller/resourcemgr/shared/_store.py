"""The store that processes share, as a plain object: what `store.lua` does in Redis, step by step, without I/O.

Tests compare the two. A process that has lost Redis shares its own slice among its claims with this one, and the
simulation runs several controllers on it.

Guarantees
    What the store counts for a process is never less than what the process holds: it is lowered only by a statement of
    the process, or when nothing was heard of it for its TTL, and raised before the process hears of a grant.
    A statement that comes late, or twice, changes nothing. One whose answer was lost is followed by a full one, which
    takes back what the process has not heard of.
    After the server has changed (a restart, a failover to a replica that may lack the last writes) or the data is gone,
    nothing is granted for a TTL: until then each process has stated what it holds, or has lost it.
    The store's time is the server's, but never goes back, and never goes on by more than half a TTL at once: a clock
    that jumps ends no lease, unless it does so twice in a TTL.
    Of two configurations the newer generation wins; of one generation, that which was there first, as long as a process
    that is configured with it is alive.
Errors
    None: statements come from processes of the same version.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

from propeller.resourcemgr.shared._division import Division, Room
from propeller.resourcemgr.shared._keeps import Keeps, Kept
from propeller.resourcemgr.shared._messages import (
    MAX_TENANTS,
    Answer,
    Report,
    Rules,
    Run,
    Statement,
    items_of,
    lineage_of,
)
from propeller.resourcemgr.shared._shares import UNLIMITED, Caps, Shares
from propeller.resourcemgr.shared._tables import Balance, Group, Lane, Member, Meta, Node, Pool

MAX_NODES = 4096
"""Tenants that are remembered at least. Those without claims are forgotten beyond that: they come from strangers."""


class Store:
    """See the module's text. `woken` are the processes that the last exchange has to wake ("*": all of them).

    More than 15 methods: a function each of `store.lua`, so that the two can be read side by side.
    """

    def __init__(self) -> None:
        self.woken: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Lose all data."""
        self.meta = Meta()
        self.caps: Caps = {}
        self.weights: dict[str, float] = {}
        self.kept: Kept = {}
        self.pools: dict[str, Pool] = {}
        self.nodes: dict[str, Node] = {}
        self.balances: dict[str, Balance] = {}
        self.groups: dict[str, Group] = {}
        """Of tenants that wait, and of those that they wait beside; by pool and tenant."""
        self.leases: dict[str, int] = {}
        """How many claims each process has, by process, tenant and what each takes."""
        self.lanes: dict[str, Lane] = {}
        self.members: dict[str, Member] = {}

    def exchange(self, statement: Statement, at: float, server: str) -> Answer:
        """Take a statement at the server's time `at` (milliseconds), and grant what can be."""
        self.woken = set()
        self._freed = False
        self._keeps = self._new_keeps()
        self._tick(at, server, statement.ttl)
        answer = self._answer_to(statement)
        self._shares.settle()
        return answer

    def _new_keeps(self) -> Keeps | None:
        if not self.kept:
            return None
        return Keeps(self.kept, lambda pool, name: self._shares.node(name).held.get(pool, 0))

    def _answer_to(self, statement: Statement) -> Answer:
        me = self.members.get(statement.member)
        if me is not None and statement.number <= me.number:
            return self._answer("stale")
        if not statement.is_full and (me is None or statement.number != me.number + 1):
            return self._answer("resync")
        if not self._agree(statement):
            return self._answer("rules")
        self._take(statement, me)
        return self._grant(statement)

    def _tick(self, at: float, server: str, ttl: int) -> None:
        meta = self.meta
        if meta.server != server:
            meta.server = server
            meta.frozen_until = meta.t + ttl
            self.woken.add("*")
        elif at > meta.at:
            meta.t += min(at - meta.at, ttl / 2)
        meta.at = at
        self._shares = Shares(self.nodes, self.balances, self.groups, self.caps, self.weights, meta.t)
        for name in sorted(name for name, member in self.members.items() if member.expires <= meta.t):
            del self.members[name]
            self._drop(name)

    def _drop(self, member: str, kept: Container[str] = ()) -> None:
        """Take back all that a process has. Claims of tenants that are `kept` go on waiting."""
        prefix = f"{member}\n"
        for key in [key for key in self.leases if key.startswith(prefix)]:
            _, path, items = key.split("\n")
            self._charge(member, path, items, -self.leases[key])
        keys = [key for key in self.lanes if key.startswith(prefix) and key[len(prefix) :] not in kept]
        for key in sorted(keys, key=lambda key: self.lanes[key].number):
            self._drop_lane(key)
        self._freed = True

    def _drop_lane(self, key: str) -> None:
        lane = self.lanes.pop(key)
        if lane.pool:
            self._shares.wait(lineage_of(lane.path), lane.pool, -1)

    def _agree(self, statement: Statement) -> bool:
        """Have the statement's limits if they are to be in force; false if they are, and are not in the statement."""
        meta = self.meta
        if meta.digest and (statement.generation, statement.digest) != (meta.generation, meta.digest):
            configured = f"{meta.generation} {meta.digest}"
            is_backed = any(
                one.configured == configured for name, one in self.members.items() if name != statement.member
            )
            if statement.generation < meta.generation or (statement.generation == meta.generation and is_backed):
                return True
        elif meta.digest:
            return True
        if statement.rules is None:
            return False
        self._configure(statement.rules, statement.member)
        return True

    def _configure(self, rules: Rules, member: str) -> None:
        meta = self.meta
        meta.generation, meta.digest, meta.source, meta.owner = rules.generation, rules.digest, rules.source, member
        meta.max_bypass = rules.max_bypass
        for own, new in ((self.caps, rules.pools), (self.weights, rules.weights)):
            own.clear()
            own.update(new)  # type: ignore[arg-type]
        self.kept = rules.kept
        self._keeps = self._new_keeps()
        self._freed = True
        self.woken.add("*")

    def _take(self, statement: Statement, me: Member | None) -> None:
        """Count what the process says that it holds, and what it waits for."""
        name = statement.member
        pending: dict[str, int] = {}
        if me is None or statement.is_full:
            self._drop(name, {path for path, _, _ in statement.waiting})
        else:
            for path, items, count in me.pending:
                key = f"{name}\n{path}\n{items}"
                pending[key] = pending.get(key, 0) + count
        self.members[name] = Member(
            number=statement.number,
            expires=self.meta.t + statement.ttl,
            configured=f"{statement.generation} {statement.digest}",
            using=statement.using,
            pending=[] if me is None or statement.is_full else me.pending,
        )
        for path, items, count in statement.held:
            key = f"{name}\n{path}\n{items}"
            self._charge(name, path, items, count + pending.get(key, 0) - self.leases.get(key, 0))
        for path, runs, rest in statement.waiting:
            self._queue(name, path, list(runs), rest)
        if statement.is_candidate and self.meta.speaker not in self.members:
            self.meta.speaker = name
        elif self.meta.speaker == name and not statement.is_candidate:
            self.meta.speaker = ""

    def _queue(self, member: str, path: str, runs: list[Run], rest: int) -> None:
        """Have these claims of a process wait, but for those that were granted meanwhile."""
        key = f"{member}\n{path}"
        for of, items, count in self.members[member].pending:
            if of == path:
                runs = without(runs, items, count)
        lane = self.lanes.get(key)
        if lane is None:
            if runs:
                self.meta.numbers += 1
                self.lanes[key] = Lane(member=member, path=path, number=self.meta.numbers, runs=runs, rest=rest)
            return
        is_same = bool(lane.runs and runs) and (lane.runs[0][0], lane.runs[0][3]) == (runs[0][0], runs[0][3])
        if not is_same:
            lane.aside = ""
            self._freed = self._freed or self.meta.first == key
        lane.runs, lane.rest = runs, rest
        if not runs:
            self._drop_lane(key)

    def _charge(self, member: str, path: str, items: str, by: int) -> None:
        """Count so many more claims (less, if negative) of a process."""
        if not by:
            return
        key = f"{member}\n{path}\n{items}"
        self.leases[key] = self.leases.get(key, 0) + by
        if not self.leases[key]:
            del self.leases[key]
        self._freed = self._freed or by < 0
        needed = items_of(items)
        for pool, amount in needed:
            if self._keeps is not None and pool in self._keeps:
                self._keeps.charge(pool, lineage_of(path), by * amount)
            self.pools.setdefault(pool, Pool(at=self.meta.t)).held += by * amount
        for name in lineage_of(path):
            node = self._shares.node(name)
            self._shares.stir(name)
            node.claims += by
            for pool, amount in needed:
                node.held[pool] = node.held.get(pool, 0) + by * amount
                if not node.held[pool]:
                    del node.held[pool]

    def _grant(self, statement: Statement) -> Answer:
        meta = self.meta
        if meta.t < meta.frozen_until:
            meta.is_unserved = True
            return self._answer("ok", statement)
        everything = self._freed or meta.is_unserved or statement.is_due or meta.is_aside
        meta.is_unserved = False
        if not everything:
            own = (self._agreed(f"{statement.member}\n{path}") for path, _, _ in statement.waiting)
            everything = any(self._is_timed(lane) for lane in own if lane is not None)
        if everything:
            lanes = {key: lane for key in self.lanes if (lane := self._agreed(key)) is not None}
        else:
            keys = [f"{statement.member}\n{path}" for path, _, _ in statement.waiting]
            lanes = {key: lane for key in keys if (lane := self._agreed(key)) is not None}
        division = Division(meta, self._shares, Room(self.pools, self.caps, meta.t, self._keeps), self._grant_one)
        if len(self.nodes) >= meta.most_nodes:
            self._forget()
        if lanes:
            division.run(lanes, self._agreed)
            meta.is_aside = any(lane.aside and lane.runs for lane in lanes.values())
            for key, lane in sorted(lanes.items(), key=lambda item: item[1].number):
                self._stand(key, lane, division.blocked.get(key))
        return self._answer("ok", statement, division)

    def _stand(self, key: str, lane: Lane, lacking: list[str] | None) -> None:
        """Have a lane wait for a pool that it lacks, and not for others any more."""
        if not lane.runs:
            self._drop_lane(key)
            return
        if lacking is None or lane.pool in lacking:
            return
        names = lineage_of(lane.path)
        if lane.pool:
            self._shares.wait(names, lane.pool, -1)
        lane.pool = lacking[0]
        self._shares.wait(names, lane.pool, 1)

    def _forget(self) -> None:
        """Forget tenants that have nothing and wait for nothing."""
        for name in [name for name, node in self.nodes.items() if name and not node.claims and not node.waits]:
            del self.nodes[name]
        for key in [key for key in self.balances if key.split("\n")[1] not in self.nodes]:
            del self.balances[key]
        self.meta.most_nodes = MAX_NODES + 2 * len(self.nodes)

    def _agreed(self, key: str) -> Lane | None:
        """A lane whose claims are stated by the limits in force."""
        lane = self.lanes.get(key)
        return lane if lane is not None and self.members[lane.member].using == self.meta.digest else None

    def _is_timed(self, lane: Lane) -> bool:
        return any(
            self.caps.get(pool, UNLIMITED)[1] >= 0 for items, _, _, _ in lane.runs for pool, _ in items_of(items)
        )

    def _grant_one(self, lane: Lane, items: str) -> None:
        self._charge(lane.member, lane.path, items, 1)
        for pool, amount in items_of(items):
            row = self.pools[pool]
            row.grants += 1
            if self.caps.get(pool, UNLIMITED)[1] >= 0:
                row.level -= amount
        claim = self._shares.claim(items_of(items))
        for name in lineage_of(lane.path):
            self._shares.stir(name, claim)
        pending = self.members[lane.member].pending
        if pending and pending[-1][:2] == (lane.path, items):
            pending[-1] = (lane.path, items, pending[-1][2] + 1)
        else:
            pending.append((lane.path, items, 1))
        self.woken.add(lane.member)

    def _answer(self, verdict: str, statement: Statement | None = None, division: Division | None = None) -> Answer:
        meta = self.meta
        if statement is None:
            return Answer(verdict=verdict, now=meta.t)
        name = statement.member
        me = self.members[name]
        granted, me.pending = tuple(me.pending), []
        self.woken.discard(name)
        blocked: dict[str, str] = {}
        wake = math.inf
        if division is not None:
            prefix = f"{name}\n"
            blocked = {
                key[len(prefix) :]: lacking[0] for key, lacking in division.blocked.items() if key.startswith(prefix)
            }
            wake = division.wake_after
        is_other = statement.using != meta.digest
        return Answer(
            verdict=verdict,
            now=meta.t,
            granted=granted,
            wake_after=-1.0 if wake == math.inf else wake,
            usage={pool: self.pools[pool].held for pool in set(blocked.values()) if pool in self.pools},
            kept={} if self._keeps is None else {pool: self._keeps.kept(pool) for pool in set(blocked.values())},
            blocked=blocked,
            members=len(self.members),
            recovering=max(0.0, meta.frozen_until - meta.t),
            generation=meta.generation,
            source=meta.source if is_other else "",
            owner=meta.owner,
            report=self._report() if statement.is_asking else None,
            speaks=meta.speaker == name,
        )

    def _report(self) -> Report:
        """What all processes hold and wait for. Costs O(tenants and lanes)."""
        waiting: dict[str, dict[str, int]] = {}
        for lane in self.lanes.values():
            pool = lane.pool or items_of(lane.runs[0][0])[0][0]
            count = lane.rest + sum(run[1] for run in lane.runs)
            for name in ("", *lineage_of(lane.path)[:-1]):
                of = waiting.setdefault(name, {})
                of[pool] = of.get(pool, 0) + count
        of_pools = waiting.get("", {})
        names = sorted(
            (name for name, node in self.nodes.items() if name in waiting or node.claims),
            key=lambda name: (-self.nodes[name].claims - sum(waiting.get(name, {}).values()), name),
        )
        names = [name for name in names if name and not name.endswith("/")]
        return Report(
            pools=tuple(
                (pool, round(self.pools[pool].held) if pool in self.pools else 0, of_pools.get(pool, 0))
                for pool in sorted(self.pools.keys() | of_pools.keys())
            ),
            tenants=tuple(
                (name, _pairs(self.nodes[name].held), _pairs(waiting.get(name, {}))) for name in names[:MAX_TENANTS]
            ),
            left_out=max(0, len(names) - MAX_TENANTS),
        )


def _pairs(amounts: Mapping[str, float]) -> tuple[tuple[str, int], ...]:
    return tuple((pool, round(amounts[pool])) for pool in sorted(amounts))


def without(runs: list[Run], items: str, count: int) -> list[Run]:
    """Runs without the first `count` claims that take `items`."""
    left: list[Run] = []
    for run in runs:
        taken = min(count, run[1]) if run[0] == items else 0
        count -= taken
        if run[1] > taken:
            left.append((run[0], run[1] - taken, run[2], run[3]))
    return left
