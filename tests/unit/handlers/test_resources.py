"""Requests and limits, as FlytePropeller 1.16 resolves them."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from flyteidl.core import tasks_pb2
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import Invalid
from propeller.handlers.tasks._resources import GPU, quantity, resolve, task_resources, within
from propeller.workflow import TaskResources

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
    assert task_resources(resources) == {
        "requests": {"cpu": "1", GPU: "1", "memory": "1", "ephemeral-storage": "1"},
        "limits": {},
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1Ki", "1024"),
        ("1.5Gi", "1610612736"),
        ("2k", "2000"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("1E", "1e18"),
        ("1Ei", str(2**60)),
        ("12E-3", "0.012"),
        ("100n", "1e-7"),
        ("-1", "-1"),
        ("+1", "1"),
    ],
)
def test_quantities_are_kubernetes(text: str, value: str) -> None:
    assert quantity(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", "lots", "1 Gi", " 1", "NaN", "Infinity", "1_000", "1K", "1g", "Gi", "1e", "1e9999", "٣"]
)
def test_what_is_no_quantity_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="is not a quantity; write it like 500m, 2 or 1Gi"):
        quantity(text)


@given(text=st.text(max_size=8))
def test_any_text_is_a_quantity_or_invalid(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert quantity(text).is_finite()


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
        assert quantity(request) <= quantity(found["limits"][name])
    if quantity(ceiling):
        assert quantity(found.get("limits", {}).get("cpu", "0")) <= quantity(ceiling)
    assert found.get("requests", {}).keys() == found.get("limits", {}).keys()
