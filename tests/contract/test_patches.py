"""Patches of every kind: what they change, what they refuse, and what makes them conflict."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.controller import FLYTE_WORKFLOWS
from propeller.errors import Conflict, NotFound, Rejected
from propeller.kube import CONFIG_MAPS, PODS, PatchKind, Raw
from propeller.testing import ServerUnderTest
from tests.contract.custom_resources import install_flyte_workflows
from tests.contract.objects import config_map, pod, version


async def made(server: ServerUnderTest, **data: str) -> Raw:
    return await server.client.create(CONFIG_MAPS, config_map("a", **data), server.namespace)


async def patched(server: ServerUnderTest, body: Any, kind: PatchKind = PatchKind.MERGE, **options: Any) -> Raw:
    return await server.client.patch(CONFIG_MAPS, "a", server.namespace, body=body, kind=kind, **options)


async def test_a_merge_patch_sets_what_it_names_and_removes_what_it_nulls(server: ServerUnderTest) -> None:
    before = await made(server, a="1", b="2", c="3")
    after = await patched(server, {"metadata": {"labels": {"l": "1"}}, "data": {"a": "9", "b": None}})
    assert after["data"] == {"a": "9", "c": "3"}
    assert after["metadata"]["labels"] == {"l": "1"}
    assert version(after) > version(before)


async def test_a_merge_patch_onto_an_older_version_is_a_conflict(server: ServerUnderTest) -> None:
    before = await made(server)
    await patched(server, {"data": {"k": "v"}})
    body = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}, "data": {"k": "w"}}
    with pytest.raises(Conflict, match="the object has been modified"):
        await patched(server, body)


async def test_a_merge_patch_onto_the_present_version_succeeds(server: ServerUnderTest) -> None:
    before = await made(server)
    body = {"metadata": {"resourceVersion": before["metadata"]["resourceVersion"]}, "data": {"k": "w"}}
    assert (await patched(server, body))["data"] == {"k": "w"}


async def test_a_patch_that_names_another_uid_changes_nothing(server: ServerUnderTest) -> None:
    before = await made(server, k="v")
    with pytest.raises(Rejected, match=r"metadata.uid: .* field is immutable") as refused:
        await patched(server, {"metadata": {"uid": "of-an-earlier-one"}, "data": {"k": "w"}})
    assert refused.value.status == 422
    assert await server.client.get(CONFIG_MAPS, "a", server.namespace) == before


async def test_a_patch_that_changes_nothing_keeps_the_version(server: ServerUnderTest) -> None:
    before = await made(server, k="v")
    assert version(await patched(server, {"data": {"k": "v"}})) == version(before)


async def test_a_json_patch_adds_replaces_removes_and_tests(server: ServerUnderTest) -> None:
    await made(server, a="1", b="2")
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "é"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/data/c", "value": "3"},
    ]
    assert (await patched(server, operations, PatchKind.JSON))["data"] == {"a": "é", "c": "3"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/a", "value": "9"},
        {"op": "remove", "path": "/data/none"},
        {"op": "replace", "path": "/nowhere/at/all", "value": "9"},
    ],
    ids=lambda operation: operation["op"],
)
async def test_a_json_patch_that_does_not_fit_is_refused_whole(server: ServerUnderTest, operation: Raw) -> None:
    before = await made(server, a="1")
    with pytest.raises(Rejected) as refused:
        await patched(server, [{"op": "add", "path": "/data/b", "value": "2"}, operation], PatchKind.JSON)
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert await server.client.get(CONFIG_MAPS, "a", server.namespace) == before


async def test_escaped_slashes_in_a_json_patchs_path_are_part_of_the_key(server: ServerUnderTest) -> None:
    await made(server)
    operations = [
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/example.org~1a", "value": "1"},
    ]
    assert (await patched(server, operations, PatchKind.JSON))["metadata"]["annotations"] == {"example.org/a": "1"}


async def test_a_strategic_patch_merges_lists_by_their_key(server: ServerUnderTest) -> None:
    pods = PODS.typed(Raw)
    await server.client.create(pods, pod("a"), server.namespace)
    for condition in ({"type": "Ready", "status": "False"}, {"type": "Own", "status": "True"}):
        await server.client.patch(
            pods,
            "a",
            server.namespace,
            body={"status": {"conditions": [condition]}},
            kind=PatchKind.STRATEGIC,
            subresource="status",
        )
    conditions = (await server.client.get(pods, "a", server.namespace))["status"]["conditions"]
    assert {(condition["type"], condition["status"]) for condition in conditions} == {
        ("Ready", "False"),
        ("Own", "True"),
    }


async def test_a_merge_patch_replaces_lists(server: ServerUnderTest) -> None:
    pods = PODS.typed(Raw)
    await server.client.create(pods, pod("a"), server.namespace)
    for name in ("First", "Second"):
        body = {"status": {"conditions": [{"type": name, "status": "True"}]}}
        after = await server.client.patch(pods, "a", server.namespace, body=body, subresource="status")
    assert [condition["type"] for condition in after["status"]["conditions"]] == ["Second"]


async def test_custom_resources_take_no_strategic_patch(server: ServerUnderTest) -> None:
    await install_flyte_workflows(server.client)
    await server.client.create(FLYTE_WORKFLOWS, {"metadata": {"name": "w"}}, server.namespace)
    with pytest.raises(Rejected) as refused:
        await server.client.patch(FLYTE_WORKFLOWS, "w", server.namespace, body={"spec": {}}, kind=PatchKind.STRATEGIC)
    assert (refused.value.status, refused.value.reason) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize("body", ["text", 5, ["a"]], ids=str)
async def test_a_merge_patch_that_is_no_object_is_a_bad_request(server: ServerUnderTest, body: Any) -> None:
    await made(server)
    with pytest.raises(Rejected) as refused:
        await patched(server, body)
    assert refused.value.status == 400


async def test_a_patch_that_makes_the_object_invalid_is_refused(server: ServerUnderTest) -> None:
    await made(server)
    with pytest.raises(Rejected) as refused:
        await patched(server, {"metadata": {"labels": {"k": "two words"}}})
    assert refused.value.status == 422
    with pytest.raises(Rejected) as refused:
        await patched(server, {"data": "text"})
    assert refused.value.status == 422


def applied(**data: str) -> Raw:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


async def apply(server: ServerUnderTest, manager: str, *, force: bool = False, **data: str) -> Raw:
    return await patched(server, applied(**data), PatchKind.APPLY, field_manager=manager, force=force)


def managers_of(obj: Raw) -> dict[str, set[str]]:
    """Each manager's keys of `data`."""
    return {
        entry["manager"]: {key.removeprefix("f:") for key in entry["fieldsV1"].get("f:data", {}) if key != "."}
        for entry in obj["metadata"]["managedFields"]
        if entry["operation"] == "Apply"
    }


async def test_apply_creates_what_is_not_there(server: ServerUnderTest) -> None:
    after = await apply(server, "one", x="1")
    assert after["data"] == {"x": "1"}
    assert managers_of(after) == {"one": {"x"}}


async def test_the_same_apply_again_changes_nothing(server: ServerUnderTest) -> None:
    first = await apply(server, "one", x="1")
    assert version(await apply(server, "one", x="1")) == version(first)


async def test_apply_removes_what_its_manager_names_no_more(server: ServerUnderTest) -> None:
    await apply(server, "one", x="1", y="2")
    assert (await apply(server, "one", y="2"))["data"] == {"y": "2"}


async def test_apply_of_anothers_field_is_a_conflict_that_names_both(server: ServerUnderTest) -> None:
    await apply(server, "one", x="1")
    with pytest.raises(Conflict, match=r'conflict with "one": \.data\.x'):
        await apply(server, "two", x="2")
    assert (await server.client.get(CONFIG_MAPS, "a", server.namespace))["data"] == {"x": "1"}


async def test_forced_apply_takes_the_field_over(server: ServerUnderTest) -> None:
    await apply(server, "one", x="1", y="1")
    after = await apply(server, "two", force=True, x="2")
    assert after["data"] == {"x": "2", "y": "1"}
    assert managers_of(after) == {"one": {"y"}, "two": {"x"}}


async def test_managers_that_agree_share_a_field(server: ServerUnderTest) -> None:
    await apply(server, "one", x="1")
    assert managers_of(await apply(server, "two", x="1")) == {"one": {"x"}, "two": {"x"}}
    assert (await apply(server, "one"))["data"] == {"x": "1"}  # the other still wants it


async def test_apply_conflicts_with_fields_that_an_update_set(server: ServerUnderTest) -> None:
    await made(server, x="1")
    with pytest.raises(Conflict, match=r"\.data\.x"):
        await apply(server, "one", x="2")


async def test_apply_needs_a_manager_and_a_kind(server: ServerUnderTest) -> None:
    with pytest.raises(Rejected, match="fieldManager: Required value") as refused:
        await patched(server, applied(), PatchKind.APPLY, field_manager="")
    assert refused.value.status == 422
    with pytest.raises(Rejected) as refused:
        await patched(server, {"kind": "", "apiVersion": "", "metadata": {"name": "a"}}, PatchKind.APPLY)
    assert refused.value.status == 400


async def test_a_patch_of_what_is_not_there_is_not_found(server: ServerUnderTest) -> None:
    for kind, body in ((PatchKind.MERGE, {}), (PatchKind.JSON, []), (PatchKind.STRATEGIC, {})):
        with pytest.raises(NotFound):
            await patched(server, body, kind)
