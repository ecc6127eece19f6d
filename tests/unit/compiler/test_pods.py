"""Pod specs."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.compiler import CompileErrors, ErrorCode, compile_task
from propeller.compiler._pods import find_pod_fault
from tests.unit.compiler import shapes


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"containers": [{"name": "main", "image": None, "env": [{"name": "A", "value": "1"}]}]},
        {"Containers": [{"name": "main"}], "unknown": 5},
        {"containers": [{"resources": {"limits": {"cpu": "100m", "memory": 5, "nvidia.com/gpu": 1.5}}}]},
        {"containers": [{"livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 3}}]},
        {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}], "terminationGracePeriodSeconds": 2**40},
    ],
)
def test_values_that_kubernetes_accepts_are_accepted(spec: dict[str, Any]) -> None:
    assert find_pod_fault(spec) == ""


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"containers": {}}, "containers"),
        ({"containers": [{"name": 5}]}, "containers[0].name"),
        ({"containers": [{"env": [{"value": 1}]}]}, "containers[0].env[0].value"),
        ({"containers": [{"resources": {"limits": {"cpu": "much"}}}]}, "containers[0].resources.limits.cpu"),
        ({"priority": 2**31}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"hostNetwork": "true"}, "hostNetwork"),
        ({"nodeSelector": {"disk": True}}, "nodeSelector.disk"),
        ({"SecurityContext": []}, "SecurityContext"),
    ],
)
def test_a_fault_is_named_with_its_path(spec: dict[str, Any], path: str) -> None:
    assert find_pod_fault(spec).startswith(f"{path} is ")


@pytest.mark.parametrize("name", ["", "Main", "a_b", "-a", "a" * 64])
def test_a_container_name_must_be_a_dns_label(name: str) -> None:
    task = shapes.template()
    task.k8s_pod.pod_spec.update({"containers": [{"name": name}]})
    with pytest.raises(CompileErrors, match="DNS label") as caught:
        compile_task(task)
    assert [(error.code, error.node_id) for error in caught.value.errors] == [(ErrorCode.INVALID_VALUE, "root")]
