"""What an object store keeps of an execution whose FlyteWorkflow is gone is found by its name, and by that alone."""

from __future__ import annotations

import pytest
from flyteidl.core import errors_pb2, execution_pb2

from propeller.cli._kept import find_kept, kept_error, kept_literals
from propeller.errors import Invalid, PropellerError
from propeller.storage import MemoryStore, Storage, StorageOptions
from tests.unit.handlers.build import World, graph, task
from tests.unit.handlers.build import array as map_node

PREFIX = "memory://m"


def storage(*uris: str, data: bytes = b"") -> Storage:
    return Storage(StorageOptions(metadata_prefix=PREFIX), stores={"memory": MemoryStore(dict.fromkeys(uris, data))})


def of(directory: str) -> str:
    return f"{PREFIX}/{directory}/n0/data/0/outputs.pb"


@pytest.mark.parametrize("directory", ["p-d-e-0123abcd", "e-0123abcd", "p-d-e", "e"])
async def test_a_directory_is_the_name_with_its_namespace_and_uid_or_without(directory: str) -> None:
    kept = await find_kept("e", "p-d", PREFIX, storage(of(directory), of("p-d-e2-0123abcd"), of("other")))
    assert kept.uri("n0", "outputs.pb") == of(directory)


async def test_of_several_executions_of_a_name_people_choose_by_directory() -> None:
    store = storage(of("p-d-e-0123abcd"), of("p-d-e-4567abcd"))
    with pytest.raises(Invalid, match=r"several executions were named e: name one of p-d-e-0123abcd, p-d-e-4567abcd"):
        await find_kept("e", "p-d", PREFIX, store)
    kept = await find_kept("p-d-e-4567abcd", "p-d", PREFIX, store)
    assert kept.uri("n0", "outputs.pb") == of("p-d-e-4567abcd")


async def test_executions_whose_names_begin_alike_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("propeller.cli._kept.MAX_BLOBS", 3)
    store = storage(of("p-d-e-0123abcd"), *(of(f"p-d-e{number}-0123abcd") for number in range(5)), of("e5"), of("e6"))
    assert (await find_kept("e", "p-d", PREFIX, store)).directory == f"{PREFIX}/p-d-e-0123abcd"


async def test_another_execution_is_not_taken_for_it() -> None:
    with pytest.raises(PropellerError, match="nothing of an execution e is below"):
        await find_kept("e", "p-d", PREFIX, storage(of("p-d-e-x"), of("p-d-e-0123abcde"), f"{PREFIX}/p-d-e-0123abcd"))


async def test_documents_are_those_of_the_layout_that_executions_write() -> None:
    world = World(
        graph(task("a"), {"id": "s", "kind": "workflow", "workflow": {"subWorkflowRef": "sub"}}, map_node("m")),
        sub=graph(task("x")),
    )
    world.open_sub_workflow("s", "sub")
    items = world.open_items("m", 3)
    execution, uris = world.execution, {}
    for view in (world.node("a"), world.node("s-0-x"), items[1]):
        execution.attempts[view.number] = 2
        uris[execution.unique_id(view.number)] = view
    written = [
        uri
        for view in uris.values()
        for uri in (
            execution.inputs_uri(view.number),
            execution.outputs_uri(view.number),
            f"{execution.output_directory(view.number, 1)}/error.pb",
        )
    ]
    kept = await find_kept("e", "ns", PREFIX, storage(*written))
    for node, view in uris.items():
        assert kept.uri(node, "inputs.pb") == execution.inputs_uri(view.number)
        assert kept.uri(node, "outputs.pb") == execution.outputs_uri(view.number)
        assert kept.uri(node, "error.pb") == f"{execution.output_directory(view.number, 1)}/error.pb"
        assert kept.uri(node, "outputs.pb", attempt=1) == ""
    with pytest.raises(Invalid, match=r"nothing of a node 'b'; it has a, m-0-"):
        kept.uri("b", "outputs.pb")


async def test_strange_names_are_no_documents() -> None:
    strange = (
        "n0/data/x/outputs.pb",
        "n0/outputs.pb",
        "n0/data/outputs.pb",
        "n0/data/0/a/inputs.pb.tmp",
        "n0/data/0/0/0/0/1/2/outputs.pb",
    )
    kept = await find_kept("e", "ns", PREFIX, storage(*(f"{PREFIX}/e/{one}" for one in strange)))
    assert "n0" not in kept.documents


async def test_an_error_counts_unless_a_later_attempt_has_outputs() -> None:
    error = errors_pb2.ContainerError(code="Bug", message="no rain", origin=execution_pb2.ExecutionError.USER)
    data = errors_pb2.ErrorDocument(error=error).SerializeToString()
    store = storage(f"{PREFIX}/e/n0/data/0/error.pb", data=data)
    kept = await find_kept("e", "ns", PREFIX, store)
    assert await kept_error(kept, "n0", store) == {"code": "Bug", "kind": "USER", "message": "no rain", "node": "n0"}
    assert await kept_literals(kept, "", "outputs", store) is None
    both = storage(f"{PREFIX}/e/n0/data/0/error.pb", f"{PREFIX}/e/n0/data/1/outputs.pb")
    assert await kept_error(await find_kept("e", "ns", PREFIX, both), "n0", both) is None


async def test_an_error_is_shown_without_credentials() -> None:
    error = errors_pb2.ContainerError(code="Bug", message="s3://me:hunter2@store/x is not read, token=hunter2secret")
    data = errors_pb2.ErrorDocument(error=error).SerializeToString()
    store = storage(f"{PREFIX}/e/n0/data/0/error.pb", data=data)
    found = await kept_error(await find_kept("e", "ns", PREFIX, store), "n0", store)
    assert found is not None
    assert "hunter2" not in found["message"]


async def test_a_path_that_a_task_made_up_costs_little() -> None:
    made_up = f"{PREFIX}/e/n0/data/0{'/1/0' * 45}/outputs.pb"
    endless = f"{PREFIX}/e/n0/data/{'9' * 5000}/outputs.pb"
    kept = await find_kept("e", "ns", PREFIX, storage(made_up, endless, f"{PREFIX}/e/n1/data/0/1/0/outputs.pb"))
    assert kept.documents.keys() == {"n1-0-1", "n1-0-n1"}
