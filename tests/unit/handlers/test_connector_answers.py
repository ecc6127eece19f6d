"""What a connector service may answer that no connector should: it is bounded, and one message says what is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import msgspec
import pytest
from flyteidl.admin import agent_pb2
from flyteidl.core import execution_pb2, literals_pb2

from propeller.connectors import ConnectorOptions, ConnectorService, Directory
from propeller.errors import CorruptBlob, Denied, NotFound, PropellerError, Throttled, TooLarge, Unavailable
from propeller.handlers.plugins import ConnectorPlugin, JobState
from propeller.text import MESSAGE_CHARACTERS
from propeller.workflow import Job, Look
from tests.connectors import answering
from tests.unit.handlers.build import literals
from tests.unit.handlers.test_connector_states import a_task

PHASE = execution_pb2.TaskExecution
JOB = Job(0, 0, "trino", 2, b"id", 1000.0)
LISTED = agent_pb2.ListAgentsResponse(
    agents=[agent_pb2.Agent(name="a", supported_task_categories=[agent_pb2.TaskCategory(name="trino", version=2)])]
)

Act = Callable[[ConnectorPlugin], Awaitable[Any]]


async def asked(act: Act, *, change: Any = lambda service: service, **answers: Any) -> Any:
    """What `act` returns of a plugin whose service, by gRPC, answers calls with these messages."""

    def saying(answer: Any) -> Any:
        async def answers_with(_: bytes, context: Any) -> bytes:
            if isinstance(answer, grpc.StatusCode):
                await context.abort(answer, "for a reason")
            return bytes(answer if isinstance(answer, bytes) else answer.SerializeToString())

        return answers_with

    calls = {name: saying(answer) for name, answer in {"ListAgents": LISTED, **answers}.items()}
    async with answering(calls) as service:
        directory = Directory(ConnectorOptions(services=(change(service),), task_types={"trino": service.name}))
        async with directory.asked():
            return await act(ConnectorPlugin(directory))


def look(plugin: ConnectorPlugin) -> Awaitable[JobState]:
    return plugin.get(JOB, "s3://b/o")


async def state_of(**fields: Any) -> JobState:
    answer = agent_pb2.GetTaskResponse(resource=agent_pb2.Resource(**fields))
    state: JobState = await asked(look, GetTask=answer)
    return state


def shown(state: JobState) -> Look:
    return Look.of(state.word, state.message, state.links, state.info)


async def test_a_message_of_megabytes_is_kept_short_while_the_job_runs_and_when_it_fails() -> None:
    said = "begin " + "x" * 3_000_000 + " end"
    running = await state_of(phase=PHASE.RUNNING, message=said)
    assert len(running.message) <= MESSAGE_CHARACTERS
    failed = await state_of(phase=PHASE.FAILED, message=said)
    assert failed.failure is not None
    assert len(failed.failure.message) <= MESSAGE_CHARACTERS
    assert failed.failure.message.endswith(" end")


async def test_a_message_over_the_limit_of_an_answer_names_the_setting() -> None:
    with pytest.raises(TooLarge, match=r"connectors\.max_message_bytes is 4194304"):
        await state_of(phase=PHASE.RUNNING, message="x" * 10_000_000)


async def test_an_id_over_the_limit_of_an_answer_names_the_setting() -> None:
    answer = agent_pb2.CreateTaskResponse(resource_meta=b"x" * 5_000_000)
    with pytest.raises(TooLarge, match=r"CreateTask.*connectors\.max_message_bytes is 4194304"):
        await asked(lambda plugin: plugin.create(a_task()), CreateTask=answer)


async def test_of_many_links_few_are_kept_and_none_that_runs_a_script_or_moves_a_cursor() -> None:
    links = [execution_pb2.TaskLog(name=f"log {number}", uri=f"https://l/{number}") for number in range(100_000)]
    links[0] = execution_pb2.TaskLog(name="script", uri="JavaScript:alert(1)")
    links[1] = execution_pb2.TaskLog(name="data", uri="data:text/html,<script>alert(1)</script>")
    links[2] = execution_pb2.TaskLog(name="\x1b[2Jcursor", uri="https://l/\x1b]0;title\x07")
    links[3] = execution_pb2.TaskLog(name="long", uri="https://l/" + "x" * 5000)
    links[4] = execution_pb2.TaskLog(name="n" * 100_000, uri="https://l/name")
    links[5] = execution_pb2.TaskLog(name="none", uri="")
    state = await state_of(phase=PHASE.RUNNING, log_links=links)
    assert len(state.links) <= 20
    kept = shown(state).links
    assert kept
    for link in kept:
        assert link.uri.startswith("https://l/")
        assert link.name.isprintable() or "\n" in link.name
        assert link.uri.isprintable()
    assert not {"script", "data", "long", "none"} & {link.name for link in kept}


async def test_custom_info_that_is_nested_deeply_is_kept_or_is_nonsense_by_name() -> None:
    """protobuf reads 100 levels of messages, of which a level of a Struct has three."""
    for depth in (5, 20):
        kept: JobState = await asked(look, GetTask=_deep(depth))
        assert kept.info.count('"in"') == depth + 1
    with pytest.raises(CorruptBlob, match="answer of connector other to GetTask"):
        await asked(look, GetTask=_deep(200))


def _deep(depth: int) -> bytes:
    """A GetTaskResponse with such a custom_info, written by hand, as protobuf copies none."""
    value = b"\x11" + b"\0" * 8
    for _ in range(depth):
        entry = b"\x0a\x02in" + _field(2, value)
        value = _field(5, _field(1, entry))
    resource = b"\x28\x02" + _field(6, _field(1, b"\x0a\x02in" + _field(2, value)))  # phase RUNNING, custom_info
    return _field(1, resource)


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


@pytest.mark.parametrize("phase", [9, 99, -1])
async def test_a_phase_that_flyte_does_not_have_is_named(phase: int) -> None:
    with pytest.raises(CorruptBlob, match=f"answers nonsense to GetTask: phase {phase} and state 0"):
        await state_of(phase=phase)


async def test_outputs_that_are_handed_over_go_before_those_in_the_store() -> None:
    state = await state_of(phase=PHASE.SUCCEEDED, outputs=literals(o0=7))
    assert state.outputs is not None
    assert literals_pb2.LiteralMap.FromString(state.outputs) == literals(o0=7)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Throttled),
        (grpc.StatusCode.UNAUTHENTICATED, Denied),
        (grpc.StatusCode.PERMISSION_DENIED, Denied),
        (grpc.StatusCode.NOT_FOUND, NotFound),
    ],
)
async def test_each_refusal_of_a_create_is_told_apart(code: grpc.StatusCode, expected: type[PropellerError]) -> None:
    with pytest.raises(expected, match=f"CreateTask of connector other at .*: {code.name}: for a reason"):
        await asked(lambda plugin: plugin.create(a_task()), CreateTask=code)


async def test_a_host_whose_name_is_gone_is_waited_for_and_named() -> None:
    def gone(service: ConnectorService) -> ConnectorService:
        return msgspec.structs.replace(service, endpoint="no-such-host.invalid:1", timeout=5.0)

    with pytest.raises(Unavailable, match=r"GetTask of connector other at no-such-host\.invalid:1"):
        await asked(look, change=gone)


async def test_a_job_is_asked_of_the_service_that_has_begun_it_whatever_others_list_by_now() -> None:
    """Another service would not know its id."""
    running = agent_pb2.GetTaskResponse(resource=agent_pb2.Resource(phase=PHASE.RUNNING)).SerializeToString()

    def calls(name: str, asked: list[str], listed: agent_pb2.ListAgentsResponse) -> dict[str, Any]:
        async def lists(_: bytes, context: Any) -> bytes:
            return listed.SerializeToString()

        async def get(_: bytes, context: Any) -> bytes:
            asked.append(name)
            return running

        async def delete(_: bytes, context: Any) -> bytes:
            asked.append(f"{name} deletes")
            return b""

        return {"ListAgents": lists, "GetTask": get, "DeleteTask": delete}

    seen: list[str] = []
    began = msgspec.structs.replace(JOB, service="old")
    async with (
        answering(calls("new", seen, LISTED), "new") as new,
        answering(calls("old", seen, agent_pb2.ListAgentsResponse()), "old") as old,
    ):
        both, one = ConnectorOptions(services=(new, old)), ConnectorOptions(services=(new,))
        for options in (both, one):
            directory = Directory(options)
            async with directory.asked():
                plugin = ConnectorPlugin(directory)
                assert plugin.service_of(began) == options.services[-1].name
                await plugin.get(began, "s3://b/o")
                await plugin.delete(began)
    assert seen == ["old", "old deletes", "new", "new deletes"]  # if the settings name it no more, who runs its type
