"""Attempts that are jobs of a remote service: launches, looks, deletes, and what becomes of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest

from propeller.clock import LoopClock
from propeller.config import ConnectorOptions, LaunchOptions
from propeller.connectors import Channel, ConnectorService, Directory
from propeller.errors import (
    CorruptBlob,
    Denied,
    ErrorKind,
    Invalid,
    Malformed,
    NotFound,
    PropellerError,
    Rejected,
    StorageError,
    Throttled,
    Unavailable,
)
from propeller.handlers import (
    ChildClosures,
    Cluster,
    Gates,
    Holder,
    Inputs,
    LaunchPlans,
    RemoteJobs,
    RetryAfter,
    Services,
    execute,
)
from propeller.handlers.plugins import JobState, Plugins, PodSettings, RemotePlugin, RemoteTask
from propeller.reconcile import LeaseLost
from propeller.registry import RegistryOptions, registry_of
from propeller.testing import run_virtually
from propeller.workflow import (
    MAX_ID_BYTES,
    AttemptObserved,
    AttemptPhase,
    EffectFailed,
    Expire,
    Expired,
    Failure,
    Follow,
    Job,
    JobSeen,
    Launch,
    Link,
    NodeEvent,
    NodePhase,
    NodeView,
    Refused,
    Remains,
    StopAttempt,
    Stopped,
    Submitted,
)
from tests.unit.handlers.build import World, graph, literals, task, template

REMOTE = template(type="remote", outputs=("o0",))
RUNNING = JobState(AttemptPhase.RUNNING, "RUNNING", "it runs")
SUCCEEDED = JobState(
    AttemptPhase.SUCCEEDED,
    "SUCCEEDED",
    "done",
    (Link("Console", "https://w/1"),),
    outputs=literals(o0=7).SerializeToString(),
)
FAILED = JobState(AttemptPhase.FAILED, "FAILED", failure=Failure("Wrong", "no table"))


class Service(RemotePlugin):
    """A service that answers as a test says: by the last of `states`, or the error that is set."""

    task_types = frozenset({"remote"})

    def __init__(self) -> None:
        self.created: list[str] = []
        self.looked: list[bytes] = []
        self.deleted: list[bytes] = []
        self.states: list[JobState | PropellerError] = [RUNNING]
        self.creates: Callable[[RemoteTask], Awaitable[bytes | JobState]] = self.begin
        self.undeletable: PropellerError | None = None
        self.takes = 0.0
        self.calls: list[str] = []
        """Deletes, and what is recorded, in turn."""

    async def begin(self, task: RemoteTask) -> bytes:
        return f"job {len(self.created)}".encode()

    async def create(self, task: RemoteTask) -> bytes | JobState:
        self.created.append(task.key)
        await asyncio.sleep(self.takes)
        return await self.creates(task)

    async def get(self, job: Job, output_prefix: str) -> JobState:
        self.looked.append(job.id)
        await asyncio.sleep(self.takes)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, PropellerError):
            raise state
        return state

    async def delete(self, job: Job) -> None:
        self.deleted.append(job.id)
        self.calls.append("delete")
        await asyncio.sleep(self.takes)
        if self.undeletable is not None:
            raise self.undeletable


class Listing:
    """A connector service that lists no types."""

    name = "warehouse"

    async def list_agents(self) -> Any:
        raise Unavailable("connection refused")

    async def close(self) -> None:
        """Nothing is open."""


class Records:
    """What a status names; `error` is what it says to a change, and `calls` what happened in which order."""

    def __init__(self, calls: list[str]) -> None:
        self.kept: set[bytes] = set()
        self.error: PropellerError | None = None
        self.calls = calls

    async def keep(self, uid: str, job: Job) -> None:
        self.calls.append("keep")
        if self.error is not None:
            raise self.error
        self.kept.add(job.id)

    async def drop(self, uid: str, job: Job) -> None:
        self.calls.append("drop")
        self.kept.discard(job.id)


class Bench:
    """One execution with a task of the service, and a process that follows its jobs."""

    def __init__(self, service: Service | None = None, world: World | None = None, **options: Any) -> None:
        self.service = service or Service()
        self.world = world or World(graph(task("n0"), task("n1")), {"t": REMOTE})
        for name in ("n0", "n1"):
            self.world.execution.phases[self.world.node(name).number] = NodePhase.RUNNING
        self.told: list[tuple[Holder, NodeEvent]] = []
        self.deaf = 0
        """How many more times nobody hears."""
        self.lapsed = False
        """Whether this process may not act any more."""
        self.held: list[str] = []
        self.hold_error: PropellerError | None = None
        clock, storage = LoopClock(), self.world.storage
        connectors = ConnectorOptions(poll_shortest=1.0, poll_longest=5.0, max_failures=3, **options)
        directory = Directory(connectors, lambda _, __: cast(Channel, Listing())) if connectors.services else None
        plugins = Plugins(remote=[self.service])
        self.calls: list[str] = []
        self.records = Records(self.calls)
        self.service.calls = self.calls
        given = self.tell, self.hold, self.may_act
        self.jobs = RemoteJobs(plugins, directory, connectors, storage, clock, None, *given, records=self.records)
        self.services = Services(
            self.no_cluster,
            plugins,
            storage,
            Inputs(storage),
            PodSettings(raw_output_prefix="memory://raw"),
            Gates(LaunchOptions(), clock, lambda low, high: (low + high) / 2),
            LaunchPlans(registry_of(storage, RegistryOptions())),
            ChildClosures(storage, 0),
            jobs=self.jobs,
        )

    def may_act(self) -> None:
        if self.lapsed:
            raise LeaseLost("lease ns/propeller is no longer held")

    def no_cluster(self, node: NodeView, attempt: int) -> Cluster:
        raise AssertionError("a job is of no cluster")

    def tell(self, holder: Holder, event: NodeEvent) -> bool:
        if self.deaf:
            self.deaf -= 1
            return False
        self.told.append((holder, event))
        return True

    async def hold(self, info: Any) -> None:
        self.held.append(info.uid)
        if self.hold_error is not None:
            raise self.hold_error

    @property
    def events(self) -> list[NodeEvent]:
        return [event for _, event in self.told]

    async def do(self, effect: Callable[..., Any], attempt: int = 0, node: str = "n0") -> tuple[NodeEvent, ...]:
        view = self.world.node(node)
        found = await execute(view, effect(view.number, attempt), self.services)
        assert not isinstance(found, RetryAfter), found
        return found

    async def do_later(self, effect: Callable[..., Any]) -> None:
        """Have an effect not done for now."""
        view = self.world.node("n0")
        assert isinstance(await execute(view, effect(view.number, 0), self.services), RetryAfter)

    async def submitted(self, node: str = "n0") -> Job:
        """Launch an attempt, as a status has it."""
        (event,) = await self.do(Launch, node=node)
        assert isinstance(event, Submitted), event
        self.world.execution.jobs.begin(event.job)
        return event.job

    @property
    def prefix(self) -> str:
        return self.world.execution.output_directory(self.world.node("n0").number, 0)


def live(act: Callable[[Bench], Awaitable[None]], bench: Bench | None = None) -> Bench:
    """Let jobs be followed while `act` runs."""
    of = bench or Bench()

    async def run() -> None:
        async with of.jobs.running():
            await act(of)

    run_virtually(run())
    return of


# launches


def test_a_launch_holds_the_workflow_and_begins_a_job() -> None:
    async def act(of: Bench) -> None:
        job = await of.submitted()
        assert (job.id, job.task_type, job.attempt) == (b"job 1", "remote", 0)

    of = live(act)
    assert of.held == ["uid"]
    assert of.service.created == ["uid/e-n0-0"]


def test_a_launch_that_is_repeated_before_a_status_has_the_id_begins_no_second_job() -> None:
    """An execution that was loaded again from an older status: a shard that moved, or a conflict."""

    async def act(of: Bench) -> None:
        of.service.takes = 1.0
        first, second = await asyncio.gather(of.do(Launch), of.do(Launch))
        assert first == second
        assert await of.do(Launch) == first

    assert len(live(act).service.created) == 1


def test_outputs_of_an_earlier_process_prove_that_the_attempt_has_ended() -> None:
    async def act(of: Bench) -> None:
        of.world.blobs[f"{of.prefix}/outputs.pb"] = b""
        assert await of.do(Launch) == (AttemptObserved(0, AttemptPhase.SUCCEEDED),)

    assert live(act).service.created == []


@pytest.mark.parametrize(
    ("error", "kind", "recoverable"),
    [
        (Invalid("no such variable"), ErrorKind.USER, False),
        (Malformed("a template without a catalog", status=400), ErrorKind.USER, False),
        (Rejected("a traceback", status=500), ErrorKind.SYSTEM, True),
        (CorruptBlob("nonsense"), ErrorKind.SYSTEM, True),
        (NotFound("no such method", status=404), ErrorKind.SYSTEM, True),
    ],
)
def test_a_create_that_fails_says_whose_failure_it_is(
    error: PropellerError, kind: ErrorKind, recoverable: bool
) -> None:
    async def fails(_: RemoteTask) -> bytes:
        raise error

    async def act(of: Bench) -> None:
        of.service.creates = fails
        (event,) = await of.do(Launch)
        assert isinstance(event, EffectFailed)
        assert (event.failure.kind, event.failure.recoverable) == (kind, recoverable)
        assert str(error) in event.failure.message

    live(act)


@pytest.mark.parametrize(
    ("error", "least", "may_exist"),
    [
        (Unavailable("no answer"), 0.0, True),
        (Throttled("later", after=40.0), 40.0, True),
        (Denied("no right", status=403), 0.0, False),
    ],
)
def test_a_service_that_cannot_be_asked_now_is_waited_for(error: PropellerError, least: float, may_exist: bool) -> None:
    async def fails(_: RemoteTask) -> bytes:
        raise error

    async def act(of: Bench) -> None:
        of.service.creates = fails
        (event,) = await of.do(Launch)
        assert isinstance(event, Refused)
        assert (event.reason, event.may_exist) == (str(error), may_exist)
        assert event.after >= least

    live(act)


def test_a_workflow_that_is_being_deleted_begins_no_job() -> None:
    async def act(of: Bench) -> None:
        of.hold_error = NotFound("it is gone, or being deleted", status=404)
        (event,) = await of.do(Launch)
        assert isinstance(event, EffectFailed)

    assert live(act).service.created == []


def test_an_attempt_that_is_given_up_while_its_job_begins_has_its_id_written_before_it_is_deleted() -> None:
    async def act(of: Bench) -> None:
        of.service.takes = 5.0
        launch = asyncio.create_task(of.do(Launch))
        await asyncio.sleep(1.0)
        of.world.execution.phases[of.world.node("n0").number] = NodePhase.FAILED
        (event,) = await launch
        assert isinstance(event, Submitted)
        assert event.job.id == b"job 1"

    assert live(act).service.deleted == []  # the decision deletes it


def test_a_job_that_no_status_will_have_is_deleted_however_often_its_service_does_not_answer() -> None:
    async def act(of: Bench) -> None:
        await of.do(Launch)
        of.service.undeletable = Unavailable("no answer")
        of.jobs.forget("uid")
        await asyncio.sleep(600.0)
        assert of.jobs.are_left("uid")
        of.service.undeletable = None
        await asyncio.sleep(10.0)
        assert not of.jobs.are_left("uid")

    deleted = live(act).service.deleted
    assert set(deleted) == {b"job 1"}
    assert 50 < len(deleted) < 200  # pauses grow to `poll_longest`


@pytest.mark.parametrize(
    ("error", "calls"), [(Unavailable("no answer"), None), (Rejected("a traceback", status=500), 3)]
)
def test_a_job_that_no_status_will_have_is_not_deleted_for_ever(
    error: PropellerError, calls: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(of: Bench) -> None:
        await of.do(Launch)
        of.service.undeletable = error
        of.jobs.forget("uid")
        await asyncio.sleep(120.0)
        assert not of.jobs.are_left("uid")

    of = live(act, Bench(delete_limit=60.0))
    assert calls is None or len(of.service.deleted) == calls
    assert f"a job of execution uid may go on: {error}" in caplog.text


def test_a_job_that_no_status_will_have_is_recorded_before_it_is_deleted_and_until_then() -> None:
    """A process that ends meanwhile leaves it to the next one."""

    async def act(of: Bench) -> None:
        await of.do(Launch)
        of.service.undeletable = Unavailable("no answer")
        of.jobs.forget("uid")
        await asyncio.sleep(10.0)
        assert of.records.kept == {b"job 1"}
        of.service.undeletable = None
        await asyncio.sleep(10.0)
        assert not of.records.kept

    calls = live(act).calls
    assert calls[:2] == ["keep", "delete"]
    assert calls[-2:] == ["delete", "drop"]
    assert set(calls[1:-1]) == {"delete"}


def test_a_job_that_cannot_be_recorded_is_deleted_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def act(of: Bench) -> None:
        await of.do(Launch)
        of.records.error = Unavailable("the API server is away")
        of.service.undeletable = Unavailable("no answer")
        of.jobs.forget("uid")
        await asyncio.sleep(20.0)
        of.records.error = of.service.undeletable = None
        await asyncio.sleep(20.0)
        assert not of.jobs.are_left("uid")

    calls = live(act).calls
    assert calls[:4] == ["keep", "delete", "keep", "delete"]
    assert calls[-1] == "drop"
    assert (
        "a job of execution uid that has to be deleted is not recorded: Unavailable: the API server is away"
        in caplog.text
    )


def test_an_id_that_is_too_long_is_deleted_and_not_recorded() -> None:
    async def act(of: Bench) -> None:
        async def begin(task: RemoteTask) -> bytes:
            return b"x" * (MAX_ID_BYTES + 1)

        of.service.creates = begin
        await of.do(Launch)
        await asyncio.sleep(1.0)

    assert live(act).calls == ["delete"]


def test_a_process_whose_lease_has_lapsed_begins_no_job_and_deletes_none() -> None:
    """It was halted, and another process may have its work by now."""

    async def act(of: Bench) -> None:
        await of.submitted()
        of.lapsed = True
        (event,) = await of.do(Launch, node="n1")
        assert isinstance(event, Refused)
        await of.do_later(StopAttempt)

    of = live(act)
    assert (of.service.created, of.service.deleted) == (["uid/e-n0-0"], [])


def test_an_id_that_no_status_could_hold_is_the_systems_failure() -> None:
    async def huge(_: RemoteTask) -> bytes:
        return b"x" * (MAX_ID_BYTES + 1)

    async def act(of: Bench) -> None:
        of.service.creates = huge
        (event,) = await of.do(Launch)
        await asyncio.sleep(1.0)
        assert isinstance(event, EffectFailed)
        assert event.failure.kind is ErrorKind.SYSTEM
        assert f"may have {MAX_ID_BYTES}" in event.failure.message

    assert len(live(act).service.deleted) == 1


def test_a_task_that_runs_within_one_call_has_its_outputs_stored() -> None:
    async def runs(_: RemoteTask) -> JobState:
        return SUCCEEDED

    async def act(of: Bench) -> None:
        of.service.creates = runs
        assert await of.do(Launch) == (AttemptObserved(0, AttemptPhase.SUCCEEDED),)
        assert of.world.stored(f"{of.prefix}/outputs.pb") == {"o0": 7}
        assert msgspec.json.decode(of.world.blobs[f"{of.prefix}/job.json"])["phase"] == "SUCCEEDED"

    live(act)


def test_one_call_that_ends_without_an_end_is_the_systems_failure() -> None:
    async def runs(_: RemoteTask) -> JobState:
        return RUNNING

    async def act(of: Bench) -> None:
        of.service.creates = runs
        (event,) = await of.do(Launch)
        assert isinstance(event, EffectFailed)
        assert (event.failure.kind, event.failure.recoverable) == (ErrorKind.SYSTEM, True)
        assert "says that it is RUNNING" in event.failure.message

    live(act)


WAREHOUSE = (ConnectorService(name="warehouse", endpoint="w:1"),)


def test_a_service_that_has_never_answered_may_run_the_type_and_is_waited_for() -> None:
    async def act(of: Bench) -> None:
        await asyncio.sleep(1.0)
        (event,) = await of.do(Launch)
        assert isinstance(event, Refused)
        assert event.reason.startswith("connector warehouse at w:1 has not said yet which task types it runs")
        assert event.after > 0

    sql = template(type="trino", outputs=("o0",), sql={"statement": "select 1"})
    live(act, Bench(world=World(graph(task("n0"), task("n1")), {"t": sql}), services=WAREHOUSE))


# looks


def test_a_job_is_followed_to_its_end_and_its_outputs_are_stored_before_that_is_told() -> None:
    async def act(of: Bench) -> None:
        of.service.states = [RUNNING, RUNNING, RUNNING, SUCCEEDED]
        await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(30)
        seen, ended = of.events
        assert isinstance(seen, JobSeen)
        assert (seen.job.phase, seen.job.message) == ("RUNNING", "it runs")
        assert ended == AttemptObserved(0, AttemptPhase.SUCCEEDED)
        assert of.world.stored(f"{of.prefix}/outputs.pb") == {"o0": 7}
        assert len(of.service.looked) == 4

    live(act)


def test_an_end_is_told_until_it_is_heard() -> None:
    async def act(of: Bench) -> None:
        of.service.states, of.deaf = [SUCCEEDED], 3
        await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(60)

    of = live(act)
    assert of.events == [AttemptObserved(0, AttemptPhase.SUCCEEDED)]
    assert len(of.service.looked) == 4


def test_what_nobody_heard_is_told_again_though_nothing_has_changed() -> None:
    async def act(of: Bench) -> None:
        of.deaf = 1
        await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(10)

    assert [type(event) for event in live(act).events] == [JobSeen]


@pytest.mark.parametrize(
    ("error", "code", "remains"),
    [
        (NotFound("no such query", status=404), "JobNotFound", Remains.NOTHING),
        (CorruptBlob("phase 77 is none of Flyte's"), "ConnectorFailed", Remains.RUNNING),
        (Rejected("a traceback", status=500), "ConnectorFailed", Remains.RUNNING),
    ],
)
def test_looks_that_fail_in_a_row_fail_the_attempt_by_the_systems_fault(
    error: PropellerError, code: str, remains: Remains
) -> None:
    async def act(of: Bench) -> None:
        of.service.states = [error]
        await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(60)
        (event,) = of.events
        assert isinstance(event, AttemptObserved)
        assert event.failure is not None
        assert (event.failure.code, event.failure.kind, event.failure.recoverable) == (code, ErrorKind.SYSTEM, True)
        assert event.failure.message.startswith("3 looks in a row at its job have failed: ")
        assert event.remains is remains

    assert len(live(act).service.looked) == 3


def test_a_forgotten_job_has_succeeded_if_its_outputs_are_there() -> None:
    async def act(of: Bench) -> None:
        of.service.states = [NotFound("no such query", status=404)]
        await of.submitted()
        of.world.blobs[f"{of.prefix}/outputs.pb"] = b""
        await of.do(Follow)
        await asyncio.sleep(60)

    assert live(act).events == [AttemptObserved(0, AttemptPhase.SUCCEEDED)]


def test_a_look_that_is_answered_begins_the_count_of_failures_anew() -> None:
    async def act(of: Bench) -> None:
        broken = Rejected("a traceback", status=500)
        of.service.states = [broken, broken, RUNNING, broken, broken, RUNNING, SUCCEEDED]
        await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(120)

    assert live(act).events[-1] == AttemptObserved(0, AttemptPhase.SUCCEEDED)


def test_a_service_that_restarts_is_waited_for_and_the_job_says_so() -> None:
    async def act(of: Bench) -> None:
        of.service.states = [RUNNING, *[Unavailable("connection refused")] * 20, RUNNING, SUCCEEDED]
        await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(600)
        shown = [event.job.phase for event in of.events if isinstance(event, JobSeen)]
        assert shown == ["RUNNING", "UNKNOWN", "RUNNING"]

    assert live(act).events[-1] == AttemptObserved(0, AttemptPhase.SUCCEEDED)


def test_outputs_that_cannot_be_stored_now_are_stored_at_a_later_look() -> None:
    async def act(of: Bench) -> None:
        of.service.states = [SUCCEEDED]
        write, tries = of.world.storage.write, 0

        async def fails(uri: str, data: bytes) -> None:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise StorageError("slow down")
            await write(uri, data)

        await of.submitted()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(of.world.storage, "write", fails)
            await of.do(Follow)
            await asyncio.sleep(60)
        assert of.world.stored(f"{of.prefix}/outputs.pb") == {"o0": 7}

    assert live(act).events[-1] == AttemptObserved(0, AttemptPhase.SUCCEEDED)


def test_a_service_that_hangs_shows_nothing_of_a_job_that_was_given_up() -> None:
    async def act(of: Bench) -> None:
        of.service.takes = 100.0
        job = await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(5.0)
        of.service.takes = 0.0
        assert await of.do(StopAttempt) == (Stopped(0),)
        await asyncio.sleep(200.0)
        assert of.service.deleted == [job.id]

    assert live(act).events == []


def test_another_process_looks_at_the_same_job_and_begins_none() -> None:
    """After a crash, or when a shard has moved: what it knows of the job is the status."""
    first = Bench()
    live(lambda of: of.submitted(), first)  # type: ignore[arg-type, return-value]

    async def act(of: Bench) -> None:
        of.service.states = [SUCCEEDED]
        await of.do(Follow)
        await asyncio.sleep(5.0)

    second = live(act, Bench(first.service, first.world))
    assert second.events == [AttemptObserved(0, AttemptPhase.SUCCEEDED)]
    assert first.service.created == ["uid/e-n0-0"]
    assert first.service.looked == [b"job 1"]


def test_nothing_of_an_execution_that_is_over_is_looked_at() -> None:
    async def act(of: Bench) -> None:
        await of.submitted()
        await of.do(Follow)
        await asyncio.sleep(5.0)
        of.jobs.forget("uid")
        of.service.looked.clear()
        await asyncio.sleep(60.0)
        assert of.service.looked == []

    assert live(act).service.deleted == []


def test_a_job_that_no_status_has_is_deleted_when_its_execution_is_over() -> None:
    async def act(of: Bench) -> None:
        await of.do(Launch)
        of.jobs.forget("uid")
        await asyncio.sleep(5.0)

    assert live(act).service.deleted == [b"job 1"]


# deadlines and deletes


def test_a_job_that_ended_before_its_deadline_counts() -> None:
    async def act(of: Bench) -> None:
        await of.submitted()
        assert await of.do(Expire) == (Expired(0),)
        of.service.states = [Unavailable("no answer")]
        assert await of.do(Expire) == (Expired(0),)
        of.service.states = [SUCCEEDED]
        assert await of.do(Expire) == (AttemptObserved(0, AttemptPhase.SUCCEEDED),)
        of.service.states = [FAILED]
        (event,) = await of.do(Expire)
        assert isinstance(event, AttemptObserved)
        assert event.failure == Failure("Wrong", "no table")

    live(act)


def test_a_job_is_deleted_once_however_many_ask() -> None:
    async def act(of: Bench) -> None:
        of.service.takes = 1.0
        job = await of.submitted()
        await asyncio.gather(of.do(StopAttempt), of.do(StopAttempt), of.jobs.delete("uid", job))
        await of.do(StopAttempt)

    assert live(act).service.deleted == [b"job 1"]


def test_a_delete_that_fails_for_now_is_tried_again() -> None:
    async def act(of: Bench) -> None:
        job = await of.submitted()
        of.service.undeletable = Unavailable("no answer")
        with pytest.raises(Unavailable):
            await of.jobs.delete("uid", job)
        of.service.undeletable = None
        await of.jobs.delete("uid", job)

    assert live(act).service.deleted == [b"job 1", b"job 1"]


def test_a_delete_that_is_answered_with_an_error_is_tried_again_and_the_job_is_gone() -> None:
    """Regression: one error, which a connector has of what its own service answers now and then, left the job."""

    async def act(of: Bench) -> None:
        await of.submitted()
        of.service.undeletable = Rejected("a traceback", status=500)
        await of.do_later(StopAttempt)
        of.service.undeletable = None
        assert await of.do(StopAttempt) == (Stopped(0),)
        assert await of.do(StopAttempt) == (Stopped(0),)

    assert live(act).service.deleted == [b"job 1", b"job 1"]


def test_a_delete_that_no_retry_mends_is_logged_and_ends_the_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """As many errors in a row as looks may have (`max_failures`)."""

    async def act(of: Bench) -> None:
        await of.submitted()
        of.service.undeletable = Rejected("a traceback", status=500)
        for _ in range(2):
            await of.do_later(StopAttempt)
        assert await of.do(StopAttempt) == (Stopped(0),)

    assert live(act).service.deleted == [b"job 1"] * 3
    assert "the job of attempt 0 may go on: a traceback" in caplog.text


def test_a_job_whose_plugin_is_gone_waits_and_names_the_setting() -> None:
    async def act(of: Bench) -> None:
        job = msgspec.structs.replace(await of.submitted(), task_type="other")
        with pytest.raises(Unavailable, match=r"a job of task type 'other' runs, .* setting connectors.services"):
            await of.jobs.delete("uid", job)

    live(act)


def test_an_attempt_whose_job_has_the_id_of_an_earlier_one_is_deleted_too() -> None:
    """Services may name jobs by what they compute, and begin one anew under its name."""

    async def act(of: Bench) -> None:
        for node in ("n0", "n1"):
            job = await of.submitted(node)
            await of.jobs.delete("uid", msgspec.structs.replace(job, id=b"the query"))

    assert live(act).service.deleted == [b"the query", b"the query"]
