"""PodTemplates as an API server keeps them, and pods that are made of tasks: the server takes each as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from propeller.config import (
    Amounts,
    InformerOptions,
    NodeRequirement,
    PodDefaults,
    PodPolicy,
    ResourceRule,
    Toleration,
)
from propeller.controller._pod_templates import ClusterPodTemplates
from propeller.errors import Malformed
from propeller.handlers.plugins import PodSettings, PodTemplate
from propeller.handlers.plugins.pod import build_pod
from propeller.kube import POD_TEMPLATES, PODS, Raw
from propeller.testing import ServerUnderTest, eventually
from tests.contract.objects import DEADLINE
from tests.unit.handlers.build import World, graph, literals, task
from tests.unit.handlers.test_pod import container_task, pod_task

Json = dict[str, Any]


def template(name: str = "t", *, metadata: Json | None = None, **spec: Any) -> Raw:
    containers = spec.pop("containers", [{"name": "default", "image": "noop"}])
    of_pods = {"metadata": metadata or {}, "spec": {"containers": containers, **spec}}
    return {"metadata": {"name": name}, "template": of_pods}


async def test_a_pod_template_has_the_defaults_of_pods(server: ServerUnderTest) -> None:
    made = await server.client.create(POD_TEMPLATES, template(metadata={"labels": {"a": "b"}}), server.namespace)
    assert made["metadata"]["generation"] == 1
    assert made["template"] == {
        "metadata": {"labels": {"a": "b"}},
        "spec": {
            "containers": [
                {
                    "name": "default",
                    "image": "noop",
                    "imagePullPolicy": "Always",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }
            ],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
    }


async def test_a_change_of_a_pod_template_is_another_generation(server: ServerUnderTest) -> None:
    await server.client.create(POD_TEMPLATES, template(), server.namespace)
    for labels, generation in (({"l": "1"}, 1), ({"l": "1"}, 1)):
        body: Json = {"metadata": {"labels": labels}}
        made = await server.client.patch(POD_TEMPLATES, "t", server.namespace, body=body)
        assert made["metadata"]["generation"] == generation
    body = {"template": {"metadata": {"labels": {"a": "b"}}}}
    made = await server.client.patch(POD_TEMPLATES, "t", server.namespace, body=body)
    assert made["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("spec", "field"),
    [({"containers": []}, "template.spec.containers"), ({"restartPolicy": "Sometimes"}, "template.spec.restartPolicy")],
)
async def test_a_pod_template_that_makes_no_pods_is_refused(server: ServerUnderTest, spec: Json, field: str) -> None:
    with pytest.raises(Malformed, match=field):
        await server.client.create(POD_TEMPLATES, template(**spec), server.namespace)


async def test_templates_are_read_when_they_are_first_wanted_and_followed_from_then_on(server: ServerUnderTest) -> None:
    await server.client.create(POD_TEMPLATES, template(nodeSelector={"pool": "a"}), server.namespace)
    found = ClusterPodTemplates(
        server.client, InformerOptions(), namespace=server.namespace, shared=server.namespace, deadline=DEADLINE
    )
    async with found.following():
        await asyncio.sleep(0)
        assert found.find(server.namespace, "t") is None
        await found.ready()
        kept = found.find(server.namespace, "t")
        assert kept is not None
        assert kept.spec["nodeSelector"] == {"pool": "a"}
        body = {"template": {"metadata": {"labels": {"l": "new"}}}}
        await server.client.patch(POD_TEMPLATES, "t", server.namespace, body=body)
        await eventually(lambda: _has_label(found, server.namespace))
        changed = found.find(server.namespace, "t")
        assert changed is not None
        assert changed.version != kept.version
        await server.client.delete(POD_TEMPLATES, "t", server.namespace)
        await eventually(lambda: _is_gone(found, server.namespace))


async def _has_label(found: ClusterPodTemplates, namespace: str) -> bool:
    kept = found.find(namespace, "t")
    return kept is not None and kept.labels == {"l": "new"}


async def _is_gone(found: ClusterPodTemplates, namespace: str) -> bool:
    return found.find(namespace, "t") is None


SPOT = Toleration(key="spot", operator="Equal", value="true", effect="NoSchedule")
FULL = PodDefaults(
    template="base",
    labels={"team": "x"},
    environment={"A": "b"},
    environment_from_secrets=("s",),
    environment_from_config_maps=("c",),
    image_pull_policy="IfNotPresent",
    image_pull_secrets=("registry",),
    scheduler="volcano",
    node_selector={"pool": "flyte"},
    tolerations=(Toleration(key="flyte", operator="Exists", effect="NoExecute", toleration_seconds=60),),
    affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    pod_security_context={"runAsUser": 1000},
    security_context={"readOnlyRootFilesystem": True},
    dns_config={"searches": ["example.org"]},
    resource_tolerations={"nvidia.com/gpu": (Toleration(key="gpu", operator="Exists"),)},
    extended_resource_tolerations=("nvidia.com/gpu",),
    interruptible_tolerations=(SPOT,),
    interruptible_node_selector={"lifecycle": "spot"},
    interruptible_requirements=(NodeRequirement(key="spot", operator="In", values=("true",)),),
    on_demand_requirements=(NodeRequirement(key="spot", operator="DoesNotExist"),),
    gpu_unpartitioned_tolerations=(Toleration(key="whole", operator="Exists"),),
    task_resources=(ResourceRule(requests=Amounts(cpu="1", memory="1Gi"), limits=Amounts(cpu="4", gpu="2")),),
)
SECRETS = {
    "secrets": [
        {"group": "group", "key": "Key", "mountRequirement": "ENV_VAR", "envVar": "TOKEN"},
        {"group": "group", "key": "other", "mountRequirement": "FILE", "groupVersion": "v1"},
        {"group": "g" * 200, "key": "other", "mountRequirement": "ANY", "envVar": "WHERE"},
    ]
}
SHARED_MEMORY = {"mountPath": "/dev/shm", "mountName": "flyte-shared-memory"}
GPU = {"limits": [{"name": "GPU", "value": "1"}]}


def accelerated(**accelerator: Any) -> Json:
    return container_task(resources=GPU) | {"extendedResources": {"gpuAccelerator": {"device": "a100", **accelerator}}}


def with_native_sidecar() -> Json:
    of = pod_task()
    of["k8sPod"]["podSpec"]["initContainers"] = [
        {"name": "setup", "image": "i"},
        {"name": "proxy", "image": "i", "restartPolicy": "Always"},
    ]
    return of


TASKS: dict[str, tuple[Json, Json]] = {
    "container": (container_task(), {}),
    "pod": (pod_task(), {}),
    "interruptible": (container_task(), {"interruptible": True}),
    "native sidecar": (with_native_sidecar(), {"resources": {"requests": {"cpu": "2"}}}),
    "accelerator": (accelerated(), {}),
    "partition": (accelerated(partitionSize="1g.5gb"), {}),
    "unpartitioned": (accelerated(unpartitioned=True), {}),
    "shared memory": (container_task() | {"extendedResources": {"sharedMemory": SHARED_MEMORY}}, {}),
    "sized shared memory": (
        container_task(),
        {"extendedResources": {"sharedMemory": SHARED_MEMORY | {"sizeLimit": "1Gi"}}},
    ),
    "secrets": (pod_task() | {"securityContext": SECRETS}, {}),
    "named template": (pod_task() | {"metadata": {"podTemplateName": "mine"}}, {}),
    "node's pod": (
        container_task(),
        {
            "podTemplate": {
                "pod_spec": {"containers": [{"name": "other", "image": "i"}]},
                "primary_container_name": "other",
            },
            "containerImage": "image:2",
        },
    ),
}
MINE = {
    "volumes": [{"name": "cache", "emptyDir": {}}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}]
            }
        }
    },
    "containers": [
        {
            "name": "default",
            "image": "noop",
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
            "resources": {"requests": {"cpu": "500m"}},
        },
        {"name": "primary", "image": "noop", "ports": [{"containerPort": 8080}], "env": [{"name": "P", "value": "p"}]},
    ],
}


class Kept:
    """PodTemplates as the API server has given them back."""

    def __init__(self, *made: Raw) -> None:
        self._found = {one["metadata"]["name"]: one for one in made}

    async def ready(self) -> None:
        """They are."""

    def find(self, namespace: str, name: str, /) -> PodTemplate | None:
        made = self._found.get(name)
        if made is None:
            return None
        return PodTemplate(namespace=namespace, version=name, spec=made["template"]["spec"])


@pytest.mark.parametrize("defaults", [PodDefaults(), FULL], ids=["no settings", "all settings"])
@pytest.mark.parametrize("name", TASKS)
async def test_the_pod_of_a_task_is_one_that_the_server_takes(
    server: ServerUnderTest, name: str, defaults: PodDefaults
) -> None:
    of, node = TASKS[name]
    made = [
        await server.client.create(POD_TEMPLATES, template(name, **spec), server.namespace)
        for name, spec in (("base", {"nodeSelector": {"disk": "ssd"}}), ("mine", MINE))
    ]
    settings = PodSettings(raw_output_prefix="s3://raw", defaults=defaults, policy=PodPolicy(), templates=Kept(*made))
    pod = build_pod(World(graph(task("n0", **node)), {"t": of}).node("n0"), 0, literals(), settings)
    pod["metadata"]["namespace"] = server.namespace
    created = await server.client.create(PODS.typed(dict[str, Any]), pod, server.namespace)
    for container in (*created["spec"]["containers"], *created["spec"].get("initContainers", ())):
        assert container["image"] != "noop"
    assert created["spec"]["restartPolicy"] == "Never"
