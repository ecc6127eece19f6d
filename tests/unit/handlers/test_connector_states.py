"""What a connector's answer says of a job, and what a request to it holds."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import msgspec
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, literals_pb2
from google.protobuf import json_format

from propeller.connectors import Category, Channel, ConnectorOptions, ConnectorService, Directory
from propeller.errors import CorruptBlob, ErrorKind, NotFound, Unavailable
from propeller.handlers.plugins import ConnectorPlugin, JobState, PodSettings, RemoteTask
from propeller.testing import run_virtually
from propeller.wire import Literals
from propeller.workflow import AttemptPhase, ExecutionSpec, Failure, Job, Link
from tests.unit.handlers.build import World, graph, literals, task, template

PHASE = execution_pb2.TaskExecution
JOB = Job(1, 0, "trino", 2, b"id", 1000.0)


class Answering:
    """A service that answers every call with the same resource, and keeps the requests."""

    name = "warehouse"

    def __init__(self, resource: agent_pb2.Resource, *, is_sync: bool = False) -> None:
        self.resource = resource
        self.is_sync = is_sync
        self.requests: list[Any] = []
        self.error: Exception | None = None

    async def list_agents(self) -> agent_pb2.ListAgentsResponse:
        category = agent_pb2.TaskCategory(name="trino", version=2)
        agent = agent_pb2.Agent(name="a", is_sync=self.is_sync, supported_task_categories=[category])
        return agent_pb2.ListAgentsResponse(agents=[agent])

    async def create(self, request: agent_pb2.CreateTaskRequest) -> bytes:
        self.requests.append(request)
        return b"id"

    async def get(self, request: agent_pb2.GetTaskRequest) -> agent_pb2.Resource:
        self.requests.append(request)
        return self.resource

    async def delete(self, request: agent_pb2.DeleteTaskRequest) -> None:
        self.requests.append(request)
        if self.error is not None:
            raise self.error

    async def execute(
        self, header: agent_pb2.CreateRequestHeader, inputs: literals_pb2.LiteralMap
    ) -> agent_pb2.Resource:
        self.requests += [header, inputs]
        return self.resource

    async def close(self) -> None:
        """Nothing is open."""


def with_plugin(service: Answering, act: Any) -> Any:
    """What `act` returns of the plugin of a service that has said what it runs."""

    async def run() -> Any:
        options = ConnectorOptions(services=(ConnectorService(name=service.name, endpoint="w:1"),))
        directory = Directory(options, lambda _, __: cast(Channel, service))
        async with directory.running():
            await asyncio.sleep(1.0)
            return await act(ConnectorPlugin(directory))

    return run_virtually(run())


def look(**fields: Any) -> JobState:
    service = Answering(agent_pb2.Resource(**fields))
    state: JobState = with_plugin(service, lambda plugin: plugin.get(JOB, "s3://b/o"))
    return state


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (PHASE.QUEUED, AttemptPhase.PENDING),
        (PHASE.WAITING_FOR_RESOURCES, AttemptPhase.PENDING),
        (PHASE.INITIALIZING, AttemptPhase.PENDING),
        (PHASE.RUNNING, AttemptPhase.RUNNING),
        (PHASE.SUCCEEDED, AttemptPhase.SUCCEEDED),
        (PHASE.FAILED, AttemptPhase.FAILED),
        (PHASE.ABORTED, AttemptPhase.FAILED),
        (PHASE.RETRYABLE_FAILED, AttemptPhase.FAILED),
    ],
)
def test_each_phase_of_flyte_is_understood(phase: Any, expected: AttemptPhase) -> None:
    state = look(phase=phase)
    assert (state.phase, state.word) == (expected, PHASE.Phase.Name(phase))
    assert (state.failure is not None) == (expected is AttemptPhase.FAILED)


def test_no_phase_of_flyte_is_left_out() -> None:
    """A phase that a newer flyteidl adds has to be decided on, and not to fail jobs one day."""
    known = {"UNDEFINED", "QUEUED", "RUNNING", "SUCCEEDED", "ABORTED", "FAILED", "INITIALIZING"}
    assert set(PHASE.Phase.keys()) == known | {"WAITING_FOR_RESOURCES", "RETRYABLE_FAILED"}


@pytest.mark.parametrize(
    ("state", "word", "expected"),
    [
        (agent_pb2.PENDING, "INITIALIZING", AttemptPhase.PENDING),
        (agent_pb2.RUNNING, "RUNNING", AttemptPhase.RUNNING),
        (agent_pb2.SUCCEEDED, "SUCCEEDED", AttemptPhase.SUCCEEDED),
        (agent_pb2.PERMANENT_FAILURE, "FAILED", AttemptPhase.FAILED),
        (agent_pb2.RETRYABLE_FAILURE, "RETRYABLE_FAILED", AttemptPhase.FAILED),
    ],
)
def test_an_old_agents_state_counts_if_there_is_no_phase(state: Any, word: str, expected: AttemptPhase) -> None:
    seen = look(state=state)
    assert (seen.word, seen.phase) == (word, expected)


def test_a_phase_goes_before_an_old_state() -> None:
    assert look(state=agent_pb2.RUNNING, phase=PHASE.SUCCEEDED).phase is AttemptPhase.SUCCEEDED


def test_an_answer_that_says_nothing_is_a_failure_that_may_be_tried_again() -> None:
    """Protobuf's zero of the phase is UNDEFINED, and of the old state, which counts then, RETRYABLE_FAILURE:
    FlytePropeller 1.16 reads an answer without both so, too (Status of webapi/connector/plugin.go).
    """
    state = look()
    assert (state.word, state.phase) == ("RETRYABLE_FAILED", AttemptPhase.FAILED)
    assert state.failure == Failure(
        "TaskFailedWithError",
        "failed to run the job: its service says RETRYABLE_FAILED, and not why",
        ErrorKind.USER,
        recoverable=True,
    )


@pytest.mark.parametrize("fields", [{"phase": 77}, {"phase": -1}, {"state": 77}])
def test_a_phase_that_does_not_exist_is_nonsense(fields: dict[str, int]) -> None:
    with pytest.raises(CorruptBlob, match=r"connector warehouse answers nonsense to GetTask: phase .* are none of"):
        look(**fields)


@pytest.mark.parametrize(
    ("phase", "error", "expected"),
    [
        (PHASE.FAILED, {}, Failure("TaskFailedWithError", "failed to run the job: no table")),
        (
            PHASE.RETRYABLE_FAILED,
            {},
            Failure("TaskFailedWithError", "failed to run the job: no table", recoverable=True),
        ),
        (PHASE.ABORTED, {}, Failure("TaskFailedWithError", "the job was aborted: no table")),
        (
            PHASE.FAILED,
            {"code": "Busy", "kind": agent_pb2.AgentError.RECOVERABLE},
            Failure("Busy", "failed to run the job: no table", recoverable=True),
        ),
        (
            PHASE.RETRYABLE_FAILED,
            {"code": "Busy", "kind": agent_pb2.AgentError.NON_RECOVERABLE},
            Failure("Busy", "failed to run the job: no table", recoverable=True),
        ),
        (
            PHASE.FAILED,
            {"origin": execution_pb2.ExecutionError.SYSTEM},
            Failure("TaskFailedWithError", "failed to run the job: no table", ErrorKind.SYSTEM),
        ),
        (
            PHASE.FAILED,
            {"code": "Wrong", "origin": execution_pb2.ExecutionError.USER},
            Failure("Wrong", "failed to run the job: no table", ErrorKind.USER),
        ),
    ],
)
def test_a_failure_says_whose_it_is_and_whether_it_may_be_tried_again(
    phase: Any, error: dict[str, Any], expected: Failure
) -> None:
    fields: dict[str, Any] = {"agent_error": agent_pb2.AgentError(**error)} if error else {}
    assert look(phase=phase, message="no table", **fields).failure == expected


def test_a_failure_without_a_word_says_so() -> None:
    failure = look(phase=PHASE.FAILED).failure
    assert failure is not None
    assert failure.message == "failed to run the job: its service says FAILED, and not why"


def test_a_strangers_error_code_is_short() -> None:
    failure = look(phase=PHASE.FAILED, agent_error=agent_pb2.AgentError(code="x" * 10_000)).failure
    assert failure is not None
    assert len(failure.code) < 1000


def test_outputs_links_and_more_are_kept() -> None:
    resource = agent_pb2.Resource(phase=PHASE.SUCCEEDED, message="done", outputs=literals(o0=7))
    resource.log_links.add(name="Console", uri="https://w/1")
    json_format.ParseDict({"bytes": 5, "stages": ["a"]}, resource.custom_info)
    state: JobState = with_plugin(Answering(resource), lambda plugin: plugin.get(JOB, "s3://b/o"))
    assert state.outputs == literals(o0=7).SerializeToString(deterministic=True)
    assert state.links == (Link("Console", "https://w/1"),)
    assert json.loads(state.info) == {"bytes": 5.0, "stages": ["a"]}


def test_without_outputs_they_are_at_the_output_prefix() -> None:
    assert look(phase=PHASE.SUCCEEDED).outputs is None
    assert look(phase=PHASE.SUCCEEDED, outputs=literals_pb2.LiteralMap()).outputs == b""


@pytest.mark.parametrize("info", [{"large": "x" * 20_000}, {"number": float("nan")}])
def test_custom_info_that_is_too_large_or_no_json_is_left_out(info: dict[str, Any]) -> None:
    resource = agent_pb2.Resource(phase=PHASE.RUNNING)
    resource.custom_info.update(info)
    state: JobState = with_plugin(Answering(resource), lambda plugin: plugin.get(JOB, "s3://b/o"))
    assert (state.phase, state.info) == (AttemptPhase.RUNNING, "")


def test_a_job_is_asked_for_by_its_type_version_id_and_output_prefix() -> None:
    service = Answering(agent_pb2.Resource(phase=PHASE.RUNNING))
    with_plugin(service, lambda plugin: plugin.get(JOB, "s3://b/o"))
    with_plugin(service, lambda plugin: plugin.delete(JOB))
    look, delete = service.requests
    for request in (look, delete):
        assert (request.task_type, request.task_category.name, request.task_category.version) == ("trino", "trino", 2)
        assert request.resource_meta == b"id"
    assert look.output_prefix == "s3://b/o"


def test_a_job_that_is_gone_is_deleted() -> None:
    service = Answering(agent_pb2.Resource())
    service.error = NotFound("no such query", status=404)
    with_plugin(service, lambda plugin: plugin.delete(JOB))
    service.error = Unavailable("no answer")
    with pytest.raises(Unavailable):
        with_plugin(service, lambda plugin: plugin.delete(JOB))


def test_a_job_whose_type_is_no_longer_run_waits() -> None:
    service = Answering(agent_pb2.Resource(phase=PHASE.RUNNING))
    other = msgspec.structs.replace(JOB, task_type="hive")
    with pytest.raises(Unavailable, match="no connector runs task type 'hive'"):
        with_plugin(service, lambda plugin: plugin.get(other, "s3://b/o"))


TRINO = template(
    outputs=("o0",),
    sql={"statement": "select {{ .inputs.x }}", "dialect": "ANSI"},
    type="trino",
    taskTypeVersion=2,
    custom={"catalog": "hive"},
)


def a_task(declared: dict[str, Any] = TRINO, **world: Any) -> RemoteTask:
    of = World(graph(task("n0")), {"t": declared}, **world)
    return RemoteTask(
        of.node("n0"), 1, Literals(literals(x=3).SerializeToString()), PodSettings(raw_output_prefix="s3://raw")
    )


def test_a_request_has_template_inputs_and_who_asks() -> None:
    service = Answering(agent_pb2.Resource())
    made = a_task(spec=ExecutionSpec(), labels={"execution-id": "run", "project": "p", "domain": "d"})
    assert with_plugin(service, lambda plugin: plugin.create(made)) == b"id"
    (request,) = service.requests
    assert request.template.sql.statement == "select {{ .inputs.x }}"
    assert request.template.custom["catalog"] == "hive"
    assert request.inputs == literals(x=3)
    assert request.output_prefix == made.output_prefix
    metadata = request.task_execution_metadata
    assert metadata.namespace == "ns"
    assert metadata.task_execution_id.retry_attempt == 1
    assert metadata.task_execution_id.node_execution_id.node_id == "n0"
    assert metadata.annotations["propeller/job"] == made.key


def test_arguments_of_a_container_are_filled_in() -> None:
    """Those of Hive, Presto and AWS Batch refer to inputs and the output prefix, as those of a pod do."""
    service = Answering(agent_pb2.Resource())
    args = ["--x", "{{ .inputs.x }}", "--out", "{{ .outputPrefix }}", "$HOME"]
    made = a_task(template(type="trino", taskTypeVersion=2, container={"image": "i", "args": args}))
    with_plugin(service, lambda plugin: plugin.create(made))
    (request,) = service.requests
    assert list(request.template.container.args) == ["--x", "3", "--out", made.output_prefix, "$HOME"]


def test_a_sync_task_is_run_in_one_call() -> None:
    service = Answering(agent_pb2.Resource(phase=PHASE.SUCCEEDED, outputs=literals(o0=1)), is_sync=True)
    made = a_task()
    state: JobState = with_plugin(service, lambda plugin: plugin.create(made))
    header, inputs = service.requests
    assert state.phase is AttemptPhase.SUCCEEDED
    assert header.output_prefix == made.output_prefix
    assert inputs == literals(x=3)


def test_a_type_that_no_service_runs_now_is_waited_for() -> None:
    service = Answering(agent_pb2.Resource())
    made = a_task(TRINO | {"taskTypeVersion": 1})
    with pytest.raises(Unavailable, match="no connector runs version 1 of task type 'trino'"):
        with_plugin(service, lambda plugin: plugin.create(made))


def test_the_directory_is_asked_once_for_each_answer_of_a_service() -> None:
    service = Answering(agent_pb2.Resource())

    async def twice(plugin: ConnectorPlugin) -> bool:
        directory = plugin._directory
        return directory.find(Category("trino", 2)) is directory.find(Category("trino", 2))

    assert with_plugin(service, twice)
