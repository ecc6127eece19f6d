"""Jobs as an API server keeps them: defaults, the selector that it makes, validation, ends. Nobody runs them here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propeller.errors import Malformed
from propeller.kube import PODS, Raw, Resource
from propeller.testing import ServerUnderTest
from tests.contract.objects import DEADLINE

JOBS: Resource[Raw] = Resource(group="batch", kind="Job", plural="jobs", type=dict[str, Any])
TEMPLATE = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}
SUCCESS = [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]
COMPLETE = {"conditions": SUCCESS, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:10Z"}


def job(name: str = "j", *, labels: dict[str, str] | None = None, **spec: Any) -> Raw:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"template": TEMPLATE, **spec}}


async def create(server: ServerUnderTest, body: Raw) -> Raw:
    return await server.client.create(JOBS, body, server.namespace)


async def report(server: ServerUnderTest, status: Raw) -> Raw:
    return await server.client.patch(JOBS, "j", server.namespace, body={"status": status}, subresource="status")


async def test_a_job_has_defaults_and_a_selector_of_its_own(server: ServerUnderTest) -> None:
    made = await create(server, job())
    uid = made["metadata"]["uid"]
    own = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid,
        "job-name": "j",
    }
    spec = made["spec"]
    template = spec.pop("template")
    assert spec == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
        "suspend": False,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}},
    }
    assert template["metadata"]["labels"] == made["metadata"]["labels"] == own
    assert template["spec"] == {
        "containers": [
            {
                "name": "main",
                "image": "none",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Never",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }
    assert (made["metadata"]["generation"], made["status"]) == (1, {})


async def test_what_a_job_says_itself_is_kept(server: ServerUnderTest) -> None:
    made = await create(server, job(labels={"x": "y"}, parallelism=3, backoffLimit=0))
    assert made["metadata"]["labels"] == {"x": "y"}
    assert {key: made["spec"].get(key) for key in ("parallelism", "completions", "backoffLimit")} == {
        "parallelism": 3,
        "completions": None,
        "backoffLimit": 0,
    }


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"template": {}}, ("spec.template.spec.containers", "spec.template.spec.restartPolicy")),
        ({"parallelism": -1, "backoffLimit": -1}, ("spec.parallelism", "spec.backoffLimit")),
        ({"template": {"spec": TEMPLATE["spec"] | {"restartPolicy": "Always"}}}, ("spec.template.spec.restartPolicy",)),
        (
            {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]}}},
            ("spec.template.spec.containers[0].image",),
        ),
        ({"selector": {"matchLabels": {"a": "b"}}}, ("spec.selector", "spec.template.metadata.labels")),
    ],
)
async def test_a_job_that_is_wrong_is_refused_by_field(
    server: ServerUnderTest, spec: Raw, fields: tuple[str, ...]
) -> None:
    with pytest.raises(Malformed) as refused:
        await create(server, job(**spec))
    assert refused.value.fields == fields


async def test_its_size_may_change_and_its_pods_may_not(server: ServerUnderTest) -> None:
    await create(server, job(completions=2))
    changed = await server.client.patch(JOBS, "j", server.namespace, body={"spec": {"parallelism": 7}})
    assert (changed["spec"]["parallelism"], changed["metadata"]["generation"]) == (7, 2)
    with pytest.raises(Malformed, match="field is immutable") as refused:
        await server.client.patch(JOBS, "j", server.namespace, body={"spec": {"completions": 3}})
    assert refused.value.fields == ("spec.completions",)


async def test_a_status_is_written_by_itself(server: ServerUnderTest) -> None:
    await create(server, job())
    running = {"startTime": "2026-01-01T00:00:00Z", "active": 1, "ready": 1}
    assert (await report(server, running))["status"] == running
    await server.client.patch(JOBS, "j", server.namespace, body={"status": {"active": 9}, "spec": {"parallelism": 2}})
    assert (await server.client.get(JOBS, "j", server.namespace))["status"] == running


async def test_an_end_says_what_it_must(server: ServerUnderTest) -> None:
    await create(server, job())
    await report(server, {"active": 1})
    with pytest.raises(Malformed) as refused:
        await report(server, {"conditions": [{"type": "Complete", "status": "True"}]})
    expected = ("status.completionTime", "status.conditions", "status.active", "status.startTime")
    assert refused.value.fields == expected
    began = {"startTime": "2026-01-01T00:00:00Z"}
    with pytest.raises(Malformed, match="cannot set Failed=True condition without the FailureTarget=true condition"):
        await report(server, began | {"active": 0, "conditions": [{"type": "Failed", "status": "True"}]})


async def test_an_end_is_not_taken_back(server: ServerUnderTest) -> None:
    await create(server, job())
    await report(server, COMPLETE | {"succeeded": 1})
    with pytest.raises(Malformed, match="cannot disable the terminal Complete=True condition"):
        await report(server, {"conditions": [SUCCESS[0]], "completionTime": None})


async def test_a_deletion_that_says_nothing_leaves_its_pods_and_foreground_waits_for_them(
    server: ServerUnderTest,
) -> None:
    finalizers = {}
    for name, policy in (("plain", None), ("foreground", "Foreground")):
        body = job(name) | {"metadata": {"name": name, "finalizers": ["example.org/held"]}}
        await create(server, body)
        await server.client.delete(JOBS, name, server.namespace, propagation=policy)
        finalizers[name] = (await server.client.get(JOBS, name, server.namespace))["metadata"]["finalizers"]
    # the embedded server's garbage collector may have been at work already
    assert set(finalizers["plain"]) - {"orphan"} == {"example.org/held"}
    assert set(finalizers["foreground"]) - {"foregroundDeletion"} == {"example.org/held"}


async def test_what_a_job_owns_goes_before_it_if_it_is_asked_to(embedded_server: ServerUnderTest) -> None:
    server = embedded_server
    for policy, stays in (("Foreground", False), (None, True)):
        made = await create(server, job())
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": made["metadata"]["uid"]}
        pod = {"metadata": {"name": "p", "ownerReferences": [owner | {"blockOwnerDeletion": True}]}, **TEMPLATE}
        await server.client.create(PODS, pod, server.namespace)
        await server.client.delete(JOBS, "j", server.namespace, propagation=policy)

        async with asyncio.timeout(DEADLINE):
            while (await server.client.list(JOBS, server.namespace)).items:
                await asyncio.sleep(0.01)
        left = [pod.metadata.name for pod in (await server.client.list(PODS, server.namespace)).items]
        assert left == (["p"] if stays else [])
