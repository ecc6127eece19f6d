"""Leader election: one acts at a time, whatever faults clocks, network and processes have."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.clock import LoopClock
from propeller.errors import AlreadyExists, Conflict, Invalid, NotFound, Unavailable
from propeller.kube import Lease, LeaseSpec
from propeller.reconcile import Election, ElectionOptions, Leadership, LeaseLost
from propeller.testing import now, run_virtually
from tests.examples import examples


class Server:
    """One Lease under optimistic concurrency; a write without a change keeps the resourceVersion, as in Kubernetes."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.writes = 0

    def get(self) -> Lease:
        if self.lease is None:
            raise NotFound("no such lease", status=404)
        return self.lease

    def create(self, lease: Lease) -> Lease:
        if self.lease is not None:
            raise AlreadyExists("the lease exists", status=409)
        return self._store(lease)

    def replace(self, lease: Lease) -> Lease:
        current = self.get()
        if lease.metadata.resource_version != current.metadata.resource_version:
            raise Conflict("the lease was written in between")
        return current if lease.spec == current.spec else self._store(lease)

    @property
    def spec(self) -> LeaseSpec:
        return self.get().spec

    def _store(self, lease: Lease) -> Lease:
        self.writes += 1
        metadata = msgspec.structs.replace(lease.metadata, resource_version=str(self.writes))
        self.lease = msgspec.structs.replace(lease, metadata=metadata)
        return self.lease


class Link:
    """A candidate's way to the server: slow, or cut; what is lost may be the request or only its answer."""

    def __init__(self, server: Server, rng: random.Random | None = None, *, slowest: float = 0.0, loss: float = 0.0):
        self.server = server
        self.rng = rng or random.Random(0)
        self.slowest = slowest
        self.loss = loss
        self.cut = False

    async def get(self, resource: object, name: str, namespace: str | None = None) -> Any:
        return await self._exchange(self.server.get)

    async def create(self, resource: object, body: Any, namespace: str | None = None) -> Any:
        return await self._exchange(self.server.create, body)

    async def replace(self, resource: object, body: Any, name: str, namespace: str | None = None) -> Any:
        return await self._exchange(self.server.replace, body)

    async def _exchange(self, call: Any, *arguments: Any) -> Any:
        await self._leg()
        answer = call(*arguments)
        await self._leg()
        return answer

    async def _leg(self) -> None:
        await asyncio.sleep(self.rng.random() * self.slowest)
        if self.cut or self.rng.random() < self.loss:
            await asyncio.sleep(self.rng.random() * 40)
            raise Unavailable("no answer")


class SkewedClock(LoopClock):
    """A machine's clocks: the wall clock wrong by `skew` seconds or standing still, the monotonic one off in rate."""

    def __init__(self, skew: float = 0.0, rate: float = 1.0, *, stands: bool = False) -> None:
        super().__init__()
        self.skew = skew
        self.rate = rate
        self.stands = stands

    def now(self) -> float:
        return 1_700_000_000.0 + self.skew + (0.0 if self.stands else super().monotonic())

    def monotonic(self) -> float:
        return self.skew + self.rate * super().monotonic()


def candidate(link: Link, name: str, clock: LoopClock | None = None) -> Election:
    return Election(link, "flyte", "propeller", name, clock=clock or LoopClock(), rng=link.rng)


async def hold(election: Election) -> None:
    """Lead until the lease is lost."""
    async with election.lead():
        await asyncio.sleep(1e6)


@asynccontextmanager
async def leading(election: Election, seconds: float = 1e6) -> AsyncIterator[list[Leadership]]:
    """A candidate that acts for `seconds` once it leads; the list holds its leadership from then on."""
    got: list[Leadership] = []

    async def act() -> None:
        async with election.lead() as leadership:
            got.append(leadership)
            await asyncio.sleep(seconds)

    task = asyncio.create_task(act())
    try:
        yield got
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_first_candidate_leads_and_the_record_says_so() -> None:
    server = Server()
    async with leading(candidate(Link(server), "a")) as got:
        await asyncio.sleep(1)
        got[0].check()
        assert (server.spec.holder_identity, server.spec.lease_duration_seconds) == ("a", 15)


class Bare(Server):
    """A server without the lease's namespace."""

    def create(self, lease: Lease) -> Lease:
        raise NotFound('create leases flyte/propeller: namespaces "flyte" not found', status=404)


async def test_a_missing_namespace_is_reported_with_the_mend_and_retried(caplog: pytest.LogCaptureFixture) -> None:
    server: Server = Bare()
    link = Link(server)
    election = candidate(link, "a")
    async with leading(election) as got:
        await asyncio.sleep(60)
        assert "Create namespace flyte, or name another one for the lease" in election.trouble
        assert caplog.text.count("Create namespace flyte") == 2, "its 1st and its 10th time"
        link.server = Server()
        await asyncio.sleep(3)
        got[0].check()
        assert election.trouble == ""


async def test_a_standby_is_without_trouble_and_says_once_whom_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server, link = Server(), Link(Server())
    link.server = server
    standby = candidate(link, "b")
    async with leading(candidate(Link(server), "a")):
        await asyncio.sleep(1)
        async with leading(standby):
            await asyncio.sleep(60)
            assert (standby.trouble, standby.holder) == ("", "a")
            assert caplog.text.count("b waits for lease flyte/propeller, which a holds") == 1
            link.cut = True
            await asyncio.sleep(30)
            assert "lease flyte/propeller cannot be read or written" in standby.trouble


async def test_a_holder_that_renews_is_left_alone() -> None:
    server = Server()
    async with leading(candidate(Link(server), "a")):
        await asyncio.sleep(1)
        async with leading(candidate(Link(server), "b")) as second:
            await asyncio.sleep(3600)
            assert server.spec.holder_identity == "a"
            assert second == []


async def test_a_holder_whose_wall_clock_stands_still_is_left_alone() -> None:
    server = Server()
    async with leading(candidate(Link(server), "a", SkewedClock(stands=True))):
        await asyncio.sleep(1)
        async with leading(candidate(Link(server), "b")) as second:
            await asyncio.sleep(600)
            assert second == []


async def test_a_released_lease_is_taken_without_waiting_for_its_duration() -> None:
    server = Server()
    async with leading(candidate(Link(server), "a"), seconds=20) as first:
        await asyncio.sleep(1)
        async with leading(candidate(Link(server), "b")) as second:
            await asyncio.sleep(23)
            second[0].check()
            assert second[0].token == first[0].token + 1
            with pytest.raises(LeaseLost):
                first[0].check()


async def test_a_silent_holder_is_replaced_after_the_duration_and_has_stopped_before() -> None:
    server = Server()
    link = Link(server)
    lost_at = taken_at = 0.0

    async def hold_until_lost() -> None:
        nonlocal lost_at
        with pytest.raises(LeaseLost, match="a lost lease flyte/propeller"):
            await hold(candidate(link, "a"))
        lost_at = now()

    task = asyncio.create_task(hold_until_lost())
    await asyncio.sleep(1)
    link.cut = True
    async with candidate(Link(server), "b").lead():
        taken_at = now()
    await task
    settings_ = ElectionOptions()
    assert lost_at <= settings_.renew_deadline < settings_.duration <= taken_at <= settings_.duration + 2 * 2.4


async def test_a_replaced_holder_stops_at_its_next_renewal() -> None:
    server = Server()
    asyncio.get_running_loop().call_later(
        1, lambda: server.replace(msgspec.structs.replace(server.get(), spec=LeaseSpec(holder_identity="usurper")))
    )
    with pytest.raises(LeaseLost):
        await hold(candidate(Link(server), "a"))
    assert now() <= 2.4
    assert server.spec.holder_identity == "usurper"


async def test_a_holder_whose_lease_was_deleted_stops_and_its_successors_token_is_larger() -> None:
    server = Server()
    election = candidate(Link(server), "a")
    asyncio.get_running_loop().call_later(1, setattr, server, "lease", None)
    with pytest.raises(LeaseLost):
        await hold(election)
    assert now() <= 2.4
    async with election.lead() as leadership:
        assert leadership.token > 0


async def test_an_external_change_of_the_lease_does_not_end_the_leadership() -> None:
    server = Server()
    async with leading(candidate(Link(server), "a")) as got:
        await asyncio.sleep(1)
        server._store(server.get())  # a new label: a new resourceVersion, the same holder
        await asyncio.sleep(60)
        got[0].check()


async def test_the_lease_is_renewed_while_the_body_winds_down_and_is_released_after_it() -> None:
    server = Server()
    holder_at_the_end = ""

    async def act() -> None:
        nonlocal holder_at_the_end
        async with candidate(Link(server), "a").lead() as leadership:
            try:
                await asyncio.sleep(1e6)
            finally:
                await asyncio.sleep(30)  # longer than the lease lasts without renewal
                leadership.check()
                holder_at_the_end = server.spec.holder_identity or ""

    task = asyncio.create_task(act())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert holder_at_the_end == "a"
    assert server.spec.holder_identity is None


async def test_the_bodys_own_error_passes_through_and_the_lease_is_released() -> None:
    server = Server()
    with pytest.raises(ZeroDivisionError):
        async with candidate(Link(server), "a").lead():
            raise ZeroDivisionError
    assert server.spec.holder_identity is None


async def test_a_timeout_of_the_bodys_own_is_not_taken_for_a_lost_lease() -> None:
    with pytest.raises(TimeoutError):
        async with candidate(Link(Server()), "a").lead():
            raise TimeoutError


async def test_a_failed_release_does_not_hide_how_the_body_ended() -> None:
    link = Link(Server())
    async with candidate(link, "a").lead():
        link.cut = True


@pytest.mark.parametrize("times", [{"retry": 10.0}, {"renew_deadline": 15.0}, {"retry": 0.0}, {"duration": 5}], ids=str)
def test_times_that_cannot_keep_two_holders_apart_are_refused(times: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="retry < renew_deadline < duration"):
        Election(Link(Server()), "flyte", "propeller", "a", ElectionOptions(**times))


@examples(30)
@given(
    seed=st.integers(0, 2**32),
    skews=st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3),
    rates=st.lists(st.floats(0.9, 1.1), min_size=3, max_size=3),
    slowest=st.sampled_from([0.0, 0.5, 4.0, 12.0]),
    loss=st.sampled_from([0.0, 0.1, 0.4]),
)
def test_never_two_candidates_act(
    seed: int, skews: list[float], rates: list[float], slowest: float, loss: float
) -> None:
    run_virtually(_rivalry(random.Random(seed), skews, rates, slowest, loss))


async def _rivalry(rng: random.Random, skews: list[float], rates: list[float], slowest: float, loss: float) -> None:
    """Three candidates for an hour, with cuts, slow and lost answers, restarts; a witness looks twice a second."""
    server = Server()
    links = [Link(server, rng, slowest=slowest, loss=loss) for _ in skews]
    holding: dict[int, Leadership] = {}
    tokens: list[int] = []

    async def compete(number: int) -> None:
        clock = SkewedClock(skews[number], rates[number], stands=rng.random() < 0.2)
        election = candidate(links[number], f"candidate {number}", clock)
        while True:
            with suppress(LeaseLost):
                async with election.lead() as leadership:
                    tokens.append(leadership.token)
                    holding[number] = leadership
                    await asyncio.sleep(rng.expovariate(1 / 120))
            await asyncio.sleep(rng.random() * 5)

    tasks = [asyncio.create_task(compete(number)) for number in range(len(skews))]
    while now() < 3600:
        await asyncio.sleep(0.5)
        if rng.random() < 0.02:
            rng.choice(links).cut ^= True
        assert sum(leadership.remaining() > 0 for leadership in holding.values()) <= 1
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True))
    assert tokens == sorted(tokens)


class Refusing:
    """Counts requests, each of which is refused with `error`."""

    def __init__(self, error: Exception) -> None:
        self.requests = 0
        self._error = error

    async def get(self, *arguments: object) -> Any:
        self.requests += 1
        raise self._error

    create = replace = get


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("nobody", after=1e-9),
        Conflict("written in between"),
        AlreadyExists("there", status=409),
        NotFound("gone", status=404),
        ZeroDivisionError("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("seconds", [60.0, 6_000.0])
async def test_a_lease_that_cannot_be_had_is_asked_for_with_pauses(error: Exception, seconds: float) -> None:
    link = Refusing(error)
    election = Election(link, "flyte", "propeller", "a", clock=LoopClock())
    waiting = asyncio.create_task(hold(election))
    await asyncio.sleep(seconds)
    waiting.cancel()
    of_one_attempt = 3  # a look, a write, and a look after it was refused
    assert link.requests <= of_one_attempt * (seconds / ElectionOptions().retry + 1)


async def test_a_holder_that_was_halted_for_too_long_does_not_come_back_although_nobody_took_its_lease() -> None:
    server, clock = Server(), SkewedClock()

    async def lead() -> None:
        async with candidate(Link(server), "a", clock).lead() as leadership:
            server.lease = None  # others have given it up for lost
            clock.skew += 60  # it was halted: its timers have not rung yet
            for _ in range(30):
                await asyncio.sleep(1)
                assert not leadership.remaining()

    with pytest.raises(LeaseLost):
        await lead()
    assert server.lease is None
