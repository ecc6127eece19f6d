"""Changes of one tenant's limits and weight."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.errors import Invalid
from propeller.fairqueues import FairQueue, edits
from tests.unit.fairqueues.queues import pools, queue

HIVE = queue("a", {**pools(hive=8, all=20), "tenants": [{"name": "ml", "weight": 2, "limits": {"all": 9}}]}, created=1)
GPUS = queue("b", pools(gpus=4), created=2)


def made(*queues: FairQueue, tenant: str = "ml", only: str = "", weight: float | None = None, **limits: Any) -> Any:
    """The tenants of each FairQueue that changes."""
    found = edits(queues, tenant, limits, weight, only)
    return {edit.queue.metadata.name: list(edit.tenants) for edit in found}


def test_a_limit_is_set_in_the_fairqueue_that_has_the_pool_beside_what_there_was() -> None:
    assert made(HIVE, GPUS, hive=3) == {"a": [{"name": "ml", "weight": 2, "limits": {"all": 9, "hive": 3}}]}
    assert made(HIVE, GPUS, gpus=0) == {"b": [{"name": "ml", "limits": {"gpus": 0}}]}
    assert sorted(made(HIVE, GPUS, gpus=1, hive=1)) == ["a", "b"]


def test_a_limit_is_removed_and_with_it_a_tenant_of_which_nothing_is_left() -> None:
    assert made(HIVE, all=None) == {"a": [{"name": "ml", "weight": 2}]}
    plain = queue(
        "a", {**pools(hive=8), "tenants": [{"name": "ml", "limits": {"hive": 1}}, {"name": "x", "weight": 2}]}
    )
    assert made(plain, hive=None) == {"a": [{"name": "x", "weight": 2}]}
    assert HIVE.spec["tenants"] == [{"name": "ml", "weight": 2, "limits": {"all": 9}}], "the object read stays as it is"


def test_a_weight_belongs_where_there_is_one_or_to_what_is_changed_or_to_the_only_one() -> None:
    assert made(HIVE, GPUS, weight=3.0)["a"][0]["weight"] == 3.0
    assert made(HIVE, GPUS, tenant="etl", weight=3.0, gpus=1) == {
        "b": [{"name": "etl", "limits": {"gpus": 1}, "weight": 3.0}]
    }
    assert made(GPUS, tenant="etl", weight=3.0) == {"b": [{"name": "etl", "weight": 3.0}]}
    with pytest.raises(Invalid, match="weight of 'etl' can be given by each of a, b: name one with --queue"):
        made(HIVE, GPUS, tenant="etl", weight=3.0)
    assert made(HIVE, GPUS, tenant="etl", weight=3.0, only="b") == {"b": [{"name": "etl", "weight": 3.0}]}


@pytest.mark.parametrize(
    ("limits", "options", "word"),
    [
        ({"hove": 1}, {}, "no FairQueue has pool 'hove'; there are all, gpus, hive"),
        ({"hive": 1}, {"only": "b"}, "no FairQueue has pool 'hive'; there are gpus"),
        ({"hive": 1}, {"only": "nope"}, "there is no FairQueue 'nope'"),
        ({"hive": 2**60}, {}, "limit of tenant 'ml' for pool 'hive' is 1152921504606846976"),
        ({"hive": 1}, {"tenant": "ml//x"}, "tenant 'ml//x': write 1 to 16 names"),
        ({}, {"weight": 0.0}, "weight of tenant 'ml' is 0"),
        ({}, {"weight": float("nan")}, "weight of tenant 'ml' is nan"),
        ({}, {"weight": float("inf")}, "weight of tenant 'ml' is inf"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_written(
    limits: dict[str, Any], options: dict[str, Any], word: str
) -> None:
    with pytest.raises(Invalid, match=word):
        made(HIVE, GPUS, **options, **limits)


def test_without_a_fairqueue_there_is_nothing_to_change() -> None:
    with pytest.raises(Invalid, match="there is no FairQueue: create one with the pools"):
        made(hive=1)


@pytest.mark.parametrize("spec", [None, "x", {"pools": "x"}, {"pools": [1, None]}, {"tenants": {}}])
def test_a_spec_that_no_schema_has_checked_is_no_defect(spec: Any) -> None:
    with pytest.raises(Invalid, match="no FairQueue has pool 'hive'; there are none"):
        made(queue("a", spec), hive=1)
