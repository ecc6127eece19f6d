"""What the platform adds to pods, compared with what FlytePropeller 1.16 adds (flytek8s/pod_helper_test.go)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from propeller.config import (
    Amounts,
    NodeRequirement,
    PodDefaults,
    PodPolicy,
    ResourceRule,
    Settings,
    Toleration,
)
from propeller.errors import Invalid
from propeller.handlers.plugins import PodSettings
from propeller.handlers.plugins.pod import build_pod
from propeller.workflow import AttemptOptions
from tests.unit.handlers.build import World, graph, literals, task
from tests.unit.handlers.test_pod import container_task, pod_of, pod_task, spec_of, variables_of

Json = dict[str, Any]

SPOT = Toleration(key="spot", operator="Equal", value="true", effect="NoSchedule")
IS_SPOT = NodeRequirement(key="spot", operator="In", values=("true",))
NOT_SPOT = NodeRequirement(key="spot", operator="DoesNotExist")
GPU_LABEL, PARTITION_LABEL = "k8s.amazonaws.com/accelerator", "k8s.amazonaws.com/gpu-partition-size"


def given(of: Json, *, policy: PodPolicy = PodPolicy(), defaults: Json | None = None, **fields: Any) -> Json:
    settings = PodSettings(raw_output_prefix="s3://raw", policy=policy, defaults=PodDefaults(**(defaults or {})))
    return pod_of(of, settings=settings, **fields)


def spec_given(of: Json, **fields: Any) -> Json:
    found: Json = given(of, **fields)["spec"]
    return found


def terms_of(spec: Json) -> list[list[Json]]:
    """The expressions of each term of the required node affinity."""
    node = spec.get("affinity", {}).get("nodeAffinity", {})
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution", {})
    return [term["matchExpressions"] for term in required.get("nodeSelectorTerms", ())]


def gpu_task(**accelerator: Any) -> Json:
    resources = {"limits": [{"name": "GPU", "value": "1"}]}
    return container_task(resources=resources) | {"extendedResources": {"gpuAccelerator": accelerator}}


def test_without_settings_a_pod_has_nothing_but_its_tasks_own() -> None:
    assert spec_given(container_task()).keys() == {"restartPolicy", "containers"}


def test_a_pod_has_the_platforms_labels_annotations_and_variables() -> None:
    pod = given(
        container_task(env=[{"key": "A", "value": "task"}]),
        defaults={"labels": {"team": "x"}, "annotations": {"a": "b"}, "environment": {"A": "platform"}},
    )
    assert pod["metadata"]["labels"]["team"] == "x"
    assert pod["metadata"]["annotations"]["a"] == "b"
    assert variables_of(pod["spec"]["containers"][0])["A"] == "platform"


def test_a_tasks_own_labels_and_annotations_win_over_the_platforms() -> None:
    of = pod_task() | {"metadata": {"metadata": {"labels": {"team": "mine"}, "annotations": {"a": "mine"}}}}
    found = given(of, defaults={"labels": {"team": "x"}, "annotations": {"a": "b"}})["metadata"]
    assert (found["labels"]["team"], found["annotations"]["a"]) == ("mine", "mine")


def test_variables_come_from_secrets_and_config_maps_that_may_be_missing() -> None:
    defaults = {"environment_from_secrets": ("s",), "environment_from_config_maps": ("c",)}
    for container in spec_given(pod_task(), defaults=defaults)["containers"]:
        assert container["envFrom"] == [
            {"secretRef": {"name": "s", "optional": True}},
            {"configMapRef": {"name": "c", "optional": True}},
        ]


def test_fields_of_pods_are_set_where_a_task_has_none() -> None:
    defaults: Json = {
        "scheduler": "volcano",
        "node_selector": {"pool": "flyte", "disk": "hdd"},
        "affinity": {"podAntiAffinity": {}},
        "pod_security_context": {"runAsUser": 1000},
        "security_context": {"readOnlyRootFilesystem": True},
        "dns_config": {"searches": ["x"]},
        "host_network": True,
        "image_pull_policy": "Always",
        "image_pull_secrets": ("registry",),
        "tolerations": (Toleration(key="flyte", operator="Exists"),),
    }
    spec = spec_given(container_task(), defaults=defaults)
    assert spec["schedulerName"] == "volcano"
    assert spec["nodeSelector"] == {"pool": "flyte", "disk": "hdd"}
    assert spec["affinity"] == {"podAntiAffinity": {}}
    assert spec["securityContext"] == {"runAsUser": 1000}
    assert spec["dnsConfig"] == {"searches": ["x"]}
    assert spec["hostNetwork"] is True
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["tolerations"] == [{"key": "flyte", "operator": "Exists"}]
    (container,) = spec["containers"]
    assert (container["securityContext"], container["imagePullPolicy"]) == ({"readOnlyRootFilesystem": True}, "Always")


def with_spec(**fields: Any) -> Json:
    of = pod_task()
    of["k8sPod"]["podSpec"] |= fields
    return of


def test_a_tasks_own_fields_win_and_its_lists_are_added() -> None:
    of = with_spec(
        schedulerName="mine",
        nodeSelector={"disk": "ssd"},
        securityContext={"runAsUser": 1},
        tolerations=[{"key": "mine", "operator": "Exists"}],
        imagePullSecrets=[{"name": "mine"}],
    )
    spec = spec_given(
        of,
        defaults={
            "scheduler": "volcano",
            "node_selector": {"pool": "flyte", "disk": "hdd"},
            "pod_security_context": {"runAsUser": 1000},
            "tolerations": (Toleration(key="flyte", operator="Exists"),),
            "image_pull_secrets": ("registry", "mine"),
        },
    )
    assert (spec["schedulerName"], spec["securityContext"]) == ("mine", {"runAsUser": 1})
    assert spec["nodeSelector"] == {"pool": "flyte", "disk": "ssd"}
    assert [one["key"] for one in spec["tolerations"]] == ["flyte", "mine"]
    assert spec["imagePullSecrets"] == [{"name": "mine"}, {"name": "registry"}]


def test_what_the_platform_gives_is_not_refused_by_the_policy() -> None:
    pod = given(
        container_task(),
        defaults={"host_network": True, "security_context": {"privileged": True}},
        policy=PodPolicy(schedulers=()),
    )
    assert pod["spec"]["hostNetwork"] is True


def test_tolerations_follow_the_resources_that_a_task_requests() -> None:
    defaults: Json = {
        "resource_tolerations": {"nvidia.com/gpu": (Toleration(key="gpu", operator="Exists"),)},
        "extended_resource_tolerations": ("nvidia.com/gpu",),
    }
    assert "tolerations" not in spec_given(container_task(), defaults=defaults)
    wanted = [
        {"key": "gpu", "operator": "Exists"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    ]
    assert spec_given(gpu_task(), defaults=defaults)["tolerations"] == wanted
    by_override = spec_given(
        container_task(), defaults=defaults, node={"resources": {"requests": {"nvidia.com/gpu": "2"}}}
    )
    assert by_override["tolerations"] == wanted


INTERRUPTIBLE: Json = {
    "interruptible_tolerations": (SPOT,),
    "interruptible_node_selector": {"lifecycle": "spot"},
    "interruptible_requirements": (IS_SPOT,),
    "on_demand_requirements": (NOT_SPOT,),
}


def test_interruptible_pods_go_to_machines_that_may_be_taken_away() -> None:
    spec = spec_given(
        with_spec(nodeSelector={"lifecycle": "mine"}), defaults=INTERRUPTIBLE, node={"interruptible": True}
    )
    assert spec["tolerations"][0] == msgspec.to_builtins(SPOT)
    assert spec["nodeSelector"] == {"lifecycle": "spot"}
    assert terms_of(spec) == [[{"key": "spot", "operator": "In", "values": ["true"]}]]


def test_other_pods_are_kept_off_them() -> None:
    spec = spec_given(container_task(), defaults=INTERRUPTIBLE)
    assert terms_of(spec) == [[{"key": "spot", "operator": "DoesNotExist"}]]
    assert not {"tolerations", "nodeSelector"} & spec.keys()


def test_requirements_hold_for_each_of_a_tasks_own_terms() -> None:
    own = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in "ab"]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": own}}
    spec = spec_given(with_spec(affinity={"nodeAffinity": required}), defaults=INTERRUPTIBLE)
    assert [[one["key"] for one in term] for term in terms_of(spec)] == [["zone", "spot"], ["zone", "spot"]]


@pytest.mark.parametrize(
    ("threshold", "interruptible"),
    [(-1, [True, True, True, False]), (-2, [True, True, False, False]), (1, [True, False]), (0, [True] * 4)],
)
def test_the_threshold_says_how_many_failures_an_interruptible_task_may_have(
    threshold: int, interruptible: list[bool]
) -> None:
    settings = PodSettings(raw_output_prefix="s3://raw", defaults=PodDefaults(**INTERRUPTIBLE))
    for failures, expected in enumerate(interruptible):
        world = World(graph(task("n0", interruptible=True)), {"t": container_task()})
        node = world.node("n0")
        world.execution.settings = AttemptOptions(interruptible_failures=threshold)
        world.execution.system_failures[node.number] = failures
        pod = build_pod(node, failures, literals(), settings)
        assert pod["metadata"]["labels"]["interruptible"] == str(expected).lower()
        assert ("nodeSelector" in pod["spec"]) is expected


def test_an_accelerator_is_required_of_the_machine_and_its_taint_tolerated() -> None:
    spec = spec_given(gpu_task(device="nvidia-tesla-a100"))
    assert terms_of(spec) == [[{"key": GPU_LABEL, "operator": "In", "values": ["nvidia-tesla-a100"]}]]
    assert spec["tolerations"] == [
        {"key": GPU_LABEL, "operator": "Equal", "value": "nvidia-tesla-a100", "effect": "NoSchedule"}
    ]


def test_a_partition_is_required_besides_the_device() -> None:
    spec = spec_given(gpu_task(device="a100", partitionSize="1g.5gb"))
    assert terms_of(spec) == [
        [
            {"key": GPU_LABEL, "operator": "In", "values": ["a100"]},
            {"key": PARTITION_LABEL, "operator": "In", "values": ["1g.5gb"]},
        ]
    ]
    assert [(one["key"], one["value"]) for one in spec["tolerations"]] == [
        (GPU_LABEL, "a100"),
        (PARTITION_LABEL, "1g.5gb"),
    ]


def test_a_whole_accelerator_has_no_partition_or_what_the_operator_says() -> None:
    spec = spec_given(gpu_task(device="a100", unpartitioned=True))
    assert terms_of(spec)[0][1] == {"key": PARTITION_LABEL, "operator": "DoesNotExist"}
    defaults = {
        "gpu_unpartitioned_requirements": (NodeRequirement(key="whole", operator="Exists"),),
        "gpu_unpartitioned_tolerations": (Toleration(key="whole", operator="Exists"),),
    }
    spec = spec_given(gpu_task(device="a100", unpartitioned=True), defaults=defaults)
    assert terms_of(spec)[0][1] == {"key": "whole", "operator": "Exists"}
    assert spec["tolerations"][-1] == {"key": "whole", "operator": "Exists"}


def test_the_names_of_labels_devices_and_the_gpu_resource_are_settings() -> None:
    defaults = {
        "gpu_resource": "amd.com/gpu",
        "gpu_device_label": "cloud/accelerator",
        "gpu_devices": {"nvidia-tesla-a100": "a100"},
    }
    spec = spec_given(gpu_task(device="nvidia-tesla-a100"), defaults=defaults)
    assert spec["containers"][0]["resources"]["limits"] == {"amd.com/gpu": "1"}
    assert terms_of(spec) == [[{"key": "cloud/accelerator", "operator": "In", "values": ["a100"]}]]


def test_an_accelerator_without_gpus_changes_nothing() -> None:
    of = container_task() | {"extendedResources": {"gpuAccelerator": {"device": "a100"}}}
    assert spec_given(of).keys() == {"restartPolicy", "containers"}


def test_the_nodes_accelerator_replaces_the_tasks() -> None:
    node = {"extendedResources": {"gpuAccelerator": {"device": "t4"}}}
    spec = spec_given(gpu_task(device="a100", partitionSize="1g.5gb"), node=node)
    assert terms_of(spec) == [[{"key": GPU_LABEL, "operator": "In", "values": ["t4"]}]]


SHARED = {"sharedMemory": {"mountPath": "/dev/shm", "mountName": "flyte-shared-memory", "sizeLimit": "1Gi"}}


@pytest.mark.parametrize("where", ["task", "node"])
def test_shared_memory_is_a_volume_of_the_primary_container(where: str) -> None:
    of = pod_task() | ({"extendedResources": SHARED} if where == "task" else {})
    spec = spec_given(of, node={"extendedResources": SHARED} if where == "node" else {})
    assert spec["volumes"] == [{"name": "flyte-shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]
    mounts = {one["name"]: one.get("volumeMounts") for one in spec["containers"]}
    assert mounts == {"main": [{"name": "flyte-shared-memory", "mountPath": "/dev/shm"}], "sidecar": None}


@pytest.mark.parametrize(
    ("memory", "spec", "message"),
    [
        ({"mountPath": "/dev/shm"}, {}, "needs a mount_name"),
        ({"mountName": "m"}, {}, "needs a mount_path"),
        ({"mountName": "m", "mountPath": "/p", "sizeLimit": "much"}, {}, "size_limit of the shared memory: 'much'"),
        ({"mountName": "m", "mountPath": "/p"}, {"volumes": [{"name": "m", "emptyDir": {}}]}, "has another one"),
    ],
)
def test_shared_memory_that_cannot_be_is_refused(memory: Json, spec: Json, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        spec_given(with_spec(**spec) | {"extendedResources": {"sharedMemory": memory}})


def test_a_node_replaces_the_pod_of_its_task() -> None:
    override = {
        "metadata": {"labels": {"l": "node"}, "annotations": {"a": "node"}},
        "pod_spec": {
            "containers": [{"name": "other", "image": "i", "args": ["{{.input}}"]}, {"name": "beside", "image": "b"}],
            "nodeSelector": {"disk": "ssd"},
        },
        "primary_container_name": "other",
    }
    for of in (container_task(), pod_task()):
        pod = given(of, node={"podTemplate": override})
        assert [one["name"] for one in pod["spec"]["containers"]] == ["other", "beside"]
        assert pod["spec"]["containers"][0]["args"] == ["memory://m/e/n0/data/inputs.pb"]
        assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}
        assert pod["metadata"]["labels"]["l"] == pod["metadata"]["annotations"]["a"] == "node"
        assert pod["metadata"]["annotations"]["primary_container_name"] == "other"


def test_a_nodes_pod_is_checked_by_the_policy_too() -> None:
    override = {
        "podSpec": {"hostNetwork": True, "containers": [{"name": "main", "image": "i"}]},
        "primaryContainerName": "main",
    }
    with pytest.raises(Invalid, match=r"spec\.hostNetwork"):
        given(container_task(), node={"podTemplate": override})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"pod_spec": {"containers": []}, "primary_container_name": "p"}, "the pod template of node n0"),
        ({"pod_spec": {"containers": "x"}}, "the pod template of node n0 is malformed"),
        ({"pod_spec": "x"}, "podTemplate of node n0 is malformed"),
    ],
)
def test_a_nodes_pod_that_is_malformed_is_refused_and_the_node_named(override: Json, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        given(container_task(), node={"podTemplate": override})


def test_a_native_sidecar_does_not_get_the_nodes_resources() -> None:
    init = [
        {"name": "setup", "image": "i"},
        {"name": "proxy", "image": "i", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
    ]
    spec = spec_given(with_spec(initContainers=init), node={"resources": {"requests": {"cpu": "4"}}})
    setup, proxy = spec["initContainers"]
    assert setup["resources"]["requests"] == {"cpu": "4"}
    assert proxy["resources"] == {"requests": {"cpu": "100m"}}
    assert proxy["restartPolicy"] == "Always"


RULES = (
    ResourceRule(requests=Amounts(cpu="1", memory="1Gi"), limits=Amounts(cpu="8")),
    ResourceRule(project="big", limits=Amounts(cpu="64", gpu="4")),
    ResourceRule(project="big", domain="development", limits=Amounts(cpu="2")),
)


@pytest.mark.parametrize(
    ("project", "domain", "requests", "limits"),
    [
        ("small", "production", {"cpu": "1", "memory": "1Gi"}, {"cpu": "8", "memory": "1Gi"}),
        ("big", "production", {"cpu": "1", "memory": "1Gi"}, {"cpu": "32", "memory": "1Gi"}),
        ("big", "development", {"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}),
    ],
)
def test_resources_have_defaults_and_limits_by_project_and_domain(
    project: str, domain: str, requests: Json, limits: Json
) -> None:
    of = container_task(
        resources={"limits": [{"name": "CPU", "value": "32"}], "requests": [{"name": "CPU", "value": "1"}]}
    )
    spec = spec_given(of, defaults={"task_resources": RULES}, labels={"project": project, "domain": domain})
    assert spec["containers"][0]["resources"] == {"requests": requests, "limits": limits}


def test_what_the_execution_says_of_resources_wins_over_the_rules() -> None:
    own = spec_of(executionConfig={"TaskResources": {"Requests": {"CPU": "3"}, "Limits": {}}})
    spec = spec_given(container_task(), defaults={"task_resources": RULES}, spec=own)
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "3", "memory": "1Gi"}


def test_an_amount_that_is_no_quantity_is_refused_when_settings_are_read() -> None:
    settings = {"pod_defaults": {"task_resources": [{"limits": {"cpu": "much"}}]}}
    with pytest.raises(msgspec.ValidationError, match="cpu: 'much' is not a quantity"):
        msgspec.convert(settings, Settings)


def test_settings_take_kubernetes_own_names() -> None:
    given = {"pod_defaults": {"tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 5}]}}
    (toleration,) = msgspec.convert(given, Settings).pod_defaults.tolerations
    assert msgspec.to_builtins(toleration) == {"key": "k", "operator": "Exists", "tolerationSeconds": 5}
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"pod_defaults": {"tolerations": [{"kye": "k"}]}}, Settings)
