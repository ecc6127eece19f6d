"""What every backend of tokens does. A module that has a fixture `backend` and imports the tests runs them on its
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest

from propeller.errors import Invalid
from propeller.resourcemgr import Claim, Limits, Pool, Tenant, Tokens
from propeller.testing import eventually
from tests.unit.resourcemgr.book import limits

API = Pool(name="api", capacity=1)
UNUSED_AFTER = 0.5
"""Seconds."""


class Backend(Protocol):
    """Makes running tokens of a process of its own, with these limits."""

    def __call__(self, of: Limits) -> AbstractAsyncContextManager[Tokens]: ...


class Caller:
    """Uses tokens, and notes what it hears."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.granted: list[str] = []
        """Claims that had to wait, as they were granted."""
        self.refused: list[str] = []

    async def request(self, name: str, *needs: tuple[str, int], tenant: str = "", priority: int = 0) -> bool:
        claim = Claim(name, tuple((tenant or name[0]).split("/")), needs or (("api", 1),), priority)

        def granted() -> None:
            self.granted.append(name)
            self.tokens.use(name)

        answer = self.tokens.request(claim, granted, lambda error: self.refused.append(str(error)))
        has_tokens = answer if isinstance(answer, bool) else await answer
        if has_tokens:
            self.tokens.use(name)
        return has_tokens

    async def hears(self, *granted: str) -> None:
        """Wait until exactly these were granted, in this order."""

        def is_so() -> bool:
            assert self.granted == list(granted)
            return True

        await eventually(is_so, interval=0.005)

    async def hears_of(self, count: int) -> None:
        """Wait until so many were granted."""
        await eventually(lambda: len(self.granted) >= count, interval=0.002)

    async def hears_nothing_new(self) -> None:
        before = list(self.granted)
        await asyncio.sleep(0.1)
        assert self.granted == before


@asynccontextmanager
async def calling(backend: Backend, *pools: Pool, tenants: tuple[Tenant, ...] = (), **of: int) -> AsyncIterator[Caller]:
    async with backend(limits(*pools, tenants=tenants, **of)) as tokens:
        yield Caller(tokens)


async def test_a_release_grants_to_the_next(backend: Backend) -> None:
    async with calling(backend, API) as caller:
        assert await caller.request("a1")
        assert not await caller.request("b1")
        assert (caller.tokens.waiting, caller.tokens.is_held("b1")) == (1, False)
        caller.tokens.release("a1")
        await caller.hears("b1")
        assert (caller.tokens.waiting, caller.tokens.held("b1")) == (0, (("api", 1),))


async def test_a_claim_takes_tokens_of_all_its_pools_or_none(backend: Backend) -> None:
    async with calling(backend, API, Pool(name="db", capacity=1)) as caller:
        assert await caller.request("a1", ("db", 1))
        assert not await caller.request("b1", ("api", 1), ("db", 1))
        assert await caller.request("c1", ("api", 1)), "nothing is kept for a claim that waits elsewhere"
        caller.tokens.release("a1")
        await caller.hears_nothing_new()
        caller.tokens.release("c1")
        await caller.hears("b1")


async def test_tokens_are_taken_from_a_pools_parents_too(backend: Backend) -> None:
    async with calling(backend, API, Pool(name="hive", capacity=5, parent="api")) as caller:
        assert await caller.request("a1", ("hive", 1))
        assert not await caller.request("b1", ("api", 1))


async def test_a_claim_that_was_released_is_not_called_back(backend: Backend) -> None:
    async with calling(backend, API) as caller:
        await caller.request("a1")
        await caller.request("b1")
        await caller.request("c1")
        caller.tokens.release("b1")
        caller.tokens.release("a1")
        await caller.hears("c1")


async def test_asking_and_giving_back_again_changes_nothing(backend: Backend) -> None:
    async with calling(backend, Pool(name="api", capacity=2)) as caller:
        assert await caller.request("a1")
        assert await caller.request("a1")
        assert await caller.request("a2")
        caller.tokens.release("a1")
        caller.tokens.release("a1")
        caller.tokens.release("never there")
        assert await caller.request("b1")
        assert not await caller.request("b2")
        assert not await caller.request("b2")
        caller.tokens.release("a2")
        await caller.hears("b2")


async def test_tokens_that_are_granted_and_not_used_come_back(backend: Backend) -> None:
    async with backend(limits(API)) as tokens:
        heard: list[str] = []
        for name in ("a1", "b1", "c1"):
            claim = Claim(name, (name[0],), (("api", 1),))
            answer = tokens.request(claim, lambda name=name: heard.append(name), lambda _: None)  # type: ignore[misc]
            if not isinstance(answer, bool):
                await answer
        tokens.use("a1")
        tokens.release("a1")
        await eventually(lambda: heard == ["b1", "c1"], interval=0.01)
        assert not tokens.is_held("b1")


async def test_tokens_in_doubt_come_back_unless_they_turn_out_to_be_used(backend: Backend) -> None:
    async with calling(backend, Pool(name="api", capacity=2)) as caller:
        for name in ("a1", "a2", "b1"):
            await caller.request(name)
        caller.tokens.doubt("a1")
        caller.tokens.doubt("a2")
        caller.tokens.use("a2")
        await caller.hears("b1")
        assert (caller.tokens.is_held("a1"), caller.tokens.is_held("a2")) == (False, True)


async def test_what_runs_is_counted_whether_there_are_tokens_for_it_or_not(backend: Backend) -> None:
    async with calling(backend, API) as caller:
        for name in ("a1", "a2"):
            caller.tokens.restore(Claim(name, ("a",), (("api", 1),)))
        assert caller.tokens.is_held("a2")
        assert not await caller.request("b1")
        caller.tokens.release("a1")
        await caller.hears_nothing_new()
        caller.tokens.release("a2")
        await caller.hears("b1")


@pytest.mark.parametrize(
    ("needs", "word"),
    [
        (("nope", 1), "'nope' is no pool; known are api"),
        (("api", 4), "needs 4 tokens of pool 'api', which never has more than 3"),
        (("api", 0), "needs 0 of pool 'api': write a whole number of 1 or more"),
    ],
)
async def test_what_can_never_be_granted_is_refused_at_once(
    backend: Backend, needs: tuple[str, int], word: str
) -> None:
    async with calling(backend, Pool(name="api", capacity=3)) as caller:
        with pytest.raises(Invalid) as caught:
            await caller.request("a1", needs)
        assert word in str(caught.value)
        assert not caller.tokens.waiting


async def test_other_limits_apply_to_what_waits_and_leave_what_is_held(backend: Backend) -> None:
    async with calling(backend, Pool(name="api", capacity=5)) as caller:
        assert await caller.request("a1", ("api", 5))
        for name, amount in (("b1", 4), ("b2", 2)):
            assert not await caller.request(name, ("api", amount))
        caller.tokens.configure(limits(Pool(name="api", capacity=3)))
        await eventually(lambda: bool(caller.refused), interval=0.005)
        assert caller.refused == ["claim 'b1' needs 4 tokens of pool 'api', which never has more than 3"]
        await caller.hears_nothing_new()
        caller.tokens.configure(limits(Pool(name="api", capacity=7)))
        await caller.hears("b2")
        assert caller.tokens.is_held("a1")


async def test_limits_that_contradict_themselves_change_nothing(backend: Backend) -> None:
    async with calling(backend, API) as caller:
        with pytest.raises(Invalid, match="capacity"):
            caller.tokens.configure(limits(Pool(name="api", capacity=-1)))
        assert await caller.request("a1")


async def test_tenants_take_turns_by_weight_whoever_came_first(backend: Backend) -> None:
    async with calling(backend, Pool(name="api", capacity=6), tenants=(Tenant(name="b", weight=2.0),)) as caller:
        for number in range(20):
            await caller.request(f"a{number}")
        for number in range(20):
            await caller.request(f"b{number}")
        for number in range(6):
            caller.tokens.release(f"a{number}")
            await caller.hears_of(number + 1)
        assert sorted(name[0] for name in caller.granted) == ["a", "a", "b", "b", "b", "b"]


async def test_a_tenants_own_limit_holds_beside_the_pools(backend: Backend) -> None:
    tenants = (Tenant(name="a", limits={"api": 1}),)
    async with calling(backend, Pool(name="api", capacity=3), tenants=tenants) as caller:
        assert await caller.request("a1", tenant="a/production")
        assert not await caller.request("a2", tenant="a/development")
        assert await caller.request("b1")
        caller.tokens.release("a1")
        await caller.hears("a2")


async def test_others_leave_idle_what_a_tenant_does_not_lend_and_it_has_that_at_once(backend: Backend) -> None:
    tenants = Tenant(name="a", lending={"api": 1}), Tenant(name="b")
    async with calling(backend, Pool(name="api", capacity=6), tenants=tenants) as caller:
        for number in range(5):
            assert await caller.request(f"b{number}", tenant="b/x") is (number < 4)
        assert str(caller.tokens.explain("b4")) == "waits for api: 4 of 6 held, 2 kept for other tenants, 1st of b/x"
        for number in range(3):
            assert await caller.request(f"a{number}", tenant="a/x") is (number < 2)
        caller.tokens.release("b0")
        await caller.hears("a2")
        caller.tokens.release("a0")
        await caller.hears("a2", "b4")
        with pytest.raises(Invalid, match="never has more than 4 beside the 2 that tenants keep for themselves"):
            await caller.request("b5", ("api", 5), tenant="b/x")


async def test_within_a_tenant_the_urgent_go_first_and_then_the_earlier(backend: Backend) -> None:
    async with calling(backend, API) as caller:
        for name, priority in (("a1", 0), ("a2", 0), ("a3", 0), ("a4", 7)):
            await caller.request(name, priority=priority)
        for count, name in enumerate(("a1", "a4", "a2"), 1):
            caller.tokens.release(name)
            await caller.hears_of(count)
        await caller.hears("a4", "a2", "a3")


async def test_a_big_claim_is_not_overtaken_for_ever(backend: Backend) -> None:
    async with calling(backend, Pool(name="api", capacity=2), max_bypass=2) as caller:
        for number in range(8):
            await caller.request(f"a{number}")
        await caller.request("b1", ("api", 2))
        number = 0
        while "b1" not in caller.granted:
            if caller.tokens.is_held(f"a{number}"):
                caller.tokens.release(f"a{number}")
                number += 1
            await asyncio.sleep(0.05)
        assert number < 7, "some of those that came before it still wait"


async def test_a_claim_that_waits_may_need_something_else_at_its_place(backend: Backend) -> None:
    async with calling(backend, API, Pool(name="db", capacity=1)) as caller:
        for name in ("a1", "a2", "a3"):
            await caller.request(name)
        caller.tokens.amend(Claim("a2", ("a",), (("db", 1),)))
        await caller.hears("a2")
        assert caller.tokens.held("a2") == (("db", 1),)
        caller.tokens.release("a1")
        await caller.hears("a2", "a3")


async def test_tokens_of_a_rate_come_with_time_and_are_not_given_back(backend: Backend) -> None:
    async with calling(backend, Pool(name="api", rate=20.0, burst=2)) as caller:
        loop = asyncio.get_running_loop()
        began, names = loop.time(), [f"a{number}" for number in range(8)]
        at_once = [name for name in names if await caller.request(name)]
        for name in at_once:
            caller.tokens.release(name)
        await eventually(lambda: len(caller.granted) + len(at_once) == 8, interval=0.005)
        assert len(at_once) <= 2 + 20 * (loop.time() - began)
        assert loop.time() - began >= 6 / 20 - 0.01


async def test_a_claim_that_waits_says_for_what(backend: Backend) -> None:
    async with calling(backend, Pool(name="api", capacity=2)) as caller:
        assert caller.tokens.explain("a1") is None
        for name in ("a1", "a2", "a3", "a4"):
            await caller.request(name)
        assert caller.tokens.explain("a1") is None
        wait = caller.tokens.explain("a4")
        assert wait is not None
        assert str(wait) == "waits for api: 2 of 2 held, 2nd of a"
        assert (wait.amount, wait.capacity, wait.ahead) == (1, 2, 1)


async def test_a_report_says_who_holds_and_who_waits(backend: Backend) -> None:
    pools = Pool(name="all", capacity=9), Pool(name="api", capacity=2, parent="all")
    tenants = (Tenant(name="a", weight=2.0, limits={"api": 5}),)
    async with calling(backend, *pools, tenants=tenants) as caller:
        assert await caller.request("a1", tenant="a/x")
        assert await caller.request("b1")
        assert not await caller.request("a2", tenant="a/x")
        assert not await caller.request("a3", tenant="a/y")
        one = {"all": 1, "api": 1}

        def is_right(*, own: bool = False) -> bool:
            report = caller.tokens.report(own=own)
            assert [(pool.name, pool.held, pool.capacity, pool.waiting) for pool in report.pools] == [
                ("all", 2, 9, 0),
                ("api", 2, 2, 2),
            ]
            assert {tenant.path: (tenant.weight, tenant.held, tenant.waiting) for tenant in report.tenants} == {
                ("a",): (2.0, one, {"api": 2}),
                ("a", "x"): (1.0, one, {"api": 1}),
                ("a", "y"): (1.0, {}, {"api": 1}),
                ("b",): (1.0, one, {}),
            }
            return True

        assert is_right(own=True)
        await eventually(is_right, interval=0.05)


async def test_one_process_alone_is_the_one_that_speaks(backend: Backend) -> None:
    async with calling(backend, API) as caller:
        await eventually(caller.tokens.speaks, interval=0.05)


async def test_nothing_is_called_once_it_is_closed(backend: Backend) -> None:
    async with calling(backend, API) as caller:
        await caller.request("a1")
        await caller.request("a2")
        caller.tokens.close()
        caller.tokens.release("a1")
        await caller.hears_nothing_new()
