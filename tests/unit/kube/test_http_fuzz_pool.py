"""Many requests at once over few connections, to a server that does as hypothesis likes, cancelled at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Unavailable
from propeller.kube import Request, Response
from propeller.kube._http import HttpTransport
from propeller.testing import now, run_virtually
from tests.examples import examples
from tests.unit.kube.fake_network import FATES, FakeNetwork, Plan, then_answered

DEADLINE = 10.0
TIMES = st.sampled_from([0.0, 0.5, 1.0, 1.5, 3.0, 9.5, 10.0])

plans = st.builds(
    Plan,
    fate=st.sampled_from(FATES),
    pause=st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    places=st.frozensets(st.integers(0, 100), max_size=5),
    interim=st.booleans(),
)


@dataclass(frozen=True)
class Call:
    """A request sent at `at`, given up at `cancel` where that is a time; streamed, and left after a part of it."""

    method: str
    at: float
    cancel: float | None
    streamed: bool
    leave: bool


calls = st.builds(
    Call,
    method=st.sampled_from(["GET", "POST", "PATCH"]),
    at=TIMES,
    cancel=st.none() | TIMES,
    streamed=st.booleans(),
    leave=st.booleans(),
)


async def make(transport: HttpTransport, call: Call, path: str) -> bytes | None:
    """The response's body; None if it was not read to its end."""
    request = Request(method=call.method, path=path)
    await asyncio.sleep(call.at)
    began = now()
    try:
        if not call.streamed:
            answer: Response = await transport.send(request, deadline=DEADLINE)
            return answer.body
        async with transport.stream(request, deadline=DEADLINE) as stream:
            parts = []
            async with asyncio.timeout(3 * DEADLINE):  # a stream's body has no deadline but its reader's
                async for part in stream:
                    parts.append(part)
                    if call.leave:
                        return None
            return b"".join(parts)
    finally:
        assert now() - began <= 3 * DEADLINE + 1


@examples(150)
@given(
    st.lists(calls, min_size=1, max_size=8), st.lists(plans, max_size=12), st.integers(1, 3), st.sampled_from([0, 0.5])
)
def test_every_request_gets_its_own_answer_or_an_error_and_none_hangs(
    sequence: list[Call], fates: list[Plan], room: int, connecting: float
) -> None:
    async def main() -> None:
        network = FakeNetwork(fates, connecting)
        transport = HttpTransport("http://server", max_connections=room)
        tasks = [asyncio.create_task(make(transport, call, f"/call{n}")) for n, call in enumerate(sequence)]
        loop = asyncio.get_running_loop()
        for call, task in zip(sequence, tasks, strict=True):
            if call.cancel is not None:
                loop.call_later(call.cancel, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, (call, result) in enumerate(zip(sequence, results, strict=True)):
            match result:
                case bytes():
                    assert result == b"/call%d" % number
                case asyncio.CancelledError():
                    assert call.cancel is not None
                case _:
                    assert result is None or isinstance(result, Unavailable | TimeoutError), repr(result)
        network.plans = then_answered([])
        await asyncio.sleep(2 * DEADLINE)
        assert all(connection.usable for connection in transport._idle), "a connection that cannot be used is kept"
        assert network.open == len(transport._idle) == len(transport._open), "a connection leaked"
        answer = await asyncio.wait_for(transport.send(Request(method="GET", path="/last"), deadline=DEADLINE), 60)
        assert answer.body == b"/last"
        await transport.close()
        await asyncio.sleep(1)
        assert network.open == 0

    run_virtually(main())


@examples(50)
@given(st.lists(plans, max_size=6), st.sampled_from(["POST", "PATCH", "DELETE", "PUT"]))
def test_a_write_is_sent_at_most_once(fates: list[Plan], method: str) -> None:
    async def main() -> None:
        network = FakeNetwork(fates)
        transport = HttpTransport("http://server", max_connections=1)
        for number in range(len(fates) + 1):
            before = network.sent
            with contextlib.suppress(Unavailable):
                await transport.send(Request(method=method, path=f"/{number}"), deadline=DEADLINE)
            assert network.sent <= before + 1
        await transport.close()

    run_virtually(main())


def test_a_transport_that_was_closed_while_it_connected_leaves_no_connection() -> None:
    async def main() -> None:
        network = FakeNetwork([], connecting=1.0)
        transport = HttpTransport("http://server")
        sending = asyncio.create_task(transport.send(Request(method="GET", path="/a"), deadline=DEADLINE))
        await asyncio.sleep(0.5)
        await transport.close()
        (result,) = await asyncio.gather(sending, return_exceptions=True)
        assert isinstance(result, Unavailable)
        await asyncio.sleep(1)
        assert network.open == 0

    run_virtually(main())


def test_connections_that_the_server_closed_while_they_idled_are_not_kept() -> None:
    """Regression: those at the bottom of the pool were kept for as long as the process ran."""

    async def main() -> None:
        FakeNetwork([Plan(pause=1.0)] * 20)
        transport = HttpTransport("http://server")
        requests = [Request(method="GET", path=f"/{number}") for number in range(20)]
        await asyncio.gather(*(transport.send(request, deadline=DEADLINE) for request in requests))
        for connection in tuple(transport._idle)[:15]:
            connection.close()
        await asyncio.sleep(1)
        assert len(transport._idle) == len(transport._open) == 5
        await transport.close()

    run_virtually(main())
