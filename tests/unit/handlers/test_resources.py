"""Requests and limits, as FlytePropeller 1.16 resolves them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flyteidl.core import tasks_pb2
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.handlers.plugins.pod._resources import GPU, resolve, task_resources, within
from propeller.quantity import parse
from propeller.workflow import TaskResources
from tests.quantities import REFUSED, ROWS

NONE = TaskResources()


def platform(*, requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> TaskResources:
    return msgspec.convert({"Requests": requests or {}, "Limits": limits or {}}, TaskResources)


@pytest.mark.parametrize(
    ("own", "overrides", "of_platform", "expected"),
    [
        ({}, None, NONE, {}),
        ({"requests": {"cpu": "1"}}, None, NONE, {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}),
        ({"limits": {"cpu": "2"}}, None, NONE, {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}),
        (
            {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
            None,
            NONE,
            {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
        ),
        # defaults, where nothing is asked for
        (
            {},
            None,
            platform(requests={"CPU": "500m", "Memory": "1Gi"}),
            {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "500m", "memory": "1Gi"}},
        ),
        (
            {"requests": {"cpu": "0"}},
            None,
            platform(requests={"CPU": "500m"}),
            {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}},
        ),
        # the execution's limits cut both
        (
            {"requests": {"cpu": "4"}, "limits": {"cpu": "8"}},
            None,
            platform(limits={"CPU": "2"}),
            {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}},
        ),
        # a request is at most its limit
        (
            {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
            None,
            NONE,
            {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        ),
        # the node's overrides win
        (
            {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
            {"limits": {"cpu": "3"}},
            NONE,
            {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
        ),
        ({"limits": {"gpu": "1"}}, None, NONE, {"requests": {GPU: "1"}, "limits": {GPU: "1"}}),
        ({"limits": {GPU: "4"}}, None, platform(limits={"GPU": "2"}), {"requests": {GPU: "2"}, "limits": {GPU: "2"}}),
        (
            {"requests": {"ephemeral-storage": "10Gi"}},
            None,
            platform(limits={"EphemeralStorage": "5Gi"}),
            {"requests": {"ephemeral-storage": "5Gi"}, "limits": {"ephemeral-storage": "5Gi"}},
        ),
        (
            {"limits": {"rdma/infiniband": "1"}},
            None,
            NONE,
            {"requests": {"rdma/infiniband": "1"}, "limits": {"rdma/infiniband": "1"}},
        ),
        ({"requests": {"cpu": 2}}, None, NONE, {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}),
    ],
)
def test_resources_are_resolved(own: Any, overrides: Any, of_platform: TaskResources, expected: Any) -> None:
    assert resolve(own, overrides, of_platform) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {}),
        ({"requests": {"cpu": "1"}}, {"requests": {"cpu": "1"}}),
        ({"requests": {"cpu": "4"}}, {"requests": {"cpu": "2"}}),
        ({"limits": {"cpu": "4"}}, {"limits": {"cpu": "2"}}),
        ({"requests": {"cpu": "1500m"}, "limits": {"cpu": "1"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}),
    ],
)
def test_a_sidecars_resources_are_only_cut(own: Any, expected: Any) -> None:
    assert within(own, platform(requests={"CPU": "500m"}, limits={"CPU": "2"})) == expected


def test_a_templates_resources_have_kubernetes_names_and_storage_is_left_out() -> None:
    resources = tasks_pb2.Resources()
    for name in ("CPU", "GPU", "MEMORY", "STORAGE", "EPHEMERAL_STORAGE", "UNKNOWN"):
        resources.requests.add(name=tasks_pb2.Resources.ResourceName.Value(name), value="1")
    assert task_resources(resources, GPU) == {
        "requests": {"cpu": "1", GPU: "1", "memory": "1", "ephemeral-storage": "1"},
        "limits": {},
    }


amounts = st.sampled_from(["0", "100m", "1", "2", "4", "8"])


@given(
    own=st.fixed_dictionaries(
        {},
        optional={
            kind: st.dictionaries(st.sampled_from(["cpu", "memory"]), amounts) for kind in ("requests", "limits")
        },
    ),
    default=amounts,
    ceiling=amounts,
)
def test_a_request_never_exceeds_its_limit_nor_either_the_executions(own: Any, default: str, ceiling: str) -> None:
    found = resolve(own, None, platform(requests={"CPU": default, "Memory": default}, limits={"CPU": ceiling}))
    for name, request in found.get("requests", {}).items():
        assert parse(request) <= parse(found["limits"][name])
    if parse(ceiling):
        assert parse(found.get("limits", {}).get("cpu", "0")) <= parse(ceiling)
    assert found.get("requests", {}).keys() == found.get("limits", {}).keys()


@pytest.mark.parametrize(("text", "amount"), [(row[0], row[1]) for row in ROWS])
def test_a_quantity_of_a_task_is_compared_as_kubernetes_reads_it(text: str, amount: str) -> None:
    found = resolve({"limits": {"cpu": text}}, None, platform(limits={"CPU": "1000"}))
    if parse(amount) == 0:
        assert found == {}
    else:
        assert found["limits"]["cpu"] == ("1000" if parse(amount) > 1000 else text)


@pytest.mark.parametrize("text", sorted(REFUSED.keys() - {""}))
def test_a_text_that_is_no_quantity_is_invalid_and_names_its_resource(text: str) -> None:
    with pytest.raises(Invalid, match=r"^resources: cpu: .* is not a quantity"):
        resolve({"limits": {"cpu": text}}, None, platform())
