"""Bounds of pods by limit ranges: what is never accepted, with the numbers and the range's name."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.resourcemgr.quotas._limit_ranges import out_of_range


def asking(name: str = "main", requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> Any:
    return {"name": name, "image": "i", "resources": {"requests": requests or {}, "limits": limits or {}}}


def of(*containers: Any, init: tuple[Any, ...] = ()) -> Any:
    return {"containers": list(containers), "initContainers": list(init)}


def ranges(type_: str = "Container", **bounds: dict[str, str]) -> Any:
    return {"bounds": {"limits": [{"type": type_, **bounds}]}}


MEND = " in LimitRange 'bounds' of its namespace: change what the task requests, or the range"
NEVER = {
    "a request over max": (
        of(asking(requests={"cpu": "3"})),
        ranges(max={"cpu": "2"}),
        "its container 'main' has a request of 3 cpu, and at most 2 is allowed",
    ),
    "a limit over max": (
        of(asking(limits={"memory": "3Gi"})),
        ranges(max={"memory": "2Gi"}),
        "its container 'main' has a limit of 3Gi memory, and at most 2Gi is allowed",
    ),
    "a request below min": (
        of(asking(requests={"cpu": "50m"})),
        ranges(min={"cpu": "100m"}),
        "its container 'main' has a request of 50m cpu, and at least 100m is allowed",
    ),
    "an init container": (
        of(asking(), init=(asking("first", limits={"cpu": "4"}),)),
        ranges(max={"cpu": "2"}),
        "its container 'first' has a limit of 4 cpu, and at most 2 is allowed",
    ),
    "a ratio": (
        of(asking(requests={"cpu": "500m"}, limits={"cpu": "2"})),
        ranges(maxLimitRequestRatio={"cpu": "3"}),
        "its container 'main' has a limit of 4 times its request of cpu, and at most 3 times is allowed",
    ),
    "a pod as a whole": (
        of(asking("a", limits={"cpu": "2"}), asking("b", limits={"cpu": "2"})),
        ranges("Pod", max={"cpu": "3"}),
        "it has a limit of 4 cpu, and at most 3 is allowed",
    ),
    "an extended resource": (
        of(asking(requests={"nvidia.com/gpu": "8"}, limits={"nvidia.com/gpu": "8"})),
        ranges(max={"nvidia.com/gpu": "4"}),
        "its container 'main' has a request of 8 nvidia.com/gpu, and at most 4 is allowed",
    ),
}


@pytest.mark.parametrize("case", NEVER)
def test_what_no_pod_of_the_namespace_may_have_is_named(case: str) -> None:
    spec, limit_ranges, why = NEVER[case]
    assert out_of_range(spec, limit_ranges) == why + MEND


MAYBE = {
    "it is within": (
        of(asking(requests={"cpu": "1"}, limits={"cpu": "2"})),
        ranges(max={"cpu": "2"}, min={"cpu": "1"}),
    ),
    "a webhook may add the limit": (of(asking()), ranges(max={"cpu": "2"})),
    "a webhook may add the request": (of(asking(limits={"cpu": "2"})), ranges(maxLimitRequestRatio={"cpu": "2"})),
    "a webhook may add a container": (of(asking(requests={"cpu": "1"})), ranges("Pod", min={"cpu": "2"})),
    "it is about volume claims": (of(asking(requests={"cpu": "9"})), ranges("PersistentVolumeClaim", max={"cpu": "2"})),
    "no quantity": (of(asking(requests={"cpu": "many"})), ranges(max={"cpu": "2"})),
    "a bound that is none": (of(asking(requests={"cpu": "9"})), ranges(max={"cpu": "many"})),
    "no bounds": (of(asking(requests={"cpu": "9"})), {"empty": {}, "none": {"limits": None}}),
}


@pytest.mark.parametrize("case", MAYBE)
def test_of_the_rest_the_api_server_is_the_judge(case: str) -> None:
    assert out_of_range(*MAYBE[case]) == ""


def test_of_several_ranges_the_one_that_is_broken_is_named() -> None:
    spec = of(asking(requests={"cpu": "3"}))
    wide, narrow = ({"limits": [{"type": "Container", "max": {"cpu": most}}]} for most in ("8", "2"))
    assert "LimitRange 'z'" in out_of_range(spec, {"a": wide, "z": narrow})
