"""Flows and their limits, on virtual time."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Throttled, Unavailable
from propeller.kube import CONFIG_MAPS, LEASES, PODS, Client, ClientOptions, Request, Response
from propeller.kube._flows import Flows, requests_at_once
from propeller.kube._limit import JITTER, MAX_PAUSE, FlowLimit
from propeller.testing import now, run_virtually
from tests.examples import examples
from tests.unit.kube.scripted import ScriptedTransport, answer, failure

CREATE = Request(method="POST", path=PODS.path("a"))
STATUS = Request(method="PATCH", path=FLYTE_WORKFLOWS.path("a", "w", "status"))
OK = Response(status=200, body=b"{}")


@dataclass
class Server:
    """Answers after `took` seconds; with 429 while more than `seats` requests are under way."""

    took: float = 1.0
    seats: int = 1_000_000
    retry_after: str = "1"
    under_way: int = 0
    most: int = 0
    refused: int = 0
    answered: list[tuple[float, Request]] = field(default_factory=list)

    async def send(self, request: Request, *, deadline: float) -> Response:
        if self.under_way >= self.seats and request.method == "POST":
            self.refused += 1
            await asyncio.sleep(0.001)
            return Response(status=429, headers={"retry-after": self.retry_after} if self.retry_after else {})
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            async with asyncio.timeout(deadline):
                await asyncio.sleep(self.took)
        except TimeoutError as error:
            raise Unavailable("late") from error
        finally:
            self.under_way -= 1
        self.answered.append((now(), request))
        return OK


def flows(**at_once: int) -> Flows:
    return Flows(ClientOptions(**at_once))


@pytest.mark.parametrize(
    ("request_", "flow"),
    [
        (CREATE, "writes"),
        (Request(method="DELETE", path=PODS.path("a", "p")), "deletes"),
        (Request(method="POST", path=PODS.path("a", "p", "binding")), "writes"),
        (STATUS, "status"),
        (Request(method="PATCH", path=FLYTE_WORKFLOWS.path("a", "w")), "status"),
        (Request(method="PUT", path=CONFIG_MAPS.path("a", "c")), "status"),
        (Request(method="GET", path=PODS.path("a")), "reads"),
        (Request(method="GET", path="/version"), "reads"),
        (Request(method="GET", path=LEASES.path("a", "l")), "leases"),
        (Request(method="PUT", path=LEASES.path("a", "l")), "leases"),
        (Request(method="POST", path=LEASES.path("a")), "leases"),
    ],
    ids=lambda value: f"{value.method} {value.path}" if isinstance(value, Request) else value,
)
def test_the_flow_follows_from_verb_and_resource(request_: Request, flow: str) -> None:
    all_of_them = flows()
    assert all_of_them.of(request_) is getattr(all_of_them, flow)


async def test_a_flow_that_is_full_delays_no_other() -> None:
    limits, server = flows(writes_at_once=4), Server(took=10.0)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(limits.send(server, CREATE, 100.0))  # type: ignore[arg-type] # what it needs of one
        await asyncio.sleep(1)
        assert (limits.writes.in_flight, limits.writes.waiting) == (4, 16)
        server.took, began = 0.5, now()
        await limits.send(server, STATUS, 100.0)  # type: ignore[arg-type]
        assert now() - began == 0.5
    assert (limits.writes.in_flight, limits.writes.waiting, server.most) == (0, 0, 5)


async def test_a_pause_of_one_flow_is_no_pause_of_another() -> None:
    limits, server = flows(), Server(seats=0, retry_after="20")
    assert (await limits.send(server, CREATE, 30.0)).status == 429  # type: ignore[arg-type]
    assert (limits.writes.reserved, limits.status.reserved, limits.leases.reserved) == (1, 0, 0)
    began = now()
    await limits.send(server, STATUS, 30.0)  # type: ignore[arg-type]
    assert now() - began == pytest.approx(server.took)


async def test_a_pause_that_the_server_asks_for_is_kept_with_jitter() -> None:
    limits, server = flows(writes_at_once=1), Server(seats=0, retry_after="7")
    began = now()
    await limits.send(server, CREATE, 30.0)  # type: ignore[arg-type]
    server.seats = 1
    await limits.send(server, CREATE, 30.0)  # type: ignore[arg-type]
    assert 7 <= now() - began - server.took <= 7 * (1 + JITTER) + 0.01


async def test_if_all_requests_get_429_all_pause_and_do_not_return_together() -> None:
    limits, server = flows(writes_at_once=32), Server(seats=0, retry_after="4")
    began = now()
    await asyncio.gather(*(limits.send(server, CREATE, 30.0) for _ in range(32)))  # type: ignore[arg-type]
    assert (limits.writes.reserved, limits.writes.limit) == (32, 16)
    server.seats = 100
    await asyncio.gather(*(limits.send(server, CREATE, 30.0) for _ in range(32)))  # type: ignore[arg-type]
    came = [time - began for time, _ in server.answered]
    assert min(came) >= 4 + server.took
    assert len({round(time, 3) for time in came}) > 5


async def test_if_one_of_many_requests_gets_429_the_rest_goes_on() -> None:
    limit = FlowLimit("writes", 8)
    assert [limit.try_acquire() for _ in range(8)] == [True] * 8
    limit.rejected(0, 5.0)
    for _ in range(7):
        limit.release()
    assert (limit.limit, limit.reserved) == (4, 1)
    assert [limit.try_acquire() for _ in range(4)] == [True, True, True, False]


async def test_a_pause_without_reason_or_end_is_cut() -> None:
    limit = FlowLimit("writes", 1)
    assert limit.try_acquire()
    limit.rejected(limit.shrinks, 86_400.0)
    began = now()
    await limit.acquire_within(100.0)
    assert MAX_PAUSE <= now() - began <= MAX_PAUSE * (1 + JITTER)


async def test_refusals_of_one_burst_halve_the_limit_once() -> None:
    limit = FlowLimit("writes", 32)
    noted = [limit.shrinks for _ in range(32) if limit.try_acquire()]
    for shrinks in noted:
        limit.rejected(shrinks, None)
    assert (limit.limit, limit.throttled, limit.in_flight) == (16, 32, 0)


async def test_refusals_one_after_the_other_never_bring_the_limit_under_one() -> None:
    limit = FlowLimit("writes", 32)
    for _ in range(20):
        assert limit.try_acquire()
        limit.rejected(limit.shrinks, None)
    assert limit.limit == 1
    assert limit.try_acquire()


async def test_a_limit_grows_by_one_a_second_with_successes_and_never_over_its_most() -> None:
    limit = FlowLimit("writes", 6)
    assert limit.try_acquire()
    limit.rejected(limit.shrinks, None)
    grown = []
    for _ in range(20):
        await asyncio.sleep(0.5)
        assert limit.try_acquire()
        limit.succeeded()
        grown.append(limit.limit)
    assert grown == [3, 4, 4, 5, 5, *[6] * 15]


async def test_a_limit_does_not_grow_by_time_alone() -> None:
    limit = FlowLimit("writes", 6)
    assert limit.try_acquire()
    limit.rejected(limit.shrinks, None)
    await asyncio.sleep(100)
    assert limit.try_acquire()
    limit.succeeded()
    assert limit.limit == 4


async def test_an_exhausted_quota_a_webhook_or_a_defect_of_the_server_limits_no_flow() -> None:
    for step in (
        failure(403, "Forbidden", "exceeded quota: q"),
        failure(429, "TooManyRequests", 'admission webhook "a.b.c" denied the request: too many'),
        failure(503, "", 'failed calling webhook "a.b.c": no endpoints'),
        failure(500),
        Unavailable("gone"),
    ):
        client = Client(ScriptedTransport(step))
        with pytest.raises((Throttled, Unavailable)):
            await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "a")
        writes = client.flows.writes
        assert (writes.limit, writes.in_flight, writes.throttled, writes.reserved) == (32, 0, 0, 0)


async def test_no_room_within_the_deadline_is_throttled_and_says_why() -> None:
    limits, server = flows(writes_at_once=1), Server(took=50.0)
    first = asyncio.create_task(limits.send(server, CREATE, 100.0))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    with pytest.raises(
        Throttled, match="no room for a request within 5 s: 1 of the flow 'writes' are under way, and 1"
    ):
        await limits.send(server, CREATE, 5.0)  # type: ignore[arg-type]
    assert (await first).status == 200
    assert (limits.writes.in_flight, limits.writes.waiting) == (0, 0)


async def test_the_wait_for_a_place_counts_towards_the_deadline() -> None:
    limits, server = flows(writes_at_once=1), Server(took=4.0)
    first = asyncio.create_task(limits.send(server, CREATE, 100.0))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await limits.send(server, CREATE, 5.0)  # type: ignore[arg-type]
    assert now() == 5.0
    await first


async def test_a_client_counts_its_requests() -> None:
    client = Client(ScriptedTransport(failure(429), answer({"metadata": {"name": "a"}})))
    with pytest.raises(Throttled):
        await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "a")
    await client.get(CONFIG_MAPS, "a", "a")
    assert (client.flows.writes.throttled, client.flows.writes.limit) == (1, 16)
    assert (client.flows.reads.throttled, client.flows.reads.limit) == (0, 12)


async def test_a_server_with_few_seats_is_used_and_not_hammered() -> None:
    """More than half of what it can do is done, in spite of 32 who want to; what is refused is the probing for more."""
    limits, server = flows(writes_at_once=32), Server(took=0.1, seats=4)
    done = 0

    async def work() -> None:
        nonlocal done
        for _ in range(40):
            while (await limits.send(server, CREATE, 1000.0)).status == 429:  # type: ignore[arg-type]
                pass
            done += 1

    began = now()
    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(work())
    assert done == 1280
    assert server.most == 4
    assert server.refused < done / 10
    assert done * server.took / (now() - began) > 0.5 * server.seats


@pytest.mark.parametrize("code", [503, 504])
async def test_a_server_that_does_not_keep_up_has_fewer_creates_at_once(code: int) -> None:
    client = Client(ScriptedTransport(failure(code)))
    with pytest.raises(Unavailable):
        await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "a")
    writes = client.flows.writes
    assert (writes.limit, writes.reserved, writes.throttled, writes.cause) == (16, 1, 0, f"it answers {code}")


@pytest.mark.parametrize("code", [429, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_creates_are_the_first_to_yield_whatever_request_shows_the_load(method: str, code: int) -> None:
    limits = flows()
    request = Request(method=method, path=PODS.path("a", "p"))
    await asyncio.sleep(10.0)
    for _ in range(2):  # a burst is one sign
        await limits.send(ScriptedTransport(failure(code)), request, 100.0)
    assert (limits.writes.limit, limits.writes.cause) == (16, f"it answers {code}")
    assert limits.of(request).is_pressed == (code == 429)


async def test_a_429_without_a_time_is_a_pause_of_a_second() -> None:
    limits, server = flows(writes_at_once=1), Server(seats=0, retry_after="", took=0.0)
    for _ in range(10):
        await limits.send(server, CREATE, 30.0)  # type: ignore[arg-type]
    assert 9.0 <= now() <= 9.0 * (1 + JITTER) + 0.1


@dataclass
class Queueing(Server):
    """Works on `seats` requests at once, each for `took` seconds: others wait, and so take longer."""

    def __post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.seats)

    async def send(self, request: Request, *, deadline: float) -> Response:
        self.under_way += 1
        async with self.free:
            await asyncio.sleep(self.took)
        self.under_way -= 1
        self.answered.append((now(), request))
        return OK


async def test_a_server_that_only_queues_what_it_is_sent_is_sent_less_and_stays_busy() -> None:
    limits, server = flows(writes_at_once=32), Queueing(took=0.2, seats=2)
    await limits.send(server, CREATE, 1000.0)  # type: ignore[arg-type] # alone: what it can do
    under_way: list[int] = []

    async def work() -> None:
        for _ in range(40):
            await limits.send(server, CREATE, 1000.0)  # type: ignore[arg-type]
            under_way.append(server.under_way)

    began = now()
    async with asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(work())
    late = under_way[len(under_way) // 4 :]
    assert sum(late) / len(late) < 16, "as many as it answers within a second, not all 32"
    assert 1280 * server.took / 2 >= 0.9 * (now() - began), "its seats were taken"
    assert limits.writes.reductions["slow"] > 0
    assert limits.writes.throttled == 0


async def test_a_server_that_is_far_away_or_has_a_slow_request_now_and_then_is_not_slow() -> None:
    limits, server = flows(), Server()
    for number in range(400):
        server.took = 4.0 if number % 5 == 0 else 0.9
        await limits.send(server, CREATE, 100.0)  # type: ignore[arg-type]
    assert (limits.writes.limit, limits.writes.reductions) == (32, {})


async def test_creates_that_have_no_answer_at_all_are_the_slowest() -> None:
    limits, server = flows(), Server(took=0.01)
    for _ in range(100):
        await limits.send(server, CREATE, 100.0)  # type: ignore[arg-type]
    server.took = 100.0
    for _ in range(5):
        await asyncio.gather(
            *(limits.send(server, CREATE, 5.0) for _ in range(32)),  # type: ignore[arg-type]
            return_exceptions=True,
        )
    assert limits.writes.limit <= 4


async def test_a_server_that_is_fast_again_gets_more_within_seconds_and_the_cause_is_forgotten() -> None:
    limits, server = flows(writes_at_once=8), Server(took=0.01)

    async def some(seconds: float) -> None:
        until = now() + seconds
        while now() < until:
            await asyncio.gather(*(limits.send(server, CREATE, 100.0) for _ in range(8)))  # type: ignore[arg-type]

    await some(5.0)
    server.took = 2.0
    await some(30.0)
    assert limits.writes.limit == 1
    assert limits.writes.cause == "it takes 2 s for a create"
    server.took = 0.01
    await some(15.0)
    assert (limits.writes.limit, limits.writes.cause, limits.writes.is_pressed) == (8, "", False)


@pytest.mark.parametrize(
    "field_", ["writes_at_once", "deletes_at_once", "status_at_once", "reads_at_once", "leases_at_once"]
)
def test_a_share_of_nothing_is_refused(field_: str) -> None:
    with pytest.raises(ValueError, match=f"{field_} must be at least 1"):
        ClientOptions(**{field_: 0})


@pytest.mark.parametrize("fields", [{"slow_creates": 0.0}, {"slow_creates_ratio": 0.5}])
def test_a_time_that_makes_every_create_slow_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="every create would be slow"):
        ClientOptions(**fields)  # type: ignore[arg-type]


def test_all_flows_together_take_a_small_part_of_a_servers_capacity() -> None:
    assert requests_at_once(ClientOptions()) <= 600 / 8


@dataclass(frozen=True)
class Guest:
    """Arrives, stays, and goes; or gives up after `patience` seconds, or is cancelled."""

    arrives: float
    stays: float
    patience: float
    cancelled: float | None
    ends: str


guests = st.builds(
    Guest,
    arrives=st.sampled_from([0.0, 0.0, 1.0, 2.0, 2.5]),
    stays=st.sampled_from([0.0, 1.0, 3.0]),
    patience=st.sampled_from([1.0, 5.0, 1000.0]),
    cancelled=st.none() | st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0]),
    ends=st.sampled_from(["succeeded", "leave", "refused", "refused with a pause"]),
)


@examples(200)
@given(st.lists(guests, min_size=1, max_size=15), st.integers(1, 4))
def test_places_are_given_in_order_and_none_is_lost(sequence: list[Guest], most: int) -> None:
    async def main() -> None:
        limit = FlowLimit("writes", most)
        order = itertools.count()
        admitted: list[tuple[int, float]] = []

        async def visit(guest: Guest) -> None:
            await asyncio.sleep(guest.arrives)
            number = next(order)
            if not limit.try_acquire():
                await limit.acquire_within(guest.patience)
            admitted.append((number, now()))
            assert 0 < limit.in_flight <= most
            shrinks = limit.shrinks
            try:
                await asyncio.sleep(guest.stays)
            except asyncio.CancelledError:
                limit.release()
                raise
            match guest.ends:
                case "refused":
                    limit.rejected(shrinks, None)
                case "refused with a pause":
                    limit.rejected(shrinks, 2.0)
                case "leave":
                    limit.release()
                case _:
                    limit.succeeded()

        tasks = [asyncio.create_task(visit(guest)) for guest in sequence]
        for guest, task in zip(sequence, tasks, strict=True):
            if guest.cancelled is not None:
                asyncio.get_running_loop().call_later(guest.cancelled, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for guest, result in zip(sequence, results, strict=True):
            match result:
                case asyncio.CancelledError():
                    assert guest.cancelled is not None
                case Throttled():
                    assert guest.patience < 1000
                case _:
                    assert result is None, repr(result)
        times = [time for _, time in sorted(admitted)]
        assert times == sorted(times), "one who came later was let in at an earlier time"
        assert (limit.in_flight, limit.waiting) == (0, 0)
        await limit.acquire_within(100.0)  # there is a place again, after what pauses there are
        assert 1 <= limit.limit <= most

    run_virtually(main())


@examples(60)
@given(st.lists(st.sampled_from(["POST", "PATCH", "GET", "DELETE"]), max_size=60), st.integers(1, 4), st.integers(0, 3))
def test_no_burst_of_other_flows_ever_delays_a_lease(burst: list[str], at_once: int, seats: int) -> None:
    async def main() -> None:
        limits = flows(writes_at_once=at_once, status_at_once=at_once, reads_at_once=at_once)
        server = Server(took=5.0, seats=seats, retry_after="3")
        renewal = Request(method="PUT", path=LEASES.path("a", "l"))
        async with asyncio.TaskGroup() as group:
            for method in burst:
                request = Request(method=method, path=PODS.path("a", "p"))
                group.create_task(limits.send(server, request, 10_000.0))  # type: ignore[arg-type]
            for _ in range(5):
                began = now()
                await limits.send(server, renewal, 10.0)  # type: ignore[arg-type]
                assert now() - began == pytest.approx(server.took)
        assert limits.leases.throttled == 0

    run_virtually(main())
