"""Tokens with the loop's time: who waits is called back, and what nobody uses comes back. All in virtual time."""

from __future__ import annotations

import asyncio

from propeller.clock import LoopClock
from propeller.errors import Invalid
from propeller.resourcemgr import Claim, MemoryTokens, Pool
from tests.unit.resourcemgr.book import limits


class _Requests:
    def __init__(self, *pools: Pool) -> None:
        self.tokens = MemoryTokens(limits(*pools), clock=LoopClock(), unused_after=60.0)
        self.granted: list[str] = []
        self.refused: list[str] = []

    def request(self, name: str, amount: int = 1, pool: str = "api") -> bool:
        claim = Claim(name, (name[0],), ((pool, amount),))

        def refused(error: Invalid) -> None:
            self.refused.append(str(error))

        return self.tokens.request(claim, lambda: self.granted.append(name), refused)


API = Pool(name="api", capacity=1)


async def test_a_release_calls_the_next_back_and_never_within_the_call() -> None:
    of = _Requests(API)
    assert of.request("a1")
    assert not of.request("b1")
    of.tokens.release("a1")
    assert not of.granted
    await asyncio.sleep(0)
    assert of.granted == ["b1"]


async def test_a_claim_that_was_released_is_not_called_back() -> None:
    of = _Requests(API)
    of.request("a1")
    of.request("b1")
    of.request("c1")
    of.tokens.release("a1")
    of.tokens.release("b1")  # it was granted, and gives up before it hears of it
    await asyncio.sleep(0)
    assert of.granted == ["c1"]


async def test_tokens_that_are_granted_and_not_used_come_back() -> None:
    of = _Requests(API)
    of.request("a1")
    of.request("b1")
    of.request("c1")
    of.tokens.release("a1")
    await asyncio.sleep(59.0)
    assert of.granted == ["b1"]
    await asyncio.sleep(2.0)
    assert of.granted == ["b1", "c1"]
    of.tokens.use("c1")
    of.request("d1")
    await asyncio.sleep(1000.0)
    assert of.granted == ["b1", "c1"], "what is used stays out"


async def test_tokens_in_doubt_come_back_unless_they_turn_out_to_be_used() -> None:
    of = _Requests(Pool(name="api", capacity=2))
    of.request("a1")
    of.request("a2")
    of.request("b1", 2)
    for name in ("a1", "a2"):
        of.tokens.doubt(name)
    await asyncio.sleep(30.0)
    of.tokens.doubt("a1")
    of.tokens.use("a2")
    await asyncio.sleep(31.0)
    assert not of.tokens.ledger.is_held("a1")
    assert of.tokens.ledger.is_held("a2")


async def test_a_rate_wakes_those_that_wait_when_their_tokens_have_come() -> None:
    of = _Requests(Pool(name="api", rate=0.1, burst=1))
    began = asyncio.get_running_loop().time()
    for name in ("a1", "a2", "a3"):
        of.request(name)
    times = []
    for count in (1, 2):
        while len(of.granted) < count:
            await asyncio.sleep(0.1)
        times.append(round(asyncio.get_running_loop().time() - began))
    assert times == [10, 20]


async def test_limits_that_are_lowered_refuse_what_they_can_never_meet() -> None:
    of = _Requests(Pool(name="api", capacity=5))
    of.request("a1", 5)
    of.request("b1", 4)
    of.tokens.configure(limits(Pool(name="api", capacity=3)))
    of.tokens.release("a1")
    await asyncio.sleep(0)
    assert of.refused == ["claim 'b1' needs 4 tokens of pool 'api', which never has more than 3"]


async def test_nothing_is_called_once_it_is_closed() -> None:
    of = _Requests(Pool(name="api", rate=1.0, burst=1))
    of.request("a1")
    of.request("a2")
    of.tokens.close()
    await asyncio.sleep(100.0)
    assert not of.granted
