"""Check a pod, as its author wrote it, against the policy of what pods may request.

Guarantees
    Pure. A refusal names the field's path, its value, and the setting of `pods` that would allow it. Unknown fields are
    refused, so that a field of a newer Kubernetes is reviewed before it is used.
Caveats
    Names only: what a secret, a claim, a class or an account of the namespace grants is up to the cluster.
Source
    The Baseline profile of Kubernetes' Pod Security Standards; docs/security.md lists the differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from propeller.config import PodPolicy
from propeller.errors import Invalid

_SPEC = frozenset(
    {
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "containers",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "hostAliases",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostUsers",
        "hostname",
        "hostnameOverride",
        "imagePullSecrets",
        "initContainers",
        "nodeName",
        "nodeSelector",
        "os",
        "overhead",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "readinessGates",
        "resourceClaims",
        "resources",
        "restartPolicy",
        "runtimeClassName",
        "schedulerName",
        "schedulingGates",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "subdomain",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
    }
)
_CONTAINER = frozenset(
    {
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    }
)
_SECURITY = frozenset(
    {
        "allowPrivilegeEscalation",
        "appArmorProfile",
        "capabilities",
        "fsGroup",
        "fsGroupChangePolicy",
        "privileged",
        "procMount",
        "readOnlyRootFilesystem",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "seLinuxChangePolicy",
        "seLinuxOptions",
        "seccompProfile",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "sysctls",
        "windowsOptions",
    }
)
_PLAIN_SPEC = frozenset({"restartPolicy", "containers", "initContainers", "serviceAccountName"})
_PLAIN_CONTAINER = frozenset(
    {
        "args",
        "command",
        "image",
        "imagePullPolicy",
        "name",
        "resources",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "volumeMounts",
        "workingDir",
    }
)
"""Fields that need no look."""

_PLAIN_IF_ANY_SECRET = _PLAIN_CONTAINER | {"env", "envFrom"}

_SELINUX_TYPES = frozenset({None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_CONTROL_PLANE = frozenset({"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"})
_PROFILE_ANNOTATIONS = (
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
)

Json = Mapping[str, Any]


def check_pod(pod: Json, account: str, policy: PodPolicy) -> None:
    """Raise Invalid if the pod requests something that the policy forbids. `account` is the execution's service
    account, "" if none.
    """
    spec = pod["spec"]
    if not _PLAIN_SPEC.issuperset(spec):
        _check_spec(spec, policy)
    for field in ("serviceAccountName", "serviceAccount"):
        if (
            (name := spec.get(field))
            and name != (account or "default")
            and not _is_listed(name, policy.service_accounts)
        ):
            _refuse(f"spec.{field}", name, "pods.service_accounts")
    plain = _PLAIN_IF_ANY_SECRET if "*" in policy.secrets else _PLAIN_CONTAINER
    for field in ("initContainers", "containers"):
        if not (containers := spec.get(field)) or all(map(plain.issuperset, containers)):
            continue
        for number, container in enumerate(containers):
            _check_container(container, f"spec.{field}[{number}]", policy)
    check_annotations(pod["metadata"]["annotations"], policy)


def check_annotations(annotations: Json, policy: PodPolicy) -> None:
    """Raise Invalid if an annotation asks for no profile."""
    if "unconfined" in annotations.values() and not policy.unconfined:
        for name, value in annotations.items():
            if name.startswith(_PROFILE_ANNOTATIONS) and value == "unconfined":
                _refuse(f"metadata.annotations[{name}]", value, "pods.unconfined")


def _check_spec(spec: Json, policy: PodPolicy) -> None:
    _check_fields(spec, _SPEC, "spec", policy)
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field) and not policy.host_namespaces:
            _refuse(f"spec.{field}", spec[field], "pods.host_namespaces")
    if spec.get("nodeName") and not policy.node_name:
        _refuse("spec.nodeName", spec["nodeName"], "pods.node_name")
    for field, patterns, setting in (
        ("runtimeClassName", policy.runtime_classes, "pods.runtime_classes"),
        ("schedulerName", policy.schedulers, "pods.schedulers"),
    ):
        if (name := spec.get(field)) and not _is_listed(name, patterns):
            _refuse(f"spec.{field}", name, setting)
    if (name := spec.get("priorityClassName")) and not _is_priority(name, policy.priority_classes):
        _refuse("spec.priorityClassName", name, "pods.priority_classes")
    for path, toleration in _objects(spec.get("tolerations"), "spec.tolerations"):
        key = toleration.get("key")
        if not policy.control_plane and (key in _CONTROL_PLANE or not key):
            _refuse(path, toleration, "pods.control_plane")
    for path, volume in _objects(spec.get("volumes"), "spec.volumes"):
        _check_volume(volume, path, policy)
    for path, reference in _objects(spec.get("imagePullSecrets"), "spec.imagePullSecrets"):
        _check_secret(reference.get("name"), f"{path}.name", policy)
    _check_security(spec.get("securityContext"), "spec.securityContext", policy)


def _check_volume(volume: Json, path: str, policy: PodPolicy) -> None:
    for source, value in volume.items():
        if source == "name" or value is None:
            continue
        if source == "hostPath":
            chosen = _object(value, f"{path}.hostPath").get("path")
            if not _is_below(chosen, policy.host_paths):
                _refuse(f"{path}.hostPath.path", chosen, "pods.host_paths")
        elif source not in policy.volumes:
            _refuse(f"{path}.{source}", value, "pods.volumes")
        elif source == "secret":
            _check_secret(_object(value, path).get("secretName"), f"{path}.secret.secretName", policy)
        elif source == "projected":
            for inner, part in _objects(_object(value, path).get("sources"), f"{path}.projected.sources"):
                if part.get("secret"):
                    _check_secret(_object(part["secret"], inner).get("name"), f"{inner}.secret.name", policy)


def _check_container(container: Json, path: str, policy: PodPolicy) -> None:
    if "*" not in policy.secrets:
        _check_environment(container, path, policy)
    for field in container.keys() - _PLAIN_CONTAINER:
        value = container[field]
        match field:
            case "env" | "envFrom":
                continue
            case "securityContext":
                _check_security(value, f"{path}.securityContext", policy)
            case "ports":
                for inner, port in _objects(value, f"{path}.ports"):
                    if port.get("hostPort") and not policy.host_namespaces:
                        _refuse(f"{inner}.hostPort", port["hostPort"], "pods.host_namespaces")
            case "livenessProbe" | "readinessProbe" | "startupProbe":
                _check_address(value, f"{path}.{field}", policy)
            case "lifecycle":
                for hook in ("postStart", "preStop"):
                    _check_address(_object(value, path).get(hook), f"{path}.lifecycle.{hook}", policy)
            case _ if field not in _CONTAINER:
                _check_fields(container, _CONTAINER, path, policy)


def _check_environment(container: Json, path: str, policy: PodPolicy) -> None:
    for inner, variable in _objects(container.get("env"), f"{path}.env"):
        reference = _object(variable.get("valueFrom"), inner).get("secretKeyRef")
        if reference:
            _check_secret(_object(reference, inner).get("name"), f"{inner}.valueFrom.secretKeyRef.name", policy)
    for inner, source in _objects(container.get("envFrom"), f"{path}.envFrom"):
        if source.get("secretRef"):
            _check_secret(_object(source["secretRef"], inner).get("name"), f"{inner}.secretRef.name", policy)


def _check_address(action: Any, path: str, policy: PodPolicy) -> None:
    """Check the host of a probe or hook: the kubelet itself connects to it."""
    for kind in ("httpGet", "tcpSocket"):
        host = _object(_object(action, path).get(kind), path).get("host")
        if host and not policy.host_namespaces:
            _refuse(f"{path}.{kind}.host", host, "pods.host_namespaces")


def _check_security(value: Any, path: str, policy: PodPolicy) -> None:
    """Check the security context of a pod or a container."""
    context = _object(value, path)
    if not context:
        return
    _check_fields(context, _SECURITY, path, policy)
    windows = _object(context.get("windowsOptions"), f"{path}.windowsOptions")
    if context.get("privileged") and not policy.privileged:
        _refuse(f"{path}.privileged", context["privileged"], "pods.privileged")
    if windows.get("hostProcess") and not policy.privileged:
        _refuse(f"{path}.windowsOptions.hostProcess", windows["hostProcess"], "pods.privileged")
    added = _object(context.get("capabilities"), f"{path}.capabilities").get("add") or ()
    for number, capability in enumerate(_list(added, f"{path}.capabilities.add")):
        if capability not in policy.capabilities:
            _refuse(f"{path}.capabilities.add[{number}]", capability, "pods.capabilities")
    for inner, sysctl in _objects(context.get("sysctls"), f"{path}.sysctls"):
        if sysctl.get("name") not in policy.sysctls:
            _refuse(f"{inner}.name", sysctl.get("name"), "pods.sysctls")
    if not policy.unconfined:
        for profile in ("seccompProfile", "appArmorProfile"):
            if (kind := _object(context.get(profile), f"{path}.{profile}").get("type")) == "Unconfined":
                _refuse(f"{path}.{profile}.type", kind, "pods.unconfined")
        if context.get("procMount") not in {None, "", "Default"}:
            _refuse(f"{path}.procMount", context["procMount"], "pods.unconfined")
    if not policy.selinux_options:
        options = _object(context.get("seLinuxOptions"), f"{path}.seLinuxOptions")
        for field in ("user", "role"):
            if options.get(field):
                _refuse(f"{path}.seLinuxOptions.{field}", options[field], "pods.selinux_options")
        if options.get("type") not in _SELINUX_TYPES:
            _refuse(f"{path}.seLinuxOptions.type", options["type"], "pods.selinux_options")


def _check_fields(value: Json, known: frozenset[str], path: str, policy: PodPolicy) -> None:
    for field in value.keys() - known:
        if value[field] is not None and field not in policy.fields:
            _refuse(f"{path}.{field}", value[field], "pods.fields")


def _check_secret(name: Any, path: str, policy: PodPolicy) -> None:
    if name and not _is_listed(name, policy.secrets):
        _refuse(path, name, "pods.secrets")


def _is_listed(name: Any, patterns: tuple[str, ...]) -> bool:
    return "*" in patterns or any(fnmatchcase(str(name), pattern) for pattern in patterns)


def _is_priority(name: Any, patterns: tuple[str, ...]) -> bool:
    """Whether the class is allowed. Kubernetes' own classes have to be named: they preempt everything else."""
    if str(name).startswith("system-"):
        patterns = tuple(pattern for pattern in patterns if pattern.startswith("system-"))
    return _is_listed(name, patterns)


def _is_below(path: Any, prefixes: tuple[str, ...]) -> bool:
    if not isinstance(path, str) or ".." in path.split("/"):
        return False
    return any(f"{path.rstrip('/')}/".startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)


def _object(value: Any, path: str) -> Json:
    """Return an object, or an empty one for None. Raises Invalid for anything else: what cannot be read is refused."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid(f"{path} of the task's pod must be an object, and is {str(value)[:100]!r}")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if value is None or value == ():
        return []
    if not isinstance(value, list):
        raise Invalid(f"{path} of the task's pod must be a list, and is {str(value)[:100]!r}")
    return value


def _objects(value: Any, path: str) -> Iterator[tuple[str, Json]]:
    if value:
        for number, item in enumerate(_list(list(value) if isinstance(value, tuple) else value, path)):
            yield f"{path}[{number}]", _object(item, f"{path}[{number}]")


def _refuse(path: str, value: Any, setting: str) -> NoReturn:
    raise Invalid(
        f"the task's pod asks for {path}: {str(value)[:100]!r}, which the policy for pods does not allow; an operator "
        f"may allow it with the setting {setting} (docs/security.md)"
    )
