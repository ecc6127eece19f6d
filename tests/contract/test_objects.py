"""Create, read, replace: names, versions, identities, what is refused and how."""

from __future__ import annotations

import orjson
import pytest

from propeller.errors import AlreadyExists, Conflict, NotFound, Rejected
from propeller.kube import CONFIG_MAPS, LEASES, PODS, Client, Raw, Request, Response
from propeller.testing import ServerUnderTest
from tests.contract.objects import config_map, nameless, pod, version
from tests.quantities import REFUSED, ROWS


async def test_what_is_created_is_read_back_with_the_servers_metadata(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a", k="v"), server.namespace)
    assert made == await server.client.get(CONFIG_MAPS, "a", server.namespace)
    metadata = made["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("a", server.namespace)
    assert metadata["uid"]
    assert metadata["resourceVersion"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert (made["kind"], made["apiVersion"], made["data"]) == ("ConfigMap", "v1", {"k": "v"})


async def test_identity_and_birth_are_the_servers_to_say(server: ServerUnderTest) -> None:
    body = config_map("a")
    body["metadata"] |= {
        "uid": "mine",
        "creationTimestamp": "2001-01-01T00:00:00Z",
        "deletionTimestamp": "2001-01-01T00:00:00Z",
    }
    metadata = (await server.client.create(CONFIG_MAPS, body, server.namespace))["metadata"]
    assert metadata["uid"] != "mine"
    assert not metadata["creationTimestamp"].startswith("2001")
    assert "deletionTimestamp" not in metadata


async def test_a_taken_name_is_already_there(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    with pytest.raises(AlreadyExists, match=r'"a" already exists \(409\)'):
        await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)


async def test_the_same_name_is_free_in_another_namespace(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    await server.client.create(CONFIG_MAPS, config_map("a"), await server.another_namespace())


async def test_an_object_made_anew_under_its_name_is_another_one(server: ServerUnderTest) -> None:
    first = await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    await server.client.delete(CONFIG_MAPS, "a", server.namespace)
    second = await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert version(second) > version(first)


async def test_generated_names_have_the_prefix_and_differ(server: ServerUnderTest) -> None:
    names = set()
    for _ in range(20):
        made = await server.client.create(CONFIG_MAPS, nameless("x-"), server.namespace)
        names.add(made["metadata"]["name"])
    assert len(names) == 20
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


async def test_a_long_prefix_is_cut_so_that_the_name_fits_a_label(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, nameless("x" * 70 + "-"), server.namespace)
    assert made["metadata"]["name"].startswith("x" * 58)
    assert len(made["metadata"]["name"]) == 63


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "A_b"}, "metadata.name: Invalid value"),
        ({"name": "x" * 254}, "metadata.name: Invalid value"),
        ({"name": "-a"}, "metadata.name: Invalid value"),
        ({"name": "é"}, "metadata.name: Invalid value"),
        ({"generateName": "G_"}, "metadata.generateName: Invalid value"),
        ({"name": "a", "labels": {"bad key!": ""}}, "metadata.labels: Invalid value"),
        ({"name": "a", "labels": {"k": "two words"}}, "metadata.labels: Invalid value"),
        ({"name": "a", "labels": {"k": "x" * 64}}, "metadata.labels: Invalid value"),
        ({"name": "a", "annotations": {"bad key!": ""}}, "metadata.annotations: Invalid value"),
        ({"name": "a", "finalizers": ["not/a/name"]}, "metadata.finalizers"),
        ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "o"}]}, "uid: Required value"),
    ],
)
async def test_invalid_metadata_is_refused_and_the_field_is_named(
    server: ServerUnderTest, metadata: Raw, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        await server.client.create(CONFIG_MAPS, {"metadata": metadata}, server.namespace)
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert field in str(refused.value)


async def test_a_refusal_lists_the_causes_by_field(server: ServerUnderTest) -> None:
    answer = await post(
        server.client, f"/api/v1/namespaces/{server.namespace}/configmaps", b'{"metadata":{"name":"A_b"}}'
    )
    status = answer_of(answer)
    assert (answer.status, status["kind"], status["status"], status["code"]) == (422, "Status", "Failure", 422)
    (cause,) = status["details"]["causes"]
    assert cause["field"] == "metadata.name"
    assert cause["reason"] == "FieldValueInvalid"


@pytest.mark.parametrize(
    "body",
    [
        b"{nonsense",
        b"[]",
        b'"text"',
        b'{"kind":"Secret","apiVersion":"v1","metadata":{"name":"b"}}',
        b'{"metadata":{"name":"b","labels":5}}',
        b'{"metadata":{"name":"b","namespace":"other"}}',
    ],
    ids=["no JSON", "a list", "a string", "another kind", "labels of another type", "another namespace"],
)
async def test_a_body_that_is_no_such_object_is_a_bad_request(server: ServerUnderTest, body: bytes) -> None:
    answer = await post(server.client, f"/api/v1/namespaces/{server.namespace}/configmaps", body)
    assert (answer.status, answer_of(answer)["reason"]) == (400, "BadRequest")


async def test_nothing_can_be_created_in_a_namespace_that_is_not_there(server: ServerUnderTest) -> None:
    with pytest.raises(NotFound, match="none"):
        await server.client.create(CONFIG_MAPS, config_map("a"), "none")


async def test_what_is_not_there_is_not_found(server: ServerUnderTest) -> None:
    for call in (
        server.client.get(CONFIG_MAPS, "a", server.namespace),
        server.client.replace(CONFIG_MAPS, config_map("a"), "a", server.namespace),
        server.client.patch(CONFIG_MAPS, "a", server.namespace, body={"data": {}}),
        server.client.delete(CONFIG_MAPS, "a", server.namespace),
        server.client.patch(PODS, "a", server.namespace, body={"status": {}}, subresource="status"),
    ):
        with pytest.raises(NotFound, match=r'"a" not found \(404\)') as refused:
            await call
        assert refused.value.reason == "NotFound"


async def test_versions_grow_over_all_kinds(server: ServerUnderTest) -> None:
    first = await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    second = await server.client.create(PODS, pod("a"), server.namespace)
    third = await server.client.patch(CONFIG_MAPS, "a", server.namespace, body={"data": {"k": "v"}})
    listed = await server.client.list(CONFIG_MAPS, server.namespace)
    assert version(first) < version(second) < version(third) <= int(listed.resource_version)


async def test_a_replace_onto_the_version_it_was_read_at_succeeds(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a", k="v"), server.namespace)
    written = await server.client.replace(CONFIG_MAPS, made | {"data": {"k": "w"}}, "a", server.namespace)
    assert written["data"] == {"k": "w"}
    assert version(written) > version(made)
    assert written["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_replace_onto_an_older_version_is_a_conflict(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    await server.client.replace(CONFIG_MAPS, made | {"data": {"k": "w"}}, "a", server.namespace)
    with pytest.raises(Conflict, match="the object has been modified"):
        await server.client.replace(CONFIG_MAPS, made | {"data": {"k": "x"}}, "a", server.namespace)


async def test_a_replace_without_a_version_overwrites(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a", k="v"), server.namespace)
    written = await server.client.replace(CONFIG_MAPS, config_map("a", j="w"), "a", server.namespace)
    assert written["data"] == {"j": "w"}


async def test_a_replace_that_changes_nothing_keeps_the_version(server: ServerUnderTest) -> None:
    made = await server.client.create(CONFIG_MAPS, config_map("a", k="v"), server.namespace)
    assert version(await server.client.replace(CONFIG_MAPS, made, "a", server.namespace)) == version(made)


async def test_a_replace_of_another_incarnation_is_a_conflict(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    body = config_map("a")
    body["metadata"]["uid"] = "of-an-earlier-one"
    with pytest.raises(Conflict, match="UID in precondition"):
        await server.client.replace(CONFIG_MAPS, body, "a", server.namespace)


async def test_a_replace_under_another_name_is_a_bad_request(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a"), server.namespace)
    with pytest.raises(Rejected, match="does not match the name on the URL") as refused:
        await server.client.replace(CONFIG_MAPS, config_map("b"), "a", server.namespace)
    assert refused.value.status == 400


async def test_a_replace_drops_what_it_does_not_name(server: ServerUnderTest) -> None:
    await server.client.create(CONFIG_MAPS, config_map("a", labels={"l": "1"}, k="v"), server.namespace)
    written = await server.client.replace(CONFIG_MAPS, {"metadata": {"name": "a"}}, "a", server.namespace)
    assert "labels" not in written["metadata"]
    assert "data" not in written


async def test_text_of_any_script_comes_back_as_it_was(server: ServerUnderTest) -> None:
    texts = {"k": 'ünïcödé 漢字 🚀 \u0000 \u2028 "\\/<>&', "j": "a\nb\tc"}
    body = config_map("a", **texts)
    body["metadata"]["annotations"] = {"text": texts["k"]}
    await server.client.create(CONFIG_MAPS, body, server.namespace)
    read = await server.client.get(CONFIG_MAPS, "a", server.namespace)
    assert read["data"] == texts
    assert read["metadata"]["annotations"]["text"] == texts["k"]


async def test_a_pods_spec_cannot_be_changed(server: ServerUnderTest) -> None:
    await server.client.create(PODS, pod("a"), server.namespace)
    with pytest.raises(Rejected, match="spec: Forbidden: pod updates may not change fields other than") as refused:
        await server.client.patch(PODS, "a", server.namespace, body={"spec": {"restartPolicy": "Always"}})
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"name": "Main", "image": "i"}]}, "spec.containers[0].name: Invalid value"),
        ({"containers": [{"name": "m"}]}, "spec.containers[0].image: Required value"),
        ({"containers": [{"name": "m", "image": "i"}], "restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        (
            {"containers": [{"name": "m", "image": "i", "resources": {"requests": {"cpu": 2}, "limits": {"cpu": 1}}}]},
            "spec.containers[0].resources.requests: Invalid value",
        ),
        (
            {"containers": [{"name": "m", "image": "i", "env": [{"name": "", "value": "v"}]}]},
            "spec.containers[0].env[0].name: Required value",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_impossible_pod_is_refused_and_the_field_is_named(
    server: ServerUnderTest, spec: Raw, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        await server.client.create(PODS, {"metadata": {"name": "a"}, "spec": spec}, server.namespace)
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert field in str(refused.value)


async def test_quantities_are_stored_as_kubernetes_writes_them_in_thousandths(server: ServerUnderTest) -> None:
    rows = {f"c{number}": row for number, row in enumerate(ROWS) if not row[0].startswith("-")}
    containers = [
        {"name": name, "image": "none", "resources": {"limits": {"cpu": text}}} for name, (text, *_) in rows.items()
    ]
    body = {"metadata": {"name": "a"}, "spec": {"containers": containers}}
    made = await server.client.create(PODS.typed(Raw), body, server.namespace)
    found = {one["name"]: one["resources"] for one in made["spec"]["containers"]}
    stored = {name: row[3] for name, row in rows.items()}
    assert {name: resources["limits"]["cpu"] for name, resources in found.items()} == stored
    assert {name: resources["requests"]["cpu"] for name, resources in found.items()} == stored


@pytest.mark.parametrize(("text", "why"), [(text, why) for text, why in REFUSED.items() if text == text.strip()])
async def test_a_text_that_is_no_quantity_is_refused_in_kubernetes_words(
    server: ServerUnderTest, text: str, why: str
) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "none"}]}}
    body["spec"]["containers"][0]["resources"] = {"limits": {"cpu": text}}  # type: ignore[index]
    with pytest.raises(Rejected) as refused:
        await server.client.create(PODS.typed(Raw), body, server.namespace)
    assert refused.value.status == 400
    assert why in str(refused.value)


async def test_a_quantity_that_is_none_is_a_bad_request(server: ServerUnderTest) -> None:
    body = pod("a")
    body["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "x"}}
    with pytest.raises(Rejected, match="quantities must match") as refused:
        await server.client.create(PODS, body, server.namespace)
    assert refused.value.status == 400


async def test_a_pod_is_given_its_defaults(server: ServerUnderTest) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    spec = (await server.client.create(PODS.typed(Raw), body, server.namespace))["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Always", 30)
    container = spec["containers"][0]
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "File"
    made = await server.client.get(PODS, "a", server.namespace)
    assert made.status.phase == "Pending"


async def test_a_lease_is_replaced_only_onto_a_version(server: ServerUnderTest) -> None:
    await server.client.create(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}, server.namespace)
    with pytest.raises(Rejected, match=r"metadata.resourceVersion: .* must be specified for an update") as refused:
        await server.client.replace(LEASES, {"metadata": {"name": "l"}, "spec": {}}, "l", server.namespace)
    assert refused.value.status == 422


async def post(client: Client, path: str, body: bytes) -> Response:
    request = Request(method="POST", path=path, headers={"content-type": "application/json"}, body=body)
    return await client.transport.send(request, deadline=20)


def answer_of(response: Response) -> Raw:
    found: Raw = orjson.loads(response.body)
    return found
