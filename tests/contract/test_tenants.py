"""`propeller tenants sync` on each server: objects are made, drift is shown and mended, failures are of one object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from propeller.errors import NotFound
from propeller.kube import CONFIG_MAPS, NAMESPACES, RESOURCE_QUOTAS, SECRETS, Raw
from propeller.tenants import Action, Change, ClusterReport, Rendered, SyncOptions, sync
from propeller.tenants._variables import Template
from propeller.testing import ServerUnderTest
from tests.contract.objects import version

OWNER = "propeller.dev/tenants"
DRY, PRUNE = SyncOptions(dry_run=True), SyncOptions(prune=True)


def wanted(body: Raw, namespace: str, owner: str = "") -> Rendered:
    owner = owner or namespace.partition("-tenant")[0]
    metadata = {**body["metadata"], "labels": {OWNER: owner}}
    return Rendered("t.yaml", "p/d", {"apiVersion": "v1", **body, "metadata": metadata}, namespace)


def objects(namespace: str, *, pods: int = 10, name: str = "quota", **more: Any) -> list[Rendered]:
    """A namespace, a quota and a role, as templates mean them."""
    return [
        wanted({"kind": "Namespace", "metadata": {"name": namespace}}, namespace),
        wanted({"kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": {"pods": pods}}}, namespace),
        wanted(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "worker"},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
            },
            namespace,
        ),
    ]


async def synced(
    server: ServerUnderTest, rendered: Sequence[Rendered], options: SyncOptions | None = None
) -> ClusterReport:
    """A server is shared by tests: what each marks is its own."""
    return await sync(server.client, "c", server.namespace, rendered, options or SyncOptions())


def actions(report: ClusterReport) -> list[tuple[str, str]]:
    assert report.error is None
    return [(change.kind, str(change.action)) for change in report.changes]


def of_kind(changes: Iterable[Change], kind: str) -> Change:
    (found,) = (change for change in changes if change.kind == kind)
    return found


async def quota(server: ServerUnderTest, namespace: str, name: str = "quota") -> Raw:
    return await server.client.get(RESOURCE_QUOTAS, name, namespace)


@pytest.fixture
def name(server: ServerUnderTest) -> str:
    """Of a namespace that is not there yet."""
    return f"{server.namespace}-tenant"


async def test_what_is_missing_is_made_and_what_is_right_is_not_written(server: ServerUnderTest, name: str) -> None:
    kinds = ("Namespace", "ResourceQuota", "Role")
    assert actions(await synced(server, objects(name))) == [(kind, "created") for kind in kinds]
    before = version(await quota(server, name))
    assert actions(await synced(server, objects(name))) == [(kind, "unchanged") for kind in kinds]
    assert version(await quota(server, name)) == before


async def test_a_dry_run_shows_what_would_be_made_and_makes_nothing(server: ServerUnderTest, name: str) -> None:
    assert {action for _, action in actions(await synced(server, objects(name), DRY))} == {"created"}
    with pytest.raises(NotFound):
        await server.client.get(NAMESPACES, name)


async def test_drift_by_hand_is_shown_and_then_mended(server: ServerUnderTest, name: str) -> None:
    await synced(server, objects(name))
    body = {"spec": {"hard": {"pods": "9000", "services": "3"}}}
    await server.client.patch(RESOURCE_QUOTAS, "quota", name, body=body, field_manager="kubectl-edit")
    shown = of_kind((await synced(server, objects(name), DRY)).changes, "ResourceQuota")
    assert shown.action is Action.MENDED
    assert shown.differences == ('spec.hard.pods: "9k" -> "10"',) or shown.differences == (
        'spec.hard.pods: "9000" -> "10"',
    )
    assert (await quota(server, name))["spec"]["hard"]["pods"] in ("9000", "9k"), "it is only shown"
    mended = of_kind((await synced(server, objects(name))).changes, "ResourceQuota")
    assert mended.differences == shown.differences
    hard = (await quota(server, name))["spec"]["hard"]
    assert hard["pods"] == "10"
    assert hard["services"] == "3", "what no template names is left alone"
    assert not (await synced(server, objects(name), DRY)).has_drifted


async def test_what_a_template_no_longer_says_is_removed_from_the_object(server: ServerUnderTest, name: str) -> None:
    await synced(server, objects(name))
    rest = objects(name)
    rest[1].body["spec"] = {"hard": {"services": 1}}
    report = await synced(server, rest)
    assert of_kind(report.changes, "ResourceQuota").action is Action.MENDED
    assert (await quota(server, name))["spec"]["hard"] == {"services": "1"}


async def test_an_object_that_was_there_before_is_taken_over(server: ServerUnderTest, name: str) -> None:
    await server.client.create(NAMESPACES, {"metadata": {"name": name, "labels": {"team": "x"}}})
    assert actions(await synced(server, objects(name)))[0] == ("Namespace", "mended")
    labels = (await server.client.get(NAMESPACES, name))["metadata"]["labels"]
    assert labels["team"] == "x"
    assert labels[OWNER] == server.namespace


async def test_one_object_that_fails_hides_no_other(server: ServerUnderTest, name: str) -> None:
    wrong = [
        wanted({"kind": "ConfigMap", "metadata": {"name": "Not A Name"}}, name),
        wanted({"apiVersion": "no.such/v1", "kind": "Thing", "metadata": {"name": "a"}}, name),
        wanted({"kind": "ConfigMap", "metadata": {"name": "b", "namespace": "no-such-namespace"}}, name),
    ]
    report = await synced(server, [*objects(name), *wrong], PRUNE)
    assert [str(change.action) for change in report.changes] == ["created"] * 3 + ["failed"] * 3
    assert report.has_failed
    errors = [str(change.error) for change in report.changes if change.error is not None]
    assert "Not A Name" in errors[0]
    assert "no.such/v1" in errors[1]
    assert "no-such-namespace" in errors[2]


async def test_objects_in_a_namespace_that_cannot_be_made_are_not_tried(server: ServerUnderTest) -> None:
    report = await synced(server, objects("Not-A-Name"))
    assert [change.action for change in report.changes] == [Action.FAILED] * 3
    assert len({str(change.error) for change in report.changes}) == 1


async def test_only_what_is_marked_and_not_wanted_is_pruned_and_only_when_asked(
    server: ServerUnderTest, name: str
) -> None:
    await synced(server, objects(name))
    await server.client.create(CONFIG_MAPS, {"metadata": {"name": "theirs"}}, name)
    other = wanted({"kind": "ConfigMap", "metadata": {"name": "others"}}, name, owner="other")
    await sync(server.client, "c", "other", [other], SyncOptions())
    renamed = objects(name, name="new-quota")
    assert {action for _, action in actions(await synced(server, renamed))} == {"unchanged", "created"}
    await quota(server, name)

    shown = await synced(server, renamed, SyncOptions(dry_run=True, prune=True))
    assert [(change.kind, change.name) for change in shown.changes if change.action is Action.PRUNED] == [
        ("ResourceQuota", "quota")
    ]
    await quota(server, name)

    await synced(server, renamed, PRUNE)
    with pytest.raises(NotFound):
        await quota(server, name)
    await quota(server, name, "new-quota")
    found = {one["metadata"]["name"] for one in (await server.client.list(CONFIG_MAPS, name)).items}
    assert {"theirs", "others"} <= found
    assert not (await synced(server, renamed, PRUNE)).has_drifted


async def test_a_namespace_is_pruned_only_if_that_is_asked_for(server: ServerUnderTest, name: str) -> None:
    await synced(server, objects(name))
    other = objects(f"{name}-2")
    await synced(server, other, PRUNE)
    assert "deletionTimestamp" not in (await server.client.get(NAMESPACES, name))["metadata"]
    report = await synced(server, other, SyncOptions(prune_namespaces=True))
    assert [(change.kind, change.name) for change in report.changes if change.action is Action.PRUNED] == [
        ("Namespace", name)
    ]
    with suppress(NotFound):  # it is gone already
        assert "deletionTimestamp" in (await server.client.get(NAMESPACES, name))["metadata"]


async def test_values_of_secrets_are_not_shown(server: ServerUnderTest, name: str) -> None:
    def secret(value: str) -> list[Rendered]:
        body = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": value}}
        return [*objects(name), wanted(body, name)]

    await synced(server, secret("first-value"))
    report = await synced(server, secret("other-value"))
    assert of_kind(report.changes, "Secret").differences == ("data.key: (not shown)",)
    found = await server.client.get(SECRETS, "s", name)
    assert found["data"]["key"] == "b3RoZXItdmFsdWU="


async def test_a_kind_is_found_by_its_version_and_name(server: ServerUnderTest) -> None:
    role = await server.client.find_resource("rbac.authorization.k8s.io/v1", "ClusterRole")
    assert (role.group, role.version, role.plural, role.namespaced) == (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        False,
    )
    pod = await server.client.find_resource("v1", "Pod")
    assert (pod.path("n"), pod.namespaced) == ("/api/v1/namespaces/n/pods", True)
    with pytest.raises(NotFound, match="no such kind in v1"):
        await server.client.find_resource("v1", "Pods")
    with pytest.raises(NotFound, match="look up Thing"):
        await server.client.find_resource("no.such.group/v1", "Thing")


FLYTES = """
apiVersion: v1
kind: Namespace
metadata:
  name: {{ namespace }}
spec:
  finalizers:
  - kubernetes
---
apiVersion: v1
kind: ResourceQuota
metadata:
  name: project-quota
  namespace: {{ namespace }}
spec:
  hard:
    limits.cpu: {{ projectQuotaCpu }}
    limits.memory: {{ projectQuotaMemory }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: default
  namespace: {{ namespace }}
  annotations:
    eks.amazonaws.com/role-arn: {{ defaultIamRole }}
"""


async def test_templates_in_the_form_of_flytes_are_applied_and_then_rest(server: ServerUnderTest, name: str) -> None:
    """Also what the server has made by itself before: the account `default` of a namespace."""
    values = {
        "projectQuotaCpu": "4",
        "projectQuotaMemory": "3000Mi",
        "defaultIamRole": "arn:aws:iam::1:role/{{ project }}: [x]",
        "project": "no",
        "namespace": name,
    }
    template = Template("flyte.yaml", FLYTES)
    made = [wanted(body, name) for body in template.documents(values)]
    assert {action for _, action in actions(await synced(server, made))} <= {"created", "mended"}
    assert {action for _, action in actions(await synced(server, made))} == {"unchanged"}
    hard = (await quota(server, name, "project-quota"))["spec"]["hard"]
    assert hard == {"limits.cpu": "4", "limits.memory": "3000Mi"}
    accounts = await server.client.find_resource("v1", "ServiceAccount")
    account = await server.client.get(accounts, "default", name)
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == values["defaultIamRole"]
