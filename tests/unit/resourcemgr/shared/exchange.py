"""The store as an object at the end of a line that has faults, in the loop's time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from propeller.errors import PropellerError, Unavailable
from propeller.resourcemgr.shared._messages import Answer, Statement
from propeller.resourcemgr.shared._store import Store


class Server:
    """A store that several processes reach, and its clock."""

    def __init__(self) -> None:
        self.store = Store()
        self.run = "first"
        self.ahead = 0.0
        """Seconds by which its clock has jumped."""
        self.wakes: dict[str, Callable[[], None]] = {}
        self.prime()

    def prime(self) -> None:
        """Have a process state nothing, as if the store had been there for long."""
        self.exchange(primer())

    def exchange(self, statement: Statement) -> Answer:
        answer = self.store.exchange(statement, (asyncio.get_running_loop().time() + self.ahead) * 1000, self.run)
        for name in self.store.woken if "*" not in self.store.woken else list(self.wakes):
            if (wake := self.wakes.get(name)) is not None:
                asyncio.get_running_loop().call_later(0.001, wake)
        return answer


def primer() -> Statement:
    """Of a process that dies at once: a new store waits for a TTL of its first one."""
    return Statement(member="primer", number=1, is_full=True, ttl=1, generation=0, digest="", using="")


class Line:
    """A process's way to the server. `fails`: no statement arrives; `loses`: no answer does, so many times."""

    place = "the store"

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name
        self.fails: PropellerError | None = None
        self.loses = 0
        self.is_doubtful = False
        self.exchanges = 0
        self.probes = 0

    def cut(self) -> None:
        self.fails = Unavailable("no route")

    def mend(self) -> None:
        self.fails = None

    async def exchange(self, statement: Statement) -> Answer:
        self.exchanges += 1
        await asyncio.sleep(0.001)
        if self.fails is not None:
            raise self.fails
        answer = self._server.exchange(statement)
        await asyncio.sleep(0.001)
        if self.loses:
            self.loses -= 1
            raise Unavailable("the answer was lost")
        return answer

    async def probe(self) -> None:
        self.probes += 1
        await asyncio.sleep(0.001)
        if self.fails is not None:
            raise self.fails

    @asynccontextmanager
    async def waking(self, wake: Callable[[], None]) -> AsyncIterator[None]:
        self._server.wakes[self._name] = lambda: wake() if self.fails is None else None
        try:
            yield
        finally:
            del self._server.wakes[self._name]
