"""What rules of the resource manager hear about a task."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from propeller.errors import Invalid
from propeller.handlers.plugins.pod import demand_of
from propeller.resourcemgr import Demand
from tests.unit.handlers.build import World, graph, task

CONTAINER = {
    "image": "i",
    "resources": {"requests": [{"name": "CPU", "value": "500m"}, {"name": "GPU", "value": "2"}]},
}


def _demand(of_task: dict[str, Any], **node: Any) -> Demand:
    execution = World(graph(task("a", **node)), tasks={"t": of_task}).execution
    number = next(number for number in range(3) if execution.view(number).id == "a")
    return demand_of(execution.view(number))


def test_requests_of_all_containers_count_together() -> None:
    second = {"name": "sidecar", "image": "i", "resources": {"requests": {"cpu": "0.25", "memory": "1Ki"}}}
    first = {"name": "main", "image": "i", "resources": {"requests": {"cpu": "500m"}}}
    pod = {"podSpec": {"containers": [first, second]}, "primaryContainerName": "main"}
    demand = _demand({"id": {"name": "t"}, "type": "sidecar", "k8sPod": pod})
    assert (demand.requests["cpu"], demand.requests["memory"]) == (Decimal("0.75"), Decimal(1024))


def test_a_nodes_overrides_are_what_counts() -> None:
    demand = _demand(
        {"id": {"name": "t"}, "type": "python-task", "container": CONTAINER}, resources={"requests": {"cpu": "3"}}
    )
    assert demand.requests["cpu"] == 3
    assert demand.requests["nvidia.com/gpu"] == 2


def test_the_annotation_of_a_pod_template_is_what_its_author_wants() -> None:
    metadata = {"annotations": {"propeller/pools": "hive=2"}, "labels": {"team": "x"}}
    pod = {
        "podSpec": {"containers": [{"name": "main", "image": "i"}]},
        "primaryContainerName": "main",
        "metadata": metadata,
    }
    demand = _demand({"id": {"name": "t"}, "type": "python-task", "k8sPod": pod})
    assert (demand.wanted, demand.task_type, demand.labels["team"]) == ("hive=2", "python-task", "x")


def test_a_request_that_is_no_quantity_is_named() -> None:
    container = {"image": "i", "resources": {"requests": [{"name": "CPU", "value": "much"}]}}
    with pytest.raises(Invalid, match="resources: cpu: 'much' is not a quantity"):
        _demand({"id": {"name": "t"}, "type": "python-task", "container": container})
