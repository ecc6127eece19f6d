"""Server-side apply: who owns what, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from propeller.embedded.server import ApiServer
from propeller.embedded.server.patch._managed_fields import Manager, Scope
from propeller.embedded.server.patch._server_side_apply import apply as apply_to
from propeller.embedded.server.patch._server_side_apply import merge
from propeller.embedded.server.schema._schema import builtin
from propeller.errors import Conflict
from propeller.kube import CONFIG_MAPS, PODS, Client, PatchKind, Raw
from tests.unit.server.asking import DEFAULT, ask, config_map, pod, send

PATH = f"{DEFAULT}/configmaps/c"


async def apply(client: Client, manager: str, data: dict[str, str], *, force: bool = False, **metadata: Any) -> Raw:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", **metadata},
        "data": data,
    }
    return await client.patch(
        CONFIG_MAPS, "c", "default", body=body, kind=PatchKind.APPLY, field_manager=manager, force=force
    )


def owners(obj: Raw) -> dict[str, Any]:
    """Who owns which keys of a config map's data."""
    return {
        f"{entry['manager']} {entry['operation']}": sorted(
            key.removeprefix("f:") for key in entry["fieldsV1"].get("f:data", {}) if key != "."
        )
        for entry in obj["metadata"].get("managedFields", ())
    }


async def test_each_applier_owns_the_fields_it_applies(client: Client) -> None:
    await apply(client, "one", {"a": "1"})
    assert owners(await apply(client, "other", {"b": "2"})) == {"one Apply": ["a"], "other Apply": ["b"]}


async def test_a_field_that_an_applier_omits_is_removed_unless_another_owns_it(client: Client) -> None:
    await apply(client, "one", {"a": "1", "b": "2"})
    await apply(client, "other", {"b": "2"})
    left = await apply(client, "one", {})
    assert left["data"] == {"b": "2"}
    assert owners(left) == {"one Apply": [], "other Apply": ["b"]}


async def test_a_conflict_names_every_field_and_its_owner(client: Client, server: ApiServer) -> None:
    await apply(client, "one", {"a": "1", "b": "1"})
    with pytest.raises(Conflict):
        await apply(client, "other", {"a": "2", "b": "2"})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "2", "b": "2"}}
    refused = await ask(server, "PATCH", PATH, body, content_type="application/apply-patch+yaml", fieldManager="other")
    assert refused["reason"] == "Conflict"
    assert refused["message"] == 'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b'
    assert [cause["field"] for cause in refused["details"]["causes"]] == [".data.a", ".data.b"]


async def test_the_owners_of_an_object_that_was_never_applied_are_worked_out_at_its_first_apply(
    client: Client, server: ApiServer
) -> None:
    await send(server, "POST", f"{DEFAULT}/configmaps", {**config_map("c"), "data": {"a": "1"}}, fieldManager="maker")
    merge = {"content_type": "application/merge-patch+json", "fieldManager": "changer"}
    await send(server, "PATCH", PATH, {"data": {"b": "2"}}, **merge)
    assert "managedFields" not in (await client.get(CONFIG_MAPS, "c", "default"))["metadata"]
    applied = await apply(client, "applier", {"c": "3"})
    assert owners(applied) == {"applier Apply": ["c"], "maker Update": ["a"], "changer Update": ["b"]}


async def test_a_later_change_takes_the_field_from_its_applier(client: Client) -> None:
    await apply(client, "one", {"a": "1", "b": "1"})
    changed = await client.patch(CONFIG_MAPS, "c", "default", body={"data": {"a": "2"}}, field_manager="changer")
    assert owners(changed) == {"one Apply": ["b"], "changer Update": ["a"]}


async def test_the_same_apply_writes_nothing(client: Client) -> None:
    first = await apply(client, "one", {"a": "1"}, labels={"l": "1"})
    again = await apply(client, "one", {"a": "1"}, labels={"l": "1"})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_forcing_takes_fields_over(client: Client) -> None:
    await apply(client, "one", {"a": "1"})
    assert owners(await apply(client, "other", {"a": "2"}, force=True)) == {"other Apply": ["a"]}


async def test_the_status_has_owners_of_its_own(client: Client, server: ApiServer) -> None:
    await send(server, "POST", f"{DEFAULT}/pods", pod("p", node="n1"), fieldManager="maker")
    await client.patch(
        PODS, "p", "default", body={"status": {"phase": "Running"}}, subresource="status", field_manager="kubelet"
    )
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"l": "1"}}}
    applied = await ask(
        server, "PATCH", f"{DEFAULT}/pods/p", body, content_type="application/apply-patch+yaml", fieldManager="me"
    )
    entries = {entry["manager"]: entry for entry in applied["metadata"]["managedFields"]}
    assert entries["kubelet"]["subresource"] == "status"
    assert list(entries["kubelet"]["fieldsV1"]) == ["f:status"]
    assert "f:status" not in json.dumps(entries["maker"]["fieldsV1"])


async def test_resetting_the_managers_forgets_all(client: Client) -> None:
    await apply(client, "one", {"a": "1"})
    reset = await client.patch(CONFIG_MAPS, "c", "default", body={"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in reset["metadata"]
    assert owners(await apply(client, "other", {"b": "2"}))["before-first-apply Update"] == ["a"]


async def test_containers_are_applied_by_name(server: ApiServer, client: Client) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", **pod("p")}

    for image in ("i:1", "i:2"):
        body["spec"]["containers"][0]["image"] = image
        await client.patch(PODS, "p", "default", body=body, kind=PatchKind.APPLY, field_manager="one")
    changed = await ask(server, "GET", f"{DEFAULT}/pods/p")
    assert [(one["name"], one["image"]) for one in changed["spec"]["containers"]] == [("main", "i:2")]


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("uw", "uv", "uwv"),
        ("w", "uv", "wuv"),
        ("uvw", "wu", "vwu"),
        ("abc", "cxa", "bcxa"),
        ("", "ba", "ba"),
        ("ab", "", "ab"),
    ],
)
def test_applied_items_are_in_their_order_and_others_keep_their_position(live: str, config: str, merged: str) -> None:
    def pod_with(names: str) -> Raw:
        return {"spec": {"containers": [{"name": name} for name in names]}}

    result = merge(pod_with(live), pod_with(config), builtin("io.k8s.api.core.v1.Pod"))
    assert [one["name"] for one in result["spec"]["containers"]] == list(merged)


async def test_the_creator_stays_owner_after_removing_a_field(client: Client, server: ApiServer) -> None:
    body = {**config_map("c", labels={"l": "1"}), "data": {"a": "1"}}
    await send(server, "POST", f"{DEFAULT}/configmaps", body, fieldManager="maker")
    for manager, patch in (("changer", {"data": {"b": "2"}}), ("maker", {"metadata": {"labels": None}})):
        await client.patch(CONFIG_MAPS, "c", "default", body=patch, field_manager=manager)
    assert owners(await apply(client, "applier", {}))["maker Update"] == ["a"]


def test_dropping_an_item_drops_others_fields_in_it_but_a_named_field_stays() -> None:
    scope = Scope(builtin("io.k8s.api.core.v1.Pod"), (), custom=False, admitted=lambda obj: ())
    one = Manager(name="one", operation="Apply", api_version="v1")
    other = Manager(name="other", operation="Update", api_version="v1")
    item = {"f:containers": {'k:{"name":"c"}': {"f:image": {}}}, "f:securityContext": {"f:runAsUser": {}}}
    live = {"spec": {"containers": [{"name": "c", "image": "i"}], "securityContext": {"runAsUser": 1, "fsGroup": 2}}}
    last = {"f:spec": {**item, "f:securityContext": {"f:fsGroup": {}}}}
    last["f:spec"]["f:containers"] = {'k:{"name":"c"}': {".": {}, "f:name": {}}}
    result, _ = apply_to(live, {}, scope, (one.having(last), other.having({"f:spec": item})), one, force=False)
    assert result == {"spec": {"containers": None, "securityContext": {"runAsUser": 1}}}


async def test_resetting_managers_of_a_never_applied_object_is_a_write(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, {**config_map("c"), "data": {"a": "1"}}, "default")
    reset = await client.patch(CONFIG_MAPS, "c", "default", body={"metadata": {"managedFields": [{}]}})
    assert reset["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    assert "before-first-apply Update" in owners(await apply(client, "one", {"b": "2"}))


async def test_a_list_that_is_merged_is_not_owned_for_being_empty(client: Client) -> None:
    applied = await apply(client, "one", {"a": "1"}, finalizers=[], labels={})
    (entry,) = applied["metadata"]["managedFields"]
    assert entry["fieldsV1"]["f:metadata"] == {"f:labels": {}}


async def test_applying_the_status_of_a_missing_object_is_not_found(server: ApiServer) -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Running"}}
    options = {"content_type": "application/apply-patch+yaml", "fieldManager": "one"}
    assert (await ask(server, "PATCH", f"{DEFAULT}/pods/p/status", body, **options))["code"] == 404
