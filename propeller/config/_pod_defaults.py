"""What the platform gives to tasks' pods."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from propeller.errors import Invalid
from propeller.quantity import parse


class Toleration(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """A toleration, with Kubernetes' names."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class NodeRequirement(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """A requirement on a machine's labels (Kubernetes' NodeSelectorRequirement)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Amounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Quantities of resources, as Kubernetes writes them; "" for none."""

    cpu: str = ""
    memory: str = ""
    ephemeral_storage: str = ""
    gpu: str = ""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            if text := getattr(self, field):
                try:
                    parse(text)
                except Invalid as error:
                    raise ValueError(f"{field}: {error}") from None


class ResourceRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Resources of the tasks of a project and domain. A field that is empty matches all."""

    project: str = ""
    domain: str = ""
    requests: Amounts = Amounts()
    """For containers that request none."""
    limits: Amounts = Amounts()
    """Requests and limits beyond are cut to these."""


SecretsBy = Literal["propeller", "webhook", "none"]
"""How tasks get the secrets that they request."""


class PodDefaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the platform gives to tasks' pods: FlytePropeller's section `plugins.k8s` (docs/migration.md has its names).
    A task's own values win, unless stated otherwise. The policy for pods (section `pods`) does not apply to these.
    """

    template: str = ""
    """Name of the PodTemplate that is the base of pods whose task names none; "" for no base. It is looked up in the
    execution's namespace, then in `template_namespace`. Not an error if neither has it."""

    template_namespace: str = "flyte"
    """Namespace of PodTemplates for all namespaces: propeller's own by default, where the platform's operators write.
    """

    labels: dict[str, str] = {}
    """Labels of every pod."""

    annotations: dict[str, str] = msgspec.field(
        default_factory=lambda: {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    )
    """Annotations of every pod. FlytePropeller's default: a task that is moved to another machine starts over."""

    environment: dict[str, str] = {}
    """Variables of every container. They win over the task's own and the execution's, as in FlytePropeller."""

    environment_from_secrets: tuple[str, ...] = ()
    """Secrets whose entries become variables of every container, in namespaces that have them."""

    environment_from_config_maps: tuple[str, ...] = ()
    """The same for ConfigMaps."""

    image_pull_policy: str = ""
    """Of the container of tasks without a pod template. "" leaves it to Kubernetes: `Always` for the tag `latest`."""

    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of registries that every pod may pull with, besides its own and its service account's."""

    scheduler: str = ""
    """Name of the scheduler; "" for Kubernetes' default."""

    node_selector: dict[str, str] = {}
    """Labels of the machines that pods may run on."""

    tolerations: tuple[Toleration, ...] = ()
    """In addition to a task's own."""

    affinity: dict[str, Any] = {}
    """For pods without an affinity of their own."""

    pod_security_context: dict[str, Any] = {}
    """For pods without one of their own."""

    security_context: dict[str, Any] = {}
    """For primary containers without one of their own."""

    dns_config: dict[str, Any] = {}
    """For pods without one of their own."""

    host_network: bool = False
    """Whether all pods have their machine's network."""

    resource_tolerations: dict[str, tuple[Toleration, ...]] = {}
    """By the name of a resource: added to pods that request it, such as `nvidia.com/gpu`. Machines with expensive
    devices are usually tainted, so that nothing else fills them."""

    extended_resource_tolerations: tuple[str, ...] = ()
    """Names of resources: pods that request one tolerate a `NoSchedule` taint with its name as key."""

    interruptible_tolerations: tuple[Toleration, ...] = ()
    """Added to interruptible pods."""

    interruptible_node_selector: dict[str, str] = {}
    """Added to interruptible pods; wins over a task's own."""

    interruptible_requirements: tuple[NodeRequirement, ...] = ()
    """Required of the machines of interruptible pods."""

    on_demand_requirements: tuple[NodeRequirement, ...] = ()
    """Required of the machines of all other pods: of a task's last attempt, too (`attempts.interruptible_failures`)."""

    gpu_resource: str = "nvidia.com/gpu"
    """The resource that flytekit's `gpu` stands for."""

    gpu_device_label: str = "k8s.amazonaws.com/accelerator"
    """Label, and key of the taint, by which machines say which accelerator they have. The default is FlytePropeller's;
    GKE has `cloud.google.com/gke-accelerator`."""

    gpu_partition_label: str = "k8s.amazonaws.com/gpu-partition-size"
    """The same for the size of its partitions (`cloud.google.com/gke-gpu-partition-size`)."""

    gpu_unpartitioned_requirements: tuple[NodeRequirement, ...] = ()
    """Required of machines if a task wants a whole accelerator; by default, that they have no partition label."""

    gpu_unpartitioned_tolerations: tuple[Toleration, ...] = ()
    """Added if a task wants a whole accelerator."""

    gpu_devices: dict[str, str] = {}
    """Values of the device label by flytekit's name of the accelerator (`nvidia-tesla-a100: a100`). Names that are not
    listed are the label's value themselves."""

    task_resources: tuple[ResourceRule, ...] = ()
    """Defaults and limits of resources by project and domain, for executions that bring none (FlyteAdmin writes them
    into each). Of several rules that match, the later one wins, resource by resource."""

    secrets: SecretsBy = "propeller"
    """How tasks get the secrets that they request: `propeller` adds the Kubernetes Secret to the pod as Flyte's webhook
    does for Kubernetes; `webhook` adds only the label and annotations by which that webhook acts, for those who run it
    with another secret manager; `none` adds nothing."""
