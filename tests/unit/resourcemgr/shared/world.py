"""Processes that share a store, with every fault between them, drawn from a seed; without a loop and without Redis.

What a claim got tokens for runs, whatever becomes of the process: after a crash another process finds it running, and
restores it before it asks for anything.
"""

from __future__ import annotations

import copy
import random
from collections import Counter

from propeller.resourcemgr import Claim, Limits, Pool, Tenant
from propeller.resourcemgr.shared._member import Member
from propeller.resourcemgr.shared._messages import Rules, Statement
from propeller.resourcemgr.shared._slice import OWN, of_slice
from propeller.resourcemgr.shared._store import Store

TTL = 9000
CAPACITIES = {"all": 7, "hive": 3, "spark": 4}
OWN_LIMIT = 2


def limits(generation: int = 0) -> Limits:
    return Limits(
        pools=tuple(
            Pool(name=name, capacity=capacity, parent="" if name == "all" else "all")
            for name, capacity in CAPACITIES.items()
        ),
        tenants=(Tenant(name="a", weight=2.0, limits={"hive": OWN_LIMIT}),),
        generation=generation,
        max_bypass=2,
    )


class Process:
    """One controller: its claims, and the slice it has while the store is lost."""

    def __init__(self, name: str) -> None:
        self.member = Member(name, TTL, limits(), lambda _: None, lambda *_: None)
        self.own: tuple[Store, Rules] | None = None
        self.claims: dict[str, Claim] = {}
        """What waits or runs."""
        self.heard = 0.0


class World:
    """`running` is what has got tokens and has not ended, with its needs. `violations` should stay empty."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.store = Store()
        self.snapshots: list[Store] = [Store()]
        self.at = 1_000_000.0
        self.jumped = 0.0
        self.server = "0"
        self.processes = [Process(f"p{number}") for number in range(self.rng.randint(1, 3))]
        self.late: list[Statement] = []
        self.running: dict[str, Claim] = {}
        self.granted = 0
        self.count = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        rng = self.rng
        process = rng.choice(self.processes)
        action = rng.choices(
            (self.request, self.release, self.exchange, self.pass_time, self.crash, self.disturb, self.deliver_late),
            (8, 7, 12, 6, 0.5, 0.25, 3),
        )[0]
        action(process)

    # what processes do

    def request(self, process: Process) -> None:
        rng = self.rng
        self.count += 1
        pool = rng.choice(list(CAPACITIES))
        tenant = rng.choice([("a",), ("a", "x"), ("b", "y"), ("c",)])
        most = OWN_LIMIT if pool == "hive" and tenant[0] == "a" else CAPACITIES[pool]
        needs = ((pool, rng.randint(1, most)),)
        claim = Claim(f"claim {self.count}", tenant, needs, rng.choice([0, 0, 1]))
        process.claims[claim.id] = claim
        process.member.request(claim, self.at)
        self._serve_own(process)

    def release(self, process: Process) -> None:
        """A pod ends, or a claim is given up."""
        if process.claims:
            name = self.rng.choice(list(process.claims))
            del process.claims[name]
            self.running.pop(name, None)
            process.member.release(name)
            self._serve_own(process)

    def exchange(self, process: Process) -> None:
        outcome = self.rng.choices(("heard", "never sent", "lost", "late"), (20, 1, 1, 2))[0]
        if outcome != "never sent":  # as a probe has found out
            process.own = None
            statement = process.member.statement(is_due=self.rng.random() < 0.2)
            if outcome == "late":
                self.late.append(statement)
            else:
                answer = self.store.exchange(statement, self.at, self.server)
                if outcome == "heard":
                    process.heard = self.at if answer.verdict == "ok" else process.heard
                    self._granted(process, process.member.accept(answer))
                    return
            process.member.resync()
        if process.own is None and self.rng.random() < 0.5:
            store = Store()
            store.meta.server, store.meta.at = OWN, self.at
            process.own = store, of_slice(process.member.rules, process.member.slice, 1)
        self._serve_own(process)

    def _serve_own(self, process: Process) -> None:
        if process.own is not None:
            names, _ = process.member.serve(*process.own, self.at)
            self._granted(process, names)

    def _granted(self, process: Process, names: list[str]) -> None:
        for name in names:
            self.granted += 1
            self.running[name] = process.claims[name]
            for pool, (held, capacity) in self.held().items():
                assert held <= capacity, f"{held} of {capacity} {pool} run when {name} begins"

    def held(self) -> dict[str, tuple[int, int]]:
        """Tokens of what runs, and the capacity."""
        found: Counter[str] = Counter()
        for claim in self.running.values():
            for pool, amount in claim.needs:
                found[pool] += amount
                if pool != "all":
                    found["all"] += amount
                if pool == "hive" and claim.tenant[0] == "a":
                    found["hive of a"] += amount
        return {pool: (held, CAPACITIES.get(pool, OWN_LIMIT)) for pool, held in found.items()}

    # faults

    def pass_time(self, _: Process) -> None:
        """Nobody is silent for a TTL, as far as it can help it."""
        milliseconds = self.rng.choice([1, 20, 200, 1000, 2900])
        for process in self.processes:
            while self.at + milliseconds - process.heard > TTL / 3:
                self.exchange(process)
        self.at += milliseconds

    def crash(self, process: Process) -> None:
        """Another process takes its place, and finds what runs."""
        self.count += 1
        found = Process(f"{process.member.name.split('.')[0]}.{self.count}")
        self.processes[self.processes.index(process)] = found
        for name, claim in process.claims.items():
            if name in self.running:
                found.claims[name] = claim
                found.member.restore(claim)
        for name, claim in process.claims.items():
            if name not in self.running:
                found.claims[name] = claim
                found.member.request(claim, self.at)

    def disturb(self, _: Process) -> None:
        """The server restarts: with its data, without, or a replica takes over that lacks the last writes. Or its clock
        jumps. Or a process is configured anew.
        """
        rng = self.rng
        match rng.choice(("restart", "empty", "failover", "jump", "back", "configure")):
            case "restart":
                self.server = f"run {self.count} {rng.random()}"
            case "empty":
                self.store = Store()
            case "failover":
                self.server = f"run {self.count} {rng.random()}"
                self.store = copy.deepcopy(rng.choice(self.snapshots))
            case "jump" if self.at - self.jumped > TTL:  # of two in a TTL each would count as half of it
                self.at = self.jumped = self.at + 24 * 3_600_000.0
                for process in self.processes:
                    process.heard += 24 * 3_600_000.0
            case "back":
                self.at -= 5000.0
                for process in self.processes:
                    process.heard -= 5000.0
            case "configure":
                self.count += 1
                rng.choice(self.processes).member.configure(limits(self.count))
        self.snapshots = [*self.snapshots[-3:], copy.deepcopy(self.store)]

    def deliver_late(self, _: Process) -> None:
        """A statement arrives whose process has long given it up."""
        if self.late:
            self.store.exchange(self.late.pop(self.rng.randrange(len(self.late))), self.at, self.server)

    # the end

    def settle(self) -> None:
        """Without faults all that waits is served, and all tokens come back."""
        self.late.clear()
        for _ in range(2000):
            self.at += 100
            for process in self.processes:
                process.own = None
                for name in [name for name in process.claims if name in self.running]:
                    del process.claims[name], self.running[name]
                    process.member.release(name)
                    break
                answer = self.store.exchange(process.member.statement(is_due=True), self.at, self.server)
                self._granted(process, process.member.accept(answer))
            if not any(process.claims for process in self.processes):
                break
        waiting = [name for process in self.processes for name in process.claims]
        assert not waiting, f"{waiting} never got their tokens"
        for _ in range(30):  # until nothing is heard any more of those that have crashed
            self.at += TTL / 4
            for process in self.processes:
                answer = self.store.exchange(process.member.statement(), self.at, self.server)
                process.member.accept(answer)
        assert not self.store.leases, f"{self.store.leases} never came back"
        assert not any(pool.held for pool in self.store.pools.values())
        assert not any(node.claims or node.held for node in self.store.nodes.values())
        assert not self.store.lanes
