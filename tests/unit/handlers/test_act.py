"""Effects: what each does to pods and storage, and what becomes of its errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
import pytest
from flyteidl.core import tasks_pb2

from propeller.config import EffectOptions, LaunchOptions
from propeller.errors import ErrorKind, StorageError, Unavailable
from propeller.handlers import (
    ChildClosures,
    Cluster,
    Gates,
    Inputs,
    Kind,
    LaunchPlans,
    RetryAfter,
    RetryState,
    Services,
    execute,
)
from propeller.handlers.executors import _run
from propeller.handlers.plugins import POD, AttemptObserver, Plugins, PodSettings
from propeller.kube import PODS, Client, Pod, Request, Response, Stream
from propeller.registry import RegistryOptions, registry_of
from propeller.storage import MemoryStore, Storage
from propeller.workflow import (
    AttemptObserved,
    AttemptOptions,
    AttemptPhase,
    BranchEvaluated,
    Collect,
    EffectFailed,
    EvaluateBranch,
    Expire,
    Expired,
    Failure,
    GatherOutputs,
    InputsWritten,
    Launch,
    Launched,
    NodeEvent,
    NodePhase,
    ObserveAttempt,
    OutputsFound,
    OutputsWritten,
    Refused,
    StopAttempt,
    Stopped,
    WorkflowPhase,
    WriteInputs,
    WriteOutputs,
)
from tests.unit.handlers.build import World, array, bindings, graph, task, template
from tests.unit.handlers.pods import ended, pod
from tests.unit.storage.values import promise

Answer = Callable[[Request], Response | Exception | None]


class Pods:
    """An API server that has nothing but pods; `answers` come before its own, one for each request."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.answers: list[Response | Exception] = []
        self.before: Callable[[Request], None] = lambda request: None

    async def send(self, request: Request, *, deadline: float) -> Response:
        name = request.path.rpartition("/")[2]
        self.requests.append((request.method, name))
        self.before(request)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        match request.method:
            case "POST":
                body = orjson.loads(request.body)
                name = body["metadata"]["name"]
                if name in self.objects:
                    return status(409, "AlreadyExists", f'pods "{name}" already exists')
                body["metadata"] |= {"uid": f"uid-{len(self.requests)}", "resourceVersion": str(len(self.requests))}
                self.objects[name] = body
                return Response(status=201, body=orjson.dumps(body))
            case "DELETE" if name in self.objects:
                return Response(status=200, body=orjson.dumps(self.objects.pop(name)))
            case "GET" if name in self.objects:
                return Response(status=200, body=orjson.dumps(self.objects[name]))
        return status(404, "NotFound", f'pods "{name}" not found')

    def stream(self, request: Request, *, deadline: float) -> AbstractAsyncContextManager[Stream]:
        raise AssertionError("nobody watches here")

    async def close(self) -> None:
        """Nothing is open."""


def status(code: int, reason: str, message: str, **headers: str) -> Response:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return Response(status=code, headers=headers, body=orjson.dumps(body))


class At:
    """A clock that stands where a test puts it."""

    def __init__(self, time: float) -> None:
        self.time = time

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def invalid(field: str) -> Response:
    """As the API server's own validation answers."""
    body = {"reason": "Invalid", "code": 422, "message": f'Pod "e-n0-0" is invalid: {field}: Required value'}
    causes = [{"reason": "FieldValueRequired", "message": "Required value", "field": field}]
    return Response(status=422, body=orjson.dumps(body | {"details": {"name": "e-n0-0", "causes": causes}}))


class Bench:
    """One execution, the pods of its cluster, and the services that effects work with."""

    def __init__(self, root: dict[str, Any], tasks: dict[str, Any] | None = None, **world: Any) -> None:
        self.world = World(root, tasks, **world)
        self.server = Pods()
        self.cached: dict[str, Pod] = {}
        self.clock = At(1000.0)
        self.gates = Gates(LaunchOptions(), self.clock, lambda low, high: (low + high) / 2)
        self.services = self._services(self.world.storage)
        for node in ("n0",):
            self.world.execution.phases[self.world.node(node).number] = NodePhase.RUNNING

    def _services(self, storage: Storage) -> Services:
        settings = PodSettings(raw_output_prefix="memory://raw")
        kinds: dict[AttemptObserver, Kind] = {POD: Kind.of(PODS, self.cached)}
        cluster = Cluster(Client(self.server), kinds)
        plans = LaunchPlans(registry_of(storage, RegistryOptions()))
        closures = ChildClosures(storage, 0)
        return Services(
            lambda node, attempt: cluster, Plugins(), storage, Inputs(storage), settings, self.gates, plans, closures
        )

    def with_store(self, store: MemoryStore) -> None:
        self.services = self._services(Storage(stores={"memory": store}))

    async def do(self, effect: Callable[..., Any], *rest: int, node: str = "n0") -> tuple[NodeEvent, ...]:
        view, tries = self.world.node(node), RetryState()
        while True:
            found = await execute(view, effect(view.number, *rest), self.services, tries)
            if not isinstance(found, RetryAfter):
                return found
            tries = found.tries

    def attempt(self, number: int) -> None:
        self.world.execution.attempts[self.world.node("n0").number] = number


def bench(**fields: Any) -> Bench:
    return Bench(graph(task("n0", **fields)))


async def test_a_launch_stores_the_inputs_and_creates_the_pod() -> None:
    of = bench(inputBindings=bindings(a=1))
    assert await of.do(Launch, 0) == (Launched(0),)
    assert of.world.stored("memory://m/e/n0/data/inputs.pb") == {"a": 1}
    assert list(of.server.objects) == ["e-n0-0"]
    assert of.server.requests == [("POST", "pods")]


async def test_a_second_launch_of_an_attempt_finds_its_pod_and_its_news() -> None:
    of = bench()
    await of.do(Launch, 0)
    of.server.objects["e-n0-0"]["status"] = {"phase": "Succeeded"}
    assert await of.do(Launch, 0) == (Launched(0), AttemptObserved(0, AttemptPhase.SUCCEEDED))
    assert len(of.server.objects) == 1


async def test_a_pod_that_the_cache_has_is_not_asked_for_again() -> None:
    of = bench()
    of.attempt(1)
    of.cached["ns/e-n0-1"] = pod("Succeeded", ended(0))
    assert await of.do(Launch, 1) == (Launched(1), AttemptObserved(1, AttemptPhase.SUCCEEDED))
    assert not of.server.requests


async def test_a_pod_of_our_name_that_is_somebody_elses_is_waited_for_and_left_alone() -> None:
    of = bench()
    of.cached["ns/e-n0-0"] = pod("Running", name="e-n0-0", uid="another")
    (refused,) = await of.do(Launch, 0)
    assert isinstance(refused, Refused)
    assert "ns/e-n0-0 exists and belongs to something else: delete it" in refused.reason
    assert await of.do(StopAttempt, 0) == (Stopped(0),)
    assert not of.server.requests


async def test_a_pod_that_vanishes_between_two_looks_is_asked_for_again_later() -> None:
    of = bench()
    of.server.answers = [status(409, "AlreadyExists", "exists"), status(404, "NotFound", "gone")]
    (refused,) = await of.do(Launch, 0)
    assert isinstance(refused, Refused)


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (status(403, "Forbidden", "exceeded quota: pods"), EffectOptions().quota_retry),
        (status(429, "TooManyRequests", "slow down", **{"retry-after": "7"}), 7.0),
        (status(500, "InternalError", "etcd is away"), LaunchOptions().pause),
        (status(409, "Conflict", "try again"), LaunchOptions().pause),
        (Unavailable("no answer"), LaunchOptions().pause),
    ],
)
async def test_a_server_without_room_or_answer_is_tried_later(answer: Any, after: float) -> None:
    of = bench()
    of.server.answers = [answer]
    (refused,) = await of.do(Launch, 0)
    assert isinstance(refused, Refused)
    assert (refused.attempt, refused.after) == (0, after)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (invalid("spec.containers[0].image"), "BadTaskFormat"),
        (status(400, "BadRequest", "Pod in version v1 cannot be handled as a Pod"), "BadTaskFormat"),
        (status(413, "RequestEntityTooLarge", "big"), "EntityTooLarge"),
    ],
)
async def test_a_pod_that_is_itself_wrong_fails_at_once_as_the_users_in_flytes_codes(answer: Any, code: str) -> None:
    of = bench()
    of.server.answers = [answer]
    (found,) = await of.do(Launch, 0)
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.kind, found.failure.recoverable) == (code, ErrorKind.USER, False)


async def test_a_pod_that_asks_for_more_than_the_policy_allows_fails_for_its_user_and_is_not_created() -> None:
    spec = {"hostPID": True, "containers": [{"name": "main", "image": "image"}]}
    of = Bench(graph(task("n0")), {"t": template(k8sPod={"podSpec": spec}, config={"primary_container_name": "main"})})
    (found,) = await of.do(Launch, 0)
    assert isinstance(found, EffectFailed)
    assert (found.failure.kind, found.failure.recoverable) == (ErrorKind.USER, False)
    assert "spec.hostPID" in found.failure.message
    assert "pods.host_namespaces" in found.failure.message
    assert of.server.requests == []


async def test_a_task_that_cannot_be_a_pod_fails_for_good() -> None:
    of = Bench(graph(task("n0")), {"t": template(sql={"statement": "SELECT 1"})})
    (found,) = await of.do(Launch, 0)
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.recoverable) == ("FailedToBuildResource", False)
    assert not of.server.requests


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metadata": {"isEager": True}}, "is eager: it needs FlyteAdmin's API .* Write it as @dynamic or @workflow"),
        ({"type": "eager_failure_handler_task"}, "cleans up after an eager task .* nothing was started"),
    ],
)
async def test_an_eager_task_fails_at_once_with_what_it_lacks(fields: dict[str, Any], said: str) -> None:
    container = {"image": "i", "args": ["pyflyte-execute"]}
    of = Bench(graph(task("n0")), {"t": template(container=container, **fields)})
    (found,) = await of.do(Launch, 0)
    assert isinstance(found, EffectFailed)
    failure = found.failure
    assert (failure.code, failure.kind, failure.recoverable) == ("EagerNeedsFlyteAdmin", ErrorKind.USER, False)
    assert re.search(said, failure.message)
    assert of.server.requests == []


async def test_an_eager_task_runs_where_a_service_answers_for_flyteadmin() -> None:
    tasks = {"t": template(container={"image": "i", "args": ["x"]}, metadata={"isEager": True})}
    of = Bench(graph(task("n0")), tasks)
    of.world.execution.settings = AttemptOptions(run_eager=True)
    await of.do(Launch, 0)
    assert "e-n0-0" in of.server.objects


async def test_inputs_that_cannot_be_resolved_fail_for_good() -> None:
    of = bench(inputBindings=bindings(a=promise("n9", "o0")))
    (found,) = await of.do(Launch, 0)
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.node, found.failure.recoverable) == (
        "BindingResolutionFailure",
        "n0",
        False,
    )


async def test_a_task_that_asks_for_its_template_finds_it() -> None:
    of = Bench(graph(task("n0")), {"t": template(container={"args": ["{{.taskTemplatePath}}"]})})
    await of.do(Launch, 0)
    assert of.server.objects["e-n0-0"]["spec"]["containers"][0]["args"] == ["memory://m/e/n0/data/task.pb"]
    stored = tasks_pb2.TaskTemplate.FromString(of.world.blobs["memory://m/e/n0/data/task.pb"])
    assert stored == of.world.plan.task("t")


async def test_an_attempt_that_was_given_up_before_its_launch_gets_no_pod() -> None:
    of = bench()
    of.world.execution.phases[of.world.node("n0").number] = NodePhase.ABORTED
    assert await of.do(Launch, 0) == ()
    assert not of.server.requests


async def test_a_pod_that_ends_before_its_creation_is_answered_is_kept() -> None:
    of = bench()

    def end(request: Request) -> None:
        of.world.execution.phases[of.world.node("n0").number] = NodePhase.SUCCEEDED

    of.server.before = end
    assert await of.do(Launch, 0) == (Launched(0),)
    assert list(of.server.objects) == ["e-n0-0"]


async def test_a_pod_is_adopted_from_the_cache_else_from_the_server() -> None:
    of = bench()
    of.cached["ns/e-n0-1"] = pod("Running")
    assert await of.do(ObserveAttempt, 1) == (AttemptObserved(1, AttemptPhase.RUNNING),)
    assert not of.server.requests
    await of.do(Launch, 0)
    assert await of.do(ObserveAttempt, 0) == (Launched(0), AttemptObserved(0, AttemptPhase.PENDING))


async def test_that_a_pod_runs_is_no_news_where_the_informer_does_not_follow_it() -> None:
    of = bench()
    await of.do(Launch, 0)
    of.server.objects["e-n0-0"]["status"] = {"phase": "Running"}
    assert await of.do(ObserveAttempt, 0) == (Launched(0),)
    of.server.objects["e-n0-0"]["status"] = {"phase": "Succeeded"}
    assert await of.do(ObserveAttempt, 0) == (Launched(0), AttemptObserved(0, AttemptPhase.SUCCEEDED))


async def test_a_pod_that_is_gone_without_a_trace_is_gone() -> None:
    (found,) = await bench().do(ObserveAttempt, 0)
    assert isinstance(found, AttemptObserved)
    assert found.phase is AttemptPhase.GONE


async def test_a_pod_that_is_gone_with_its_outputs_stored_has_succeeded() -> None:
    of = bench()
    of.world.blobs["memory://m/e/n0/data/0/outputs.pb"] = b""
    assert await of.do(ObserveAttempt, 0) == (AttemptObserved(0, AttemptPhase.SUCCEEDED),)


async def test_a_stop_deletes_the_pod_and_a_second_one_does_nothing() -> None:
    of = bench()
    await of.do(Launch, 0)
    assert await of.do(StopAttempt, 0) == (Stopped(0, 30.0),)
    assert not of.server.objects
    assert await of.do(StopAttempt, 0) == (Stopped(0),)


@pytest.mark.parametrize("cached", [True, False])
async def test_a_pod_that_has_ended_is_not_deleted_it_is_the_record_of_its_attempt(cached: bool) -> None:
    of = bench()
    await of.do(Launch, 0)
    of.server.objects["e-n0-0"]["status"] = {"phase": "Failed"}
    if cached:
        of.cached["ns/e-n0-0"] = pod("Failed", name="e-n0-0")
    assert await of.do(StopAttempt, 0) == (Stopped(0),)
    assert list(of.server.objects) == ["e-n0-0"]


async def test_a_stop_is_for_the_pod_that_we_saw() -> None:
    of = bench()
    seen: list[bytes] = []
    of.cached["ns/e-n0-0"] = pod("Running", name="e-n0-0")
    of.server.before = lambda request: seen.append(request.body)
    await of.do(StopAttempt, 0)
    assert orjson.loads(seen[0])["preconditions"]["uid"] == "uid of e-n0-0"


async def test_stop_and_adopt_wait_for_as_long_as_the_server_does_not_answer() -> None:
    of = bench()
    await of.do(Launch, 0)
    of.server.answers = [Unavailable("no answer")] * round(
        2 * EffectOptions().retry_budget / EffectOptions().backoff_cap
    )
    assert await of.do(StopAttempt, 0) == (Stopped(0, 30.0),)
    assert not of.server.objects


@pytest.mark.parametrize("effect", [StopAttempt, ObserveAttempt, Expire])
async def test_what_concerns_a_pod_that_exists_waits_until_it_is_allowed(effect: Callable[..., Any]) -> None:
    of = bench()
    await of.do(Launch, 0)
    of.server.objects["e-n0-0"]["status"] = {"phase": "Succeeded"}
    of.server.answers = [status(403, "Forbidden", "pods is forbidden: User cannot")] * 1000
    (found, *_) = await of.do(effect, 0)
    assert isinstance(found, Stopped | Launched | AttemptObserved)
    assert not of.server.answers


class Flaky(MemoryStore):
    """Fails the first `failures` times."""

    def __init__(self, blobs: dict[str, bytes], failures: int) -> None:
        super().__init__(blobs)
        self.failures = failures

    async def read(self, uri: str, limit: int) -> bytes:
        self._fail(uri)
        return await super().read(uri, limit)

    async def write(self, uri: str, data: bytes) -> None:
        self._fail(uri)
        await super().write(uri, data)

    def _fail(self, uri: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageError(f"{uri} is out of reach")


async def test_an_attempt_that_has_ended_well_is_not_lost_when_the_store_fails_for_a_moment() -> None:
    of = bench()
    of.with_store(Flaky(of.world.blobs, 5))
    assert await of.do(Collect, 0) == (OutputsFound(0),)


@pytest.mark.parametrize("effect", [WriteInputs, WriteOutputs, EvaluateBranch, GatherOutputs])
async def test_no_other_effect_fails_for_it_either(effect: Callable[..., Any]) -> None:
    condition = {"comparison": {"leftValue": {"var": "a"}, "rightValue": {"primitive": {"integer": "1"}}}}
    branch = {"if": {"condition": condition, "then": "n2"}}
    bound = bindings(a=promise("n1", "o0"))
    nodes: dict[Any, dict[str, Any]] = {
        WriteInputs: {"id": "n0", "kind": "workflow", "workflow": {"subWorkflowRef": "w"}, "inputBindings": bound},
        WriteOutputs: task("n0", inputBindings=bound),
        EvaluateBranch: {"id": "n0", "kind": "branch", "branch": branch, "inputBindings": bound},
        GatherOutputs: array("n0"),
    }
    of = Bench(
        graph(nodes[effect], task("n1"), *([task("n2")] if effect is EvaluateBranch else []), edges=[("n1", "n0")]),
        {"t": template(outputs=("o0",))},
        w=graph(task("x")),
    )
    await of.world.succeeded("n1", o0=1)
    for item in of.world.open_items("n0", 2) if effect is GatherOutputs else ():
        await of.world.succeeded(item, o0=1)
    of.with_store(Flaky(of.world.blobs, 3))
    (found,) = await of.do(effect)
    assert found in (InputsWritten(), OutputsWritten(), BranchEvaluated("n2"))


async def test_a_launch_waits_for_the_store_and_says_so() -> None:
    of = bench()
    of.with_store(Flaky(of.world.blobs, 1))
    (found,) = await of.do(Launch, 0)
    assert isinstance(found, Refused)
    assert (found.reason, found.after) == (
        "memory://m/e/n0/data/inputs.pb is out of reach",
        EffectOptions().storage_retry,
    )
    assert not of.server.requests


async def test_the_store_is_asked_ever_more_rarely_for_as_long_as_an_outage_lasts() -> None:
    of = bench()
    of.with_store(Flaky(of.world.blobs, 1000))
    view, pauses, tries = of.world.node("n0"), [], RetryState()
    while isinstance(found := await execute(view, Collect(view.number, 0), of.services, tries), RetryAfter):
        pauses.append(found.after)
        tries = found.tries
    assert pauses[:8] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0]
    assert EffectOptions().retry_budget <= sum(pauses) < EffectOptions().retry_budget + EffectOptions().backoff_cap
    assert set(pauses[8:]) == {EffectOptions().backoff_cap}


async def test_a_store_that_goes_on_failing_fails_the_attempt_as_the_systems() -> None:
    of = bench()
    of.with_store(Flaky(of.world.blobs, 1000))
    (found,) = await of.do(Collect, 0)
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.kind, found.failure.recoverable) == (
        "StorageError",
        ErrorKind.SYSTEM,
        True,
    )
    assert "is out of reach" in found.failure.message


async def test_retries_end_with_the_execution() -> None:
    of = bench()
    of.with_store(Flaky(of.world.blobs, 1000))
    of.world.execution.phase = WorkflowPhase.ABORTED
    assert await of.do(Collect, 0) == ()


async def test_a_defect_of_ours_fails_its_node_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> tuple[NodeEvent, ...]:
        raise ZeroDivisionError("oops")

    executors: dict[Any, Any] = {**_run.EXECUTORS, Collect: broken}
    monkeypatch.setattr(_run, "EXECUTORS", executors)
    (found,) = await bench().do(Collect, 0)
    assert found == EffectFailed(
        0, Failure("InternalError", "ZeroDivisionError: oops", ErrorKind.SYSTEM, recoverable=True)
    )
    assert "ns/e node n0: Collect failed" in caplog.text


async def test_a_map_tasks_inputs_are_counted() -> None:
    of = Bench(graph(array("n0", inputBindings=bindings(xs=[1, 2, 3]))))
    assert await of.do(WriteInputs) == (InputsWritten(3),)


async def test_garbage_in_the_place_of_an_input_is_corrupt() -> None:
    of = Bench(graph(task("n0", inputBindings=bindings(a=promise("n1", "o"))), task("n1"), edges=[("n1", "n0")]))
    of.world.blobs["memory://m/e/n1/data/0/outputs.pb"] = b"\xff"
    (found,) = await of.do(Launch, 0)
    assert isinstance(found, EffectFailed)
    assert (found.failure.code, found.failure.kind) == ("CorruptData", ErrorKind.USER)


@pytest.mark.parametrize(
    ("phase", "found"),
    [("Succeeded", AttemptPhase.SUCCEEDED), ("Failed", AttemptPhase.FAILED), ("Running", None), (None, None)],
)
async def test_an_attempt_whose_time_is_up_is_what_its_pod_came_to(
    phase: str | None, found: AttemptPhase | None
) -> None:
    of = bench()
    if phase is not None:
        await of.do(Launch, 0)
        of.server.objects["e-n0-0"]["status"] = {"phase": phase}
    (event,) = await of.do(Expire, 0)
    assert event == Expired(0) if found is None else isinstance(event, AttemptObserved) and event.phase is found


async def test_a_pod_that_ends_between_the_look_and_the_delete_is_kept() -> None:
    """Found by the model: the delete named the uid alone, and the record of a result was gone."""
    of = bench()
    await of.do(Launch, 0)
    of.cached["ns/e-n0-0"] = pod("Running", name="e-n0-0", version="7")
    of.server.objects["e-n0-0"]["status"] = {"phase": "Succeeded"}
    of.server.answers = [status(409, "Conflict", "the object has been modified")]
    seen: list[bytes] = []
    of.server.before = lambda request: seen.append(request.body)
    assert await of.do(StopAttempt, 0) == (Stopped(0),)
    assert orjson.loads(seen[0])["preconditions"]["resourceVersion"] == "7"
    assert list(of.server.objects) == ["e-n0-0"]


async def test_an_execution_that_another_has_taken_the_place_of_launches_nothing() -> None:
    """Found by the model: a launch that was under way brought a pod back that had been stopped."""
    of = bench()
    of.world.execution.dropped = True
    assert await of.do(Launch, 0) == ()
    assert not of.server.requests
