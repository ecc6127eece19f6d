"""How a real API server refuses pods (docs/refusals.md): what names a fault of the pod, and what may pass."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from propeller.config import CheckpointOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WorkflowController
from propeller.errors import Denied, Malformed, NotFound, PropellerError, TooLarge, WebhookUnavailable
from propeller.kube import NAMESPACES, PODS, Client, Raw, Resource
from propeller.storage import MemoryStore, Storage, StorageOptions
from propeller.testing import NOBODY_TOKEN, HttpServerUnderTest, ServerUnderTest
from tests.contract.custom_resources import install_flyte_workflows
from tests.unit.workflow.drive import TASK, graph, task

WORKFLOWS = FLYTE_WORKFLOWS.typed(Raw)
RAW_PODS = PODS.typed(Raw)
LIMIT_RANGES: Resource[Raw] = Resource(group="", kind="LimitRange", plural="limitranges", type=dict)


def _cluster_wide(kind: str, plural: str) -> Resource[Raw]:
    return Resource(group="admissionregistration.k8s.io", kind=kind, plural=plural, type=dict, namespaced=False)


POLICIES = _cluster_wide("ValidatingAdmissionPolicy", "validatingadmissionpolicies")
POLICY_BINDINGS = _cluster_wide("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
WEBHOOKS = _cluster_wide("ValidatingWebhookConfiguration", "validatingwebhookconfigurations")

RULES: Raw = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}


def pod(**container: Any) -> Raw:
    return {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i", **container}]}}


async def refusal(client: Client, namespace: str, made: Raw | None = None) -> PropellerError:
    with pytest.raises(PropellerError) as refused:
        await client.create(RAW_PODS, copy.deepcopy(made or pod()), namespace)
    return refused.value


async def denied_soon(server: ServerUnderTest, kind: type[PropellerError]) -> PropellerError:
    """Policies and webhooks take effect some time after they are written; until then the pod is a trial."""
    for _ in range(600):
        try:
            await server.client.create(RAW_PODS, pod() | {"metadata": {"generateName": "t-"}}, server.namespace)
        except kind as error:
            return error
        await asyncio.sleep(0.1)
    raise AssertionError("it never takes effect")


@pytest.mark.parametrize(("field", "value"), [("name", "A B"), ("imagePullPolicy", "Sometimes")])
async def test_a_pod_that_is_invalid_is_told_by_its_fields(server: ServerUnderTest, field: str, value: str) -> None:
    error = await refusal(server.client, server.namespace, pod(**{field: value}))
    assert isinstance(error, Malformed)
    assert error.fields == (f"spec.containers[0].{field}",)


async def test_a_pod_that_cannot_be_decoded_is_malformed(server: ServerUnderTest) -> None:
    error = await refusal(server.client, server.namespace, pod(command="not a list"))
    assert isinstance(error, Malformed)
    assert error.status == 400


async def test_a_pod_that_is_too_large_is_told_so(server: ServerUnderTest) -> None:
    error = await refusal(server.client, server.namespace, pod(command=["x" * 4_000_000]))
    assert isinstance(error, TooLarge)


async def test_a_namespace_that_is_not_there_may_come(server: ServerUnderTest) -> None:
    error = await refusal(server.client, "nowhere-at-all")
    assert not isinstance(error, Malformed | TooLarge)


async def test_missing_rights_are_a_denial(real_server: HttpServerUnderTest) -> None:
    async with real_server.connect(token=NOBODY_TOKEN) as client:
        assert isinstance(await refusal(client, real_server.namespace), Denied)


async def test_pod_security_is_a_denial(real_server: HttpServerUnderTest) -> None:
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await real_server.client.patch(NAMESPACES.typed(Raw), real_server.namespace, body=labels)
    error = await denied_soon(real_server, Denied)
    assert "violates PodSecurity" in str(error)


async def test_a_limit_range_is_a_denial(real_server: HttpServerUnderTest) -> None:
    limits = {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}}
    await real_server.client.create(LIMIT_RANGES, limits, real_server.namespace)
    error = await denied_soon(real_server, Denied)
    assert "cpu" in str(error)


@pytest.mark.parametrize("reason", ["Invalid", "Forbidden", "RequestEntityTooLarge"])
async def test_a_policy_is_a_denial_whatever_reason_it_gives(real_server: HttpServerUnderTest, reason: str) -> None:
    name = f"{real_server.namespace}-{reason.lower()}"
    only_here = {"matchLabels": {"kubernetes.io/metadata.name": real_server.namespace}}
    policy = {
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [RULES], "namespaceSelector": only_here},
            "validations": [{"expression": "false", "message": "no pods today", "reason": reason}],
        },
    }
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    await real_server.client.create(POLICIES, policy)
    await real_server.client.create(POLICY_BINDINGS, binding)
    try:
        error = await denied_soon(real_server, Denied)
    finally:
        await real_server.client.delete(POLICY_BINDINGS, name)
        await real_server.client.delete(POLICIES, name)
    assert isinstance(error, Denied)
    assert (error.reason, "no pods today" in str(error)) == (reason, True)


async def test_a_webhook_that_is_down_is_unavailable(real_server: HttpServerUnderTest) -> None:
    name = f"{real_server.namespace}.example.com"
    only_here = {"matchLabels": {"kubernetes.io/metadata.name": real_server.namespace}}
    webhook = {
        "name": name,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [RULES],
        "namespaceSelector": only_here,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
    }
    await real_server.client.create(WEBHOOKS, {"metadata": {"name": name}, "webhooks": [webhook]})
    try:
        error = await denied_soon(real_server, WebhookUnavailable)
    finally:
        await real_server.client.delete(WEBHOOKS, name)
    assert "failed calling webhook" in str(error)


async def test_a_workflow_waits_for_a_policy_that_forbids_its_pods_and_goes_on_without_it(
    real_server: HttpServerUnderTest,
) -> None:
    """What was reported: seven seconds of denials ended every workflow."""
    client, namespace = real_server.client, real_server.namespace
    await install_flyte_workflows(client)
    name = f"{namespace}-forbids"
    only_here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    rules = {"resourceRules": [RULES], "namespaceSelector": only_here}
    forbids = {"expression": "false", "message": "no pods today"}
    spec = {"failurePolicy": "Fail", "matchConstraints": rules, "validations": [forbids]}
    await client.create(POLICIES, {"metadata": {"name": name}, "spec": spec})
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    await client.create(POLICY_BINDINGS, binding)
    await denied_soon(real_server, Denied)
    settings = Settings(checkpoint=CheckpointOptions(max_lag=0.2), storage=StorageOptions(metadata_prefix="memory://m"))
    async with (
        Storage(settings.storage, stores={"memory": MemoryStore()}) as storage,
        real_server.connect() as own,
        WorkflowController(own, storage, settings, namespace=namespace).running(),
    ):
        made = {"metadata": {"name": "w"}, "spec": graph(task("a")), "tasks": {"t": TASK}}
        await client.create(WORKFLOWS, made, namespace)

        async def status() -> Raw:
            found: Raw = (await client.get(WORKFLOWS, "w", namespace)).get("status", {})
            return found

        await _until(status, lambda found: (found.get("waits") or [{}])[0].get("tries", 0) >= 4)
        waits = (await status())["waits"][0]
        assert (waits["node"], "no pods today" in waits["reason"]) == ("a", True)
        await client.delete(POLICY_BINDINGS, name)
        await client.delete(POLICIES, name)
        report = {"status": {"phase": "Succeeded"}}
        await _insist(lambda: client.patch(RAW_PODS, "w-a-0", namespace, body=report, subresource="status"))
        await _until(status, lambda found: found.get("state") == "Succeeded")
        assert (await status()).get("waits") is None


async def _until(read: Callable[[], Awaitable[Raw]], holds: Callable[[Raw], bool]) -> None:
    for _ in range(600):
        if holds(found := await read()):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(found)


async def _insist(call: Callable[[], Awaitable[Any]]) -> None:
    """What is not there yet comes."""
    for _ in range(600):
        try:
            await call()
            return
        except NotFound:
            await asyncio.sleep(0.1)
    raise AssertionError("it does not come")
