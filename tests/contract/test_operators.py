"""Resources for operators are accepted by the types that the operators install, with all of their fields."""

from __future__ import annotations

import functools
import os
from typing import Any

import pytest
import yaml

from propeller.config import OperatorName
from propeller.errors import Malformed
from propeller.handlers.plugins.operators import Shown, shown
from propeller.kube import Raw
from propeller.testing import HttpServerUnderTest, MissingComponent, binary
from tests.contract.custom_resources import install
from tests.unit.handlers.operator_tasks import TASKS, built, resource_of

TYPES = "operator-types.yaml"
BUILT_IN = frozenset({"kubernetes-job"})
"""Task types whose resource every API server has."""


@functools.cache
def definitions() -> dict[str, Raw]:
    """By kind. Skips, and fails in CI, if they are not on this machine."""
    try:
        path = binary("kube-apiserver").parent / TYPES
    except MissingComponent as error:
        pytest.skip(str(error))
    if not path.exists():
        why = f"{path.name} is not here: `python tools/assets.py --only operators` gets it"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    found = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    return {one["spec"]["names"]["kind"]: one for one in found if one}


def served(definition: Raw, version: str) -> Raw:
    """The type with that version alone."""
    (one,) = (one for one in definition["spec"]["versions"] if one["name"] == version)
    spec = {**definition["spec"], "versions": [{**one, "storage": True}]}
    spec.pop("conversion", None)
    annotations = {"api-approved.kubernetes.io": "unapproved, for a test"}
    return {"metadata": {"name": definition["metadata"]["name"], "annotations": annotations}, "spec": spec}


def lost(sent: Any, kept: Any, path: str = "spec") -> list[str]:
    """Fields that the server dropped, as the type does not have them. It may add some."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        missing = [
            f"{path}.{name}" for name, value in sent.items() if name not in kept and value not in (None, {}, [], "")
        ]
        return missing + [
            each for name in sent.keys() & kept.keys() for each in lost(sent[name], kept[name], f"{path}.{name}")
        ]
    if isinstance(sent, list) and isinstance(kept, list):
        return [
            each
            for number, pair in enumerate(zip(sent, kept, strict=True))
            for each in lost(*pair, f"{path}[{number}]")
        ]
    return [] if sent == kept or str(sent) == str(kept) else [f"{path}: {sent!r} became {kept!r}"]


@pytest.mark.parametrize("task_type", sorted(TASKS))
async def test_an_operators_own_type_takes_every_field_of_its_resource(
    http_server: HttpServerUnderTest, task_type: str
) -> None:
    resource, body = resource_of(task_type), built(task_type)
    if task_type not in BUILT_IN:
        await install(http_server.client, served(definitions()[resource.kind], resource.version))
    metadata = {"name": "e-n0-0", "labels": body["metadata"]["labels"], "annotations": body["metadata"]["annotations"]}
    made = await http_server.client.create(resource, {**body, "metadata": metadata}, http_server.namespace)
    assert lost(body["spec"], made["spec"]) == []


@pytest.mark.parametrize("task_type", sorted(TASKS))
async def test_the_types_would_refuse_another_form(http_server: HttpServerUnderTest, task_type: str) -> None:
    resource = resource_of(task_type)
    if task_type not in BUILT_IN:
        await install(http_server.client, served(definitions()[resource.kind], resource.version))
    with pytest.raises(Malformed):
        await http_server.client.create(resource, {"metadata": {"name": "x"}, "spec": 7}, http_server.namespace)


SHOWS: dict[str, tuple[Raw, list[tuple[str, str]], dict[str, str]]] = {
    "spark": (
        {
            "applicationState": {"state": "RUNNING"},
            "sparkApplicationId": "spark-1",
            "driverInfo": {"webUIAddress": "10.0.0.1:4040", "webUIIngressAddress": "e-n0-0.ui.example.com"},
        },
        [("Spark UI", "http://e-n0-0.ui.example.com")],
        {"sparkApplicationID": "spark-1"},
    ),
    "ray": (
        {
            "jobDeploymentStatus": "Running",
            "dashboardURL": "e-n0-0-head-svc.ns.svc.cluster.local:8265",
            "rayClusterName": "e-n0-0-raycluster-x",
            "jobId": "e-n0-0-y",
        },
        [("Ray dashboard", "http://e-n0-0-head-svc.ns.svc.cluster.local:8265")],
        {"rayClusterName": "e-n0-0-raycluster-x", "rayJobID": "e-n0-0-y"},
    ),
    "dask": (
        {"jobStatus": "Running", "clusterName": "e-n0-0"},
        [("Dask dashboard", "http://e-n0-0-scheduler.{namespace}.svc:8787/status")],
        {},
    ),
}


@pytest.mark.parametrize("task_type", SHOWS)
async def test_dashboards_are_read_from_fields_that_an_operators_own_type_keeps(
    http_server: HttpServerUnderTest, task_type: OperatorName
) -> None:
    status, links, values = SHOWS[task_type]
    resource, body, namespace = resource_of(task_type), built(task_type), http_server.namespace
    await install(http_server.client, served(definitions()[resource.kind], resource.version))
    made = await http_server.client.create(resource, {**body, "metadata": {"name": "e-n0-0"}}, namespace)
    assert shown(task_type, made) == Shown()
    kept = await http_server.client.patch(resource, "e-n0-0", namespace, body={"status": status}, subresource="status")
    assert shown(task_type, kept) == Shown(
        tuple((name, uri.format(namespace=namespace)) for name, uri in links), values
    )
