"""A network on virtual time: connections are made at once, and a server answers as its plan says, request by request.

Each answer's body is the path that was asked for, so that a wrong answer shows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tests.unit.kube.http_answers import cut
from tests.unit.kube.raw_server import CHUNKED, END, chunk, http

Fate = Literal[
    "answered", "chunked", "closing", "until close", "cut", "refused", "garbage", "stray", "late stray", "hang"
]
FATES: tuple[Fate, ...] = (
    "answered", "chunked", "closing", "until close", "cut", "refused", "garbage", "stray", "late stray", "hang",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The fate of one request: parts of the response come `pause` seconds apart."""

    fate: Fate = "answered"
    pause: float = 0.0
    places: frozenset[int] = frozenset()
    interim: bool = False


class FakeConnection(asyncio.Transport):
    """The client's socket, and the server behind it."""

    def __init__(self, network: FakeNetwork, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._network = network
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self.unanswered = 0
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        if self._closing:
            return
        assert self.unanswered == 0, "a request was sent on a connection whose last answer was not read to its end"
        self.unanswered += 1
        self._network.sent += 1
        path = bytes(data).split(b" ")[1]
        plan = next(self._network.plans)
        self._loop.create_task(self._answer(path, plan))

    async def _answer(self, path: bytes, plan: Plan) -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" if plan.interim else b""
        whole = interim + http(path)
        closes = plan.fate in {"closing", "until close", "cut", "refused"}
        match plan.fate:
            case "chunked":
                whole = interim + CHUNKED + chunk(path[:1]) + chunk(path[1:]) + b"0;x=y\r\nx-trailer: z\r\n\r\n"
                assert whole.replace(b";x=y\r\nx-trailer: z", b"").endswith(END)
            case "closing":
                whole = interim + http(path, connection="close")
            case "until close":
                whole = interim + b"HTTP/1.1 200 OK\r\n\r\n" + path
            case "cut":
                whole = whole[: -1 - len(path) // 2]
            case "refused":
                whole = b""
            case "garbage":
                whole = b"<html>" + path
            case "hang":
                return
        parts = cut(whole, set(plan.places))
        if plan.fate == "stray":  # with the end of the answer: what came after the next request could not be told apart
            parts[-1] += http(b"/stray")
        for number, part in enumerate(parts, 1):
            await asyncio.sleep(plan.pause)
            if number == len(parts):
                self.unanswered = 0
            self._receive(part)
        if closes:
            await asyncio.sleep(plan.pause)
            if not self._closing:
                self._protocol.eof_received()
            self.close()
        elif plan.fate == "late stray":
            self._receive(http(b"/stray"))

    def _receive(self, part: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(part)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._network.open -= 1
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Answers are small."""

    def resume_reading(self) -> None:
        """Answers are small."""


class FakeNetwork:
    """Takes the place of the running loop's `create_connection`. Requests beyond the plans are answered."""

    def __init__(self, plans: list[Plan], connecting: float = 0.0) -> None:
        self.plans: Iterator[Plan] = then_answered(plans)
        self.open = 0
        self.sent = 0
        self._connecting = connecting
        asyncio.get_running_loop().create_connection = self._connect  # type: ignore[method-assign, assignment]

    async def _connect(self, factory: Any, *_: Any, **__: Any) -> tuple[FakeConnection, Any]:
        await asyncio.sleep(self._connecting)
        protocol = factory()
        self.open += 1
        return FakeConnection(self, protocol), protocol


def then_answered(plans: list[Plan]) -> Iterator[Plan]:
    yield from plans
    while True:
        yield Plan()
