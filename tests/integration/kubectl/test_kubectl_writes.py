"""kubectl's writing commands against the embedded server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from propeller.embedded.server import ApiServer
from propeller.errors import Invalid
from propeller.kube import CONFIG_MAPS, PODS, Client, Raw, connect, load_connection
from propeller.manifests import manifests
from tests.integration.kubectl.conftest import Failed, Kubectl, pod

pytestmark = pytest.mark.needs("kubectl")


async def test_apply_creates_changes_and_leaves_alone(kubectl: Kubectl) -> None:
    assert await kubectl("apply", "-f", "-", given=pod(labels={"a": "1"})) == "pod/p created\n"
    assert await kubectl("apply", "-f", "-", given=pod(labels={"b": "2"})) == "pod/p configured\n"
    assert await kubectl("apply", "-f", "-", given=pod(labels={"b": "2"})) == "pod/p unchanged\n"
    assert (await kubectl.json("get", "pod", "p"))["metadata"]["labels"] == {"b": "2"}


async def test_apply_changes_an_image_by_the_containers_name(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=pod())
    changed = pod()
    changed["spec"]["containers"][0]["image"] = "img:2"
    await kubectl("apply", "-f", "-", given=changed)
    assert (await kubectl.json("get", "pod", "p"))["spec"]["containers"][0]["image"] == "img:2"


async def test_what_apply_may_not_change_is_refused_with_the_field(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=pod())
    changed = pod()
    changed["spec"]["hostNetwork"] = True
    with pytest.raises(Failed, match="pod updates may not change fields other than"):
        await kubectl("apply", "-f", "-", given=changed)


async def test_a_field_that_is_not_known_is_refused_before_anything_is_made(kubectl: Kubectl) -> None:
    wrong = pod()
    wrong["spec"]["containers"][0]["imagee"] = "typo"
    with pytest.raises(Failed, match=r'unknown field \\?"spec.containers\[0\].imagee'):
        await kubectl("apply", "-f", "-", given=wrong)
    with pytest.raises(Failed, match="NotFound"):
        await kubectl("get", "pod", "p")


async def test_server_side_apply_tells_who_owns_what_and_takes_it_over_by_force(kubectl: Kubectl) -> None:
    first, second = config_map(k="1"), config_map(k="2")
    await kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", given=first)
    with pytest.raises(Failed, match=r'conflict with "one": \.data\.k'):
        await kubectl("apply", "--server-side", "--field-manager=two", "-f", "-", given=second)
    await kubectl("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", given=second)
    shown = await kubectl.json("get", "configmap", "c", "--show-managed-fields")
    assert shown["data"] == {"k": "2"}
    assert [entry["manager"] for entry in shown["metadata"]["managedFields"]] == ["two"]


async def test_what_was_applied_on_the_client_goes_over_to_the_server_without_conflict(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=pod(labels={"a": "1"}))
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", given=pod(labels={"a": "2"}))
    assert (await kubectl.json("get", "pod", "p"))["metadata"]["labels"] == {"a": "2"}


async def test_a_dry_run_changes_nothing(kubectl: Kubectl) -> None:
    assert "(server dry run)" in await kubectl("apply", "--dry-run=server", "-f", "-", given=pod())
    with pytest.raises(Failed, match="NotFound"):
        await kubectl("get", "pod", "p")


async def test_diff_shows_what_apply_would_change(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=pod(labels={"a": "1"}))
    with pytest.raises(Failed):  # its code says that there is a difference
        await kubectl("diff", "-f", "-", given=pod(labels={"a": "2"}))
    await kubectl("diff", "-f", "-", given=pod(labels={"a": "1"}))


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (("configmap", "c", "--from-literal=k=v"), {"data": {"k": "v"}}),
        (("secret", "generic", "s", "--from-literal=k=v"), {"data": {"k": "dg=="}, "type": "Opaque"}),
        (("namespace", "n"), {"status": {"phase": "Active"}}),
        (("quota", "q", "--hard=pods=2,requests.cpu=500m"), {"spec": {"hard": {"pods": "2", "requests.cpu": "500m"}}}),
        (("serviceaccount", "sa"), {"kind": "ServiceAccount"}),
        (("clusterrole", "r", "--verb=get", "--resource=pods"), {"kind": "ClusterRole"}),
        (("clusterrolebinding", "b", "--clusterrole=r", "--user=u"), {"kind": "ClusterRoleBinding"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_create_sends_protobuf_that_is_understood(
    kubectl: Kubectl, arguments: tuple[str, ...], made: dict[str, Any]
) -> None:
    shown = await kubectl.json("create", *arguments)
    stored = await kubectl.json("get", shown["kind"], shown["metadata"]["name"])
    assert {key: stored[key] for key in made} == made


async def test_a_pod_that_is_run_is_as_it_was_asked_for(kubectl: Kubectl) -> None:
    await kubectl("run", "p", "--image=img", "--restart=Never", "--env=A=1", "--", "x", "y")
    spec = (await kubectl.json("get", "pod", "p"))["spec"]
    assert (spec["restartPolicy"], spec["containers"][0]["args"]) == ("Never", ["x", "y"])
    assert spec["containers"][0]["env"] == [{"name": "A", "value": "1"}]


async def test_create_twice_says_that_it_is_there(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", given=pod())
    with pytest.raises(Failed, match="AlreadyExists"):
        await kubectl("create", "-f", "-", given=pod())


async def test_replace_puts_the_whole_object(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", given=pod(labels={"a": "1"}))
    await kubectl("replace", "-f", "-", given=pod(labels={"b": "2"}))
    assert (await kubectl.json("get", "pod", "p"))["metadata"]["labels"] == {"b": "2"}


async def test_labels_and_annotations_are_set_and_taken_off(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", given=pod())
    await kubectl("label", "pod", "p", "a=1", "b=2")
    await kubectl("label", "pod", "p", "b-")
    await kubectl("annotate", "pod", "p", "note=text")
    metadata = (await kubectl.json("get", "pod", "p"))["metadata"]
    assert (metadata["labels"], metadata["annotations"]) == ({"a": "1"}, {"note": "text"})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("merge", '{"metadata":{"labels":{"a":"2"}}}'),
        ("strategic", '{"metadata":{"labels":{"a":"2"}},"spec":{"containers":[{"name":"main","image":"img:1"}]}}'),
        ("json", '[{"op":"replace","path":"/metadata/labels/a","value":"2"}]'),
    ],
)
async def test_patches_of_every_kind_apply(kubectl: Kubectl, kind: str, body: str) -> None:
    await kubectl("create", "-f", "-", given=pod(labels={"a": "1"}))
    await kubectl("patch", "pod", "p", "--type", kind, "-p", body)
    found = await kubectl.json("get", "pod", "p")
    assert found["metadata"]["labels"] == {"a": "2"}
    assert len(found["spec"]["containers"]) == 1


async def test_delete_waits_until_the_pod_is_gone(kubectl: Kubectl, client: Client) -> None:
    await client.create(PODS, pod() | {"spec": {**pod()["spec"], "nodeName": "n1"}}, "default")
    async with asyncio.TaskGroup() as group:
        deleting = group.create_task(kubectl("delete", "pod", "p"))
        await asyncio.sleep(1)
        assert not deleting.done()
        await client.delete(PODS, "p", "default", grace_seconds=0)  # the kubelet's part
    assert 'pod "p" deleted' in deleting.result()


async def test_delete_takes_all_of_a_selection(kubectl: Kubectl, client: Client) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {})):
        await client.create(PODS, pod(name, labels=labels), "default")
    await kubectl("delete", "pods", "-l", "x=1")
    assert await kubectl("get", "pods", "-o", "name") == "pod/c\n"


async def test_a_namespace_goes_with_all_that_is_in_it(kubectl: Kubectl, client: Client) -> None:
    await kubectl("create", "namespace", "n")
    await kubectl("create", "configmap", "c", "-n", "n")
    await kubectl("delete", "namespace", "n")
    assert (await client.list(CONFIG_MAPS, "n")).items == ()
    with pytest.raises(Failed, match=r'namespaces "n" not found'):
        await kubectl("create", "configmap", "c", "-n", "n")


async def test_a_quota_is_described_and_enforced(kubectl: Kubectl) -> None:
    await kubectl("create", "quota", "q", "--hard=pods=1")
    await kubectl("create", "-f", "-", given=pod("a"))
    with pytest.raises(Failed, match="exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"):
        await kubectl("create", "-f", "-", given=pod("b"))
    assert "pods        1     1" in await kubectl("describe", "quota", "q")


async def test_what_install_prints_is_applied(kubectl: Kubectl) -> None:
    given = yaml.safe_dump_all(manifests("flyte"), sort_keys=False)
    assert "clusterrolebinding.rbac.authorization.k8s.io/propeller" in await kubectl("apply", "-f", "-", given=given)
    assert "created" not in await kubectl("apply", "-f", "-", given=given)


async def test_a_list_is_applied_item_by_item(kubectl: Kubectl) -> None:
    given = {"apiVersion": "v1", "kind": "List", "items": [pod("p"), pod("q")]}
    assert await kubectl("apply", "-f", "-", given=given) == "pod/p created\npod/q created\n"


async def test_a_token_that_is_wrong_opens_nothing(server: ApiServer, tmp_path: Any) -> None:
    async with server.serve() as front:
        kubeconfig = front.kubeconfig()
        kubeconfig["clusters"][0]["cluster"]["server"] = f"{front.url}/wrong"
        path = tmp_path / "kubeconfig"
        path.write_text(str(kubeconfig).replace("'", '"'))
        with pytest.raises(Failed, match="must be logged in"):
            await Kubectl(path)("get", "pods")


async def test_our_own_client_takes_the_same_kubeconfig(server: ApiServer, tmp_path: Any) -> None:
    async with server.serve() as front:
        path = tmp_path / "kubeconfig"
        path.write_text(str(front.kubeconfig()).replace("'", '"'))
        async with connect(load_connection(str(path))) as client:
            await client.create(CONFIG_MAPS, config_map(k="v"), "default")


async def test_a_port_that_is_taken_is_named(server: ApiServer) -> None:
    async with server.serve() as front:
        port = int(front.url.rpartition(":")[2])
        with pytest.raises(Invalid, match=f"port {port} on 127.0.0.1 is in use"):
            async with server.serve(port=port):
                pass


def config_map(**data: str) -> Raw:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}
