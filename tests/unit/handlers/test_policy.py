"""What a task's pod may ask of the platform, and which setting would allow it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from propeller.compiler._pod_fields import STRUCTS
from propeller.config import PodPolicy
from propeller.errors import Invalid
from propeller.handlers.plugins import PodSettings
from propeller.handlers.plugins.pod import _policy, build_pod
from tests.unit.handlers.build import World, graph, literals, task, template
from tests.unit.handlers.test_pod import spec_of

Json = dict[str, Any]


def pod_of(
    *,
    policy: PodPolicy | None = None,
    spec: Json | None = None,
    container: Json | None = None,
    sidecar: Json | None = None,
    init: Json | None = None,
    annotations: Json | None = None,
    labels: Json | None = None,
    execution: Json | None = None,
    **world: Any,
) -> Json:
    """The pod of a pod task that has these fields besides what each has."""
    pod_spec: Json = {
        "containers": [
            {"name": "main", "image": "image", **(container or {})},
            {"name": "sidecar", "image": "image", **(sidecar or {})},
        ],
        **(spec or {}),
    }
    if init is not None:
        pod_spec["initContainers"] = [{"name": "init", "image": "image", **init}]
    k8s_pod = {"podSpec": pod_spec, "metadata": {"labels": labels or {}, "annotations": annotations or {}}}
    of = template(k8sPod=k8s_pod, config={"primary_container_name": "main"})
    settings = PodSettings(raw_output_prefix="s3://raw", policy=policy or PodPolicy())
    return build_pod(
        World(graph(task("n0")), {"t": of}, spec=spec_of(**(execution or {})), **world).node("n0"),
        0,
        literals(),
        settings,
    )


def volume(**source: Any) -> Json:
    return {"spec": {"volumes": [{"name": "fine", "emptyDir": {}}, {"name": "v", **source}]}}


def security(**fields: Any) -> Json:
    return {"container": {"securityContext": fields}}


REFUSED: list[tuple[Json, str, Json]] = [
    (security(privileged=True), "spec.containers[0].securityContext.privileged", {"privileged": True}),
    (
        {"sidecar": {"securityContext": {"privileged": True}}},
        "spec.containers[1].securityContext.privileged",
        {"privileged": True},
    ),
    (
        {"init": {"securityContext": {"privileged": True}}},
        "spec.initContainers[0].securityContext.privileged",
        {"privileged": True},
    ),
    (
        {"spec": {"securityContext": {"windowsOptions": {"hostProcess": True}}}},
        "spec.securityContext.windowsOptions.hostProcess",
        {"privileged": True},
    ),
    *[
        ({"spec": {field: True}}, f"spec.{field}", {"host_namespaces": True})
        for field in ("hostNetwork", "hostPID", "hostIPC")
    ],
    (
        {"container": {"ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]}},
        "spec.containers[0].ports[1].hostPort",
        {"host_namespaces": True},
    ),
    (
        {"sidecar": {"readinessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}}},
        "spec.containers[1].readinessProbe.httpGet.host",
        {"host_namespaces": True},
    ),
    (
        {"container": {"lifecycle": {"preStop": {"tcpSocket": {"host": "db", "port": 80}}}}},
        "spec.containers[0].lifecycle.preStop.tcpSocket.host",
        {"host_namespaces": True},
    ),
    (volume(hostPath={"path": "/var/lib/kubelet"}), "spec.volumes[1].hostPath.path", {"host_paths": ("/var/lib",)}),
    (volume(nfs={"server": "s", "path": "/"}), "spec.volumes[1].nfs", {"volumes": ("emptyDir", "nfs")}),
    (volume(csi={"driver": "d"}), "spec.volumes[1].csi", {"volumes": ("emptyDir", "csi")}),
    (volume(unheardOf={}), "spec.volumes[1].unheardOf", {"volumes": ("emptyDir", "unheardOf")}),
    (
        security(capabilities={"add": ["CHOWN", "SYS_ADMIN"]}),
        "spec.containers[0].securityContext.capabilities.add[1]",
        {"capabilities": ("CHOWN", "SYS_ADMIN")},
    ),
    (
        security(capabilities={"add": ["ALL"]}),
        "spec.containers[0].securityContext.capabilities.add[0]",
        {"capabilities": ("ALL",)},
    ),
    (
        {"spec": {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}},
        "spec.securityContext.sysctls[0].name",
        {"sysctls": ("kernel.msgmax",)},
    ),
    (
        {"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}},
        "spec.securityContext.seccompProfile.type",
        {"unconfined": True},
    ),
    (
        security(appArmorProfile={"type": "Unconfined"}),
        "spec.containers[0].securityContext.appArmorProfile.type",
        {"unconfined": True},
    ),
    (security(procMount="Unmasked"), "spec.containers[0].securityContext.procMount", {"unconfined": True}),
    (
        {"annotations": {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}},
        "metadata.annotations[container.apparmor.security.beta.kubernetes.io/main]",
        {"unconfined": True},
    ),
    (
        security(seLinuxOptions={"type": "spc_t"}),
        "spec.containers[0].securityContext.seLinuxOptions.type",
        {"selinux_options": True},
    ),
    (
        security(seLinuxOptions={"user": "root_u"}),
        "spec.containers[0].securityContext.seLinuxOptions.user",
        {"selinux_options": True},
    ),
    ({"spec": {"serviceAccountName": "admin"}}, "spec.serviceAccountName", {"service_accounts": ("adm*",)}),
    ({"spec": {"serviceAccount": "admin"}}, "spec.serviceAccount", {"service_accounts": ("admin",)}),
    (
        {"spec": {"serviceAccountName": "default"}, "execution": {"serviceAccountName": "mine"}},
        "spec.serviceAccountName",
        {"service_accounts": ("default",)},
    ),
    ({"spec": {"nodeName": "machine"}}, "spec.nodeName", {"node_name": True}),
    (
        {"spec": {"tolerations": [{"key": "gpu"}, {"key": "node-role.kubernetes.io/control-plane"}]}},
        "spec.tolerations[1]",
        {"control_plane": True},
    ),
    ({"spec": {"tolerations": [{"operator": "Exists"}]}}, "spec.tolerations[0]", {"control_plane": True}),
    (
        {"spec": {"priorityClassName": "system-node-critical"}},
        "spec.priorityClassName",
        {"priority_classes": ("system-node-critical",)},
    ),
    (
        {"spec": {"ephemeralContainers": [{"name": "e"}]}},
        "spec.ephemeralContainers",
        {"fields": ("ephemeralContainers",)},
    ),
    ({"spec": {"fieldOfTomorrow": 1}}, "spec.fieldOfTomorrow", {"fields": ("fieldOfTomorrow",)}),
    ({"spec": {"hostnetwork": True}}, "spec.hostnetwork", {"fields": ("hostnetwork",)}),
    ({"container": {"tomorrow": 1}}, "spec.containers[0].tomorrow", {"fields": ("tomorrow",)}),
    (security(tomorrow=1), "spec.containers[0].securityContext.tomorrow", {"fields": ("tomorrow",)}),
]


@pytest.mark.parametrize(("asked", "path", "allowed"), REFUSED, ids=[path for _, path, _ in REFUSED])
def test_what_reaches_beyond_the_pod_is_refused_by_name_until_its_setting_allows_it(
    asked: Json, path: str, allowed: Json
) -> None:
    (setting,) = allowed
    with pytest.raises(Invalid, match=rf"asks for {re.escape(path)}: .*the setting pods\.{setting} ") as caught:
        pod_of(**asked)
    assert len(str(caught.value)) < 400
    pod_of(policy=PodPolicy(**allowed), **asked)


NARROWED: list[tuple[Json, str, Json]] = [
    (volume(secret={"secretName": "other"}), "spec.volumes[1].secret.secretName", {"secrets": ("team-*",)}),
    (
        volume(projected={"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "other"}}]}),
        "spec.volumes[1].projected.sources[1].secret.name",
        {"secrets": ("team-*",)},
    ),
    (
        {"container": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}]}},
        "spec.containers[0].env[0].valueFrom.secretKeyRef.name",
        {"secrets": ("team-*",)},
    ),
    (
        {"init": {"envFrom": [{"secretRef": {"name": "other"}}]}},
        "spec.initContainers[0].envFrom[0].secretRef.name",
        {"secrets": ()},
    ),
    ({"spec": {"imagePullSecrets": [{"name": "other"}]}}, "spec.imagePullSecrets[0].name", {"secrets": ()}),
    ({"spec": {"runtimeClassName": "runc"}}, "spec.runtimeClassName", {"runtime_classes": ("nvidia",)}),
    ({"spec": {"schedulerName": "mine"}}, "spec.schedulerName", {"schedulers": ("volcano",)}),
    ({"spec": {"priorityClassName": "high"}}, "spec.priorityClassName", {"priority_classes": ("low",)}),
]


@pytest.mark.parametrize(("asked", "path", "narrowed"), NARROWED, ids=[path for _, path, _ in NARROWED])
def test_what_is_allowed_as_a_rule_an_operator_may_narrow(asked: Json, path: str, narrowed: Json) -> None:
    pod_of(**asked)
    with pytest.raises(Invalid, match=re.escape(path)):
        pod_of(policy=PodPolicy(**narrowed), **asked)


def test_what_tasks_usually_ask_for_is_allowed() -> None:
    pod = pod_of(
        spec={
            "volumes": [
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
                {"name": "config", "configMap": {"name": "c"}},
                {"name": "secret", "secret": {"secretName": "s"}},
                {"name": "data", "persistentVolumeClaim": {"claimName": "p"}},
                {
                    "name": "token",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]},
                },
            ],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "nodeSelector": {"accelerator": "a100"},
            "affinity": {"nodeAffinity": {}},
            "runtimeClassName": "nvidia",
            "schedulerName": "volcano",
            "priorityClassName": "batch",
            "imagePullSecrets": [{"name": "registry"}],
            "automountServiceAccountToken": False,
            "shareProcessNamespace": True,
            "serviceAccountName": "mine",
            "securityContext": {"runAsUser": 0, "fsGroup": 100, "seccompProfile": {"type": "RuntimeDefault"}},
        },
        container={
            "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "envFrom": [{"secretRef": {"name": "s"}}],
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            "securityContext": {"capabilities": {"add": ["CHOWN"], "drop": ["ALL"]}, "allowPrivilegeEscalation": True},
            "ports": [{"containerPort": 8080}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
        },
        execution={"serviceAccountName": "mine"},
    )
    assert pod["spec"]["serviceAccountName"] == "mine"


def test_without_an_account_of_the_execution_the_namespaces_default_may_be_named() -> None:
    assert pod_of(spec={"serviceAccountName": "default"})["spec"]["serviceAccountName"] == "default"


@pytest.mark.parametrize(
    ("path", "is_allowed"),
    [("/data", True), ("/data/", True), ("/data/x", True), ("/database", False), ("/data/../etc", False), ("/", False)],
)
def test_a_host_path_is_allowed_below_the_directories_that_are_listed(path: str, is_allowed: bool) -> None:
    policy = PodPolicy(host_paths=("/data",))
    if is_allowed:
        pod_of(policy=policy, **volume(hostPath={"path": path}))
    else:
        with pytest.raises(Invalid, match=r"pods\.host_paths"):
            pod_of(policy=policy, **volume(hostPath={"path": path}))


def test_kubernetes_own_priorities_are_not_in_a_pattern_for_all() -> None:
    with pytest.raises(Invalid, match="system-cluster-critical"):
        pod_of(policy=PodPolicy(priority_classes=("*", "s*")), spec={"priorityClassName": "system-cluster-critical"})


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": {}},
        {"volumes": ["v"]},
        {"volumes": [{"name": "v", "hostPath": "/"}]},
        {"tolerations": "all"},
        {"securityContext": []},
        {"hostNetwork": "yes"},
        {"containers": [None]},
        {"containers": [{"image": "nameless"}]},
    ],
)
def test_a_pod_that_cannot_be_read_is_refused_and_the_field_named(spec: Json) -> None:
    (field,) = spec
    with pytest.raises(Invalid, match=field):
        pod_of(spec=spec)


@pytest.mark.parametrize("field", ["volumes", "tolerations", "securityContext", "initContainers", "imagePullSecrets"])
def test_null_is_absence(field: str) -> None:
    pod_of(spec={field: None})


def test_what_propeller_reads_back_from_pods_no_task_and_no_resource_may_write() -> None:
    forged = {"propeller/node": "x", "propeller/path": "x", "propeller/tomorrow": "x", "primary_container_name": "x"}
    labels = {"execution-id": "x", "execution-identity": "x", "node-id": "x", "interruptible": "x", "propeller/l": "x"}
    pod = pod_of(annotations=forged, labels=labels | {"team": "a"})["metadata"]
    assert (pod["annotations"]["propeller/node"], pod["annotations"]["primary_container_name"]) == ("n0", "main")
    assert not {"propeller/path", "propeller/tomorrow"} & pod["annotations"].keys()
    assert pod["labels"] == {
        "execution-id": "e",
        "node-id": "n0",
        "task-name": "mod-task",
        "interruptible": "false",
        "team": "a",
    }


def test_a_resources_annotations_are_not_taken_for_propellers_own_either() -> None:
    world = World(
        graph(task("n0")),
        {"t": template(container={"image": "image"}, type="raw-container")},
        annotations={"propeller/path": "x", "primary_container_name": "x", "a": "b"},
    )
    found = build_pod(world.node("n0"), 0, literals(), PodSettings(raw_output_prefix="s3://raw"))["metadata"][
        "annotations"
    ]
    assert found["a"] == "b"
    assert not {"propeller/path", "primary_container_name"} & found.keys()


def test_every_field_that_the_compiler_knows_is_known_to_the_policy() -> None:
    assert STRUCTS["PodSpec"].keys() - _policy._SPEC == {"ephemeralContainers"}
    assert STRUCTS["Container"].keys() <= _policy._CONTAINER
    assert (STRUCTS["SecurityContext"].keys() | STRUCTS["PodSecurityContext"].keys()) <= _policy._SECURITY


def test_every_switch_of_the_policy_has_a_test() -> None:
    tested = {setting for *_, settings in (*REFUSED, *NARROWED) for setting in settings}
    tested.add("trusted_templates")  # in test_pod_templates.py
    assert tested == {field.name for field in msgspec.structs.fields(PodPolicy)}
