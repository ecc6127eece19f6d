"""What an attempt that ended well left behind, and what it means."""

from __future__ import annotations

from typing import Any

import pytest
from flyteidl.core import dynamic_job_pb2, errors_pb2, execution_pb2, literals_pb2

from propeller.errors import ErrorKind, Invalid, StorageError
from propeller.handlers.executors import _outcome
from propeller.handlers.executors._outcome import collect, has_ended
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.workflow import EffectFailed, Failure, FuturesFound, OutputsFound, Plan
from tests.unit.handlers.build import World, array, graph, literals, task, template

DIRECTORY = "memory://m/e/n0/data/1"
TASKS = {"t": template(outputs=("o0", "o1"))}

USER, SYSTEM = execution_pb2.ExecutionError.USER, execution_pb2.ExecutionError.SYSTEM


def world(tasks: dict[str, Any] | None = None) -> World:
    return World(graph(task("n0")), TASKS if tasks is None else tasks)


def error_document(**fields: Any) -> bytes:
    return errors_pb2.ErrorDocument(error=errors_pb2.ContainerError(**fields)).SerializeToString()


async def collected(of: World, **documents: bytes) -> OutputsFound | FuturesFound | EffectFailed:
    """Collect attempt 1 of n0, which left these documents."""
    of.blobs |= {f"{DIRECTORY}/{name}.pb": data for name, data in documents.items()}
    return await collect(of.node("n0"), 1, of.storage, of.launch_plans)


async def failure(of: World, **documents: bytes) -> Failure:
    found = await collected(of, **documents)
    assert isinstance(found, EffectFailed)
    assert found.attempt == 1
    return found.failure


OUTPUTS = literals(o0=1, o1=2).SerializeToString()


async def test_outputs_that_are_all_there_are_found() -> None:
    assert await collected(world(), outputs=OUTPUTS) == OutputsFound(1)


async def test_more_outputs_than_declared_do_no_harm() -> None:
    assert await collected(world(), outputs=literals(o0=1, o1=2, o2=3).SerializeToString()) == OutputsFound(1)


async def test_a_task_without_outputs_need_not_write_any() -> None:
    assert await collected(world({}), outputs=b"") == OutputsFound(1)
    assert await collected(world({})) == OutputsFound(1)


async def test_outputs_of_another_attempt_do_not_count() -> None:
    of = world()
    of.blobs["memory://m/e/n0/data/0/outputs.pb"] = OUTPUTS
    assert (await failure(of)).code == "OutputsNotFound"


async def test_missing_outputs_fail_the_attempt_with_their_place() -> None:
    found = await failure(world())
    assert (found.code, found.kind, found.recoverable) == ("OutputsNotFound", ErrorKind.USER, True)
    assert f"wrote no outputs to {DIRECTORY}/outputs.pb" in found.message


async def test_outputs_that_lack_one_name_it() -> None:
    found = await failure(world(), outputs=literals(o0=1).SerializeToString())
    assert (found.code, found.recoverable) == ("OutputsNotFound", True)
    assert "lacks the outputs ['o1']; it has ['o0']" in found.message


@pytest.mark.parametrize("document", ["futures", "error", "outputs"])
async def test_garbage_is_the_users_and_may_be_tried_again(document: str) -> None:
    found = await failure(world(), **{document: b"\xff\xff\xff"})
    assert (found.code, found.kind, found.recoverable) == ("CorruptData", ErrorKind.USER, True)
    assert f"{document}.pb (3 bytes) is not a flyteidl.core." in found.message


@pytest.mark.parametrize("document", ["futures", "error", "outputs"])
async def test_a_document_over_the_limit_is_refused_for_good(document: str) -> None:
    of = world()
    of.storage = Storage(StorageOptions(max_blob_bytes=10), stores={"memory": MemoryStore(of.blobs)})
    found = await failure(of, **{document: bytes(11)})
    assert (found.code, found.kind, found.recoverable) == ("OutputSizeExceeded", ErrorKind.USER, False)
    assert f"{DIRECTORY}/{document}.pb has 11 bytes" in found.message


@pytest.mark.parametrize(
    ("origin", "kind", "expected_kind", "recoverable"),
    [
        (USER, errors_pb2.ContainerError.RECOVERABLE, ErrorKind.USER, True),
        (USER, errors_pb2.ContainerError.NON_RECOVERABLE, ErrorKind.USER, False),
        (SYSTEM, errors_pb2.ContainerError.RECOVERABLE, ErrorKind.SYSTEM, True),
        (SYSTEM, errors_pb2.ContainerError.NON_RECOVERABLE, ErrorKind.SYSTEM, False),
        (execution_pb2.ExecutionError.UNKNOWN, errors_pb2.ContainerError.NON_RECOVERABLE, ErrorKind.USER, False),
    ],
)
async def test_an_error_document_says_whose_fault_it_is_and_whether_to_try_again(
    origin: Any, kind: Any, expected_kind: ErrorKind, recoverable: bool
) -> None:
    document = error_document(code="USER:ValueError", message="Trace:\n  boom", kind=kind, origin=origin)
    found = await failure(world(), error=document, outputs=OUTPUTS)
    assert found == Failure("USER:ValueError", "Trace:\n  boom", expected_kind, recoverable=recoverable)


async def test_an_error_document_without_an_error_is_the_systems() -> None:
    found = await failure(world(), error=b"")
    assert (found.code, found.kind, found.recoverable) == ("ErrorFileBadFormat", ErrorKind.SYSTEM, True)


async def test_an_error_counts_for_a_task_without_outputs_too() -> None:
    assert (await failure(world({}), error=error_document(code="c"))).code == "c"


async def test_an_error_without_a_code_has_one_all_the_same() -> None:
    assert (await failure(world(), error=error_document(message="m"))).code == "Unknown"


async def test_futures_come_before_error_and_outputs(monkeypatch: Any) -> None:
    of = world()

    async def compiled(*_: Any) -> Plan:
        return of.plan

    monkeypatch.setattr(_outcome, "plan_of_futures", compiled)
    job = dynamic_job_pb2.DynamicJobSpec(min_successes=1).SerializeToString()
    found = await collected(of, futures=job, error=error_document(code="c"), outputs=OUTPUTS)
    assert found == FuturesFound(1, of.plan.root)


async def test_futures_that_do_not_compile_are_the_users_and_final(monkeypatch: Any) -> None:
    async def refuse(*_: Any) -> None:
        raise Invalid("node n0 has no task")

    monkeypatch.setattr(_outcome, "plan_of_futures", refuse)
    found = await failure(world(), futures=b"")
    assert found == Failure("DynamicWorkflowBuildFailed", "node n0 has no task")


async def test_documents_are_read_past_the_cache() -> None:
    """An earlier execution of the same name may have left the same places full."""
    of = world()
    await of.storage.write(f"{DIRECTORY}/outputs.pb", b"\xff")
    assert await collected(of, outputs=OUTPUTS) == OutputsFound(1)


async def test_a_store_that_fails_fails_the_collecting_and_not_the_attempt() -> None:
    class Down(MemoryStore):
        async def read(self, uri: str, limit: int) -> bytes:
            raise StorageError(f"{uri} is out of reach")

    of = world()
    of.storage = Storage(stores={"memory": Down()})
    with pytest.raises(StorageError):
        await collected(of)


async def test_an_items_documents_are_in_its_own_directory() -> None:
    of = World(graph(array("n0")), TASKS)
    _, second = of.open_items("n0", 2)
    of.blobs["memory://m/e/n0/data/0/1/0/outputs.pb"] = OUTPUTS
    assert await collect(second, 0, of.storage, of.launch_plans) == OutputsFound(0)


@pytest.mark.parametrize("document", ["futures", "error", "outputs"])
async def test_an_attempt_whose_pod_is_gone_has_ended_where_it_left_a_document(document: str) -> None:
    of = world()
    assert not await has_ended(DIRECTORY, of.storage)
    of.blobs[f"{DIRECTORY}/{document}.pb"] = b""
    assert await has_ended(DIRECTORY, of.storage)


def test_an_empty_map_of_literals_is_no_bytes() -> None:
    """What flytekit writes for a task that returns nothing."""
    assert literals_pb2.LiteralMap().SerializeToString() == b""
