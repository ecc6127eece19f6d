"""Give a task the secrets that it requests, as Flyte's webhook does for Kubernetes, or mark its pod for that webhook.

Guarantees
    A secret's values are never read here: pods refer to Kubernetes Secrets by name.
    Variables and paths are those of Flyte's webhook (K8sSecretInjector), where flytekit looks: `_FSEC_<GROUP>_<KEY>`,
    or the file `/etc/flyte/secrets/<group>/<key>`. A Secret that is missing does not keep the pod from starting, as
    there.
Differences
    A secret with a group version is also found under `_FSEC_<GROUP>_<VERSION>_<KEY>` or `<group>/<version>/<key>`,
    where flytekit looks if the task names the version.
Source
    flytepropeller/pkg/webhook, flyteplugins/.../utils/secrets of FlytePropeller 1.16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from flyteidl.core import security_pb2, tasks_pb2
from google.protobuf import text_format

from propeller.config import SecretsBy
from propeller.errors import Invalid
from propeller.fnv import fnv1a_32
from propeller.workflow import flytes_base32

Json = dict[str, Any]

_DIRECTORY = "/etc/flyte/secrets"
_PREFIX = "_FSEC_"
_ENV_PREFIX = {"name": "FLYTE_SECRETS_ENV_PREFIX", "value": _PREFIX}
_FILES = (
    {"name": "FLYTE_SECRETS_DEFAULT_DIR", "value": _DIRECTORY},
    {"name": "FLYTE_SECRETS_FILE_PREFIX", "value": ""},
)

_LABEL = "inject-flyte-secrets"
_ANNOTATION = "flyte.secrets/s"
_NAME_CHARACTERS = 63
MAX_SECRETS = 100
"""Of one task. Each costs every container of the pod a variable or a file."""


class Marks(msgspec.Struct, frozen=True):
    """What Flyte's webhook selects and reads pods by."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


def requests_of(task: tasks_pb2.TaskTemplate) -> Sequence[security_pb2.Secret]:
    """Return the secrets that the task requests. Raises Invalid if they are too many."""
    secrets: Sequence[security_pb2.Secret] = task.security_context.secrets
    if len(secrets) > MAX_SECRETS:
        raise Invalid(f"task {task.id.name} requests {len(secrets)} secrets, and may request {MAX_SECRETS} at most")
    return secrets


def add_secrets(spec: Json, secrets: Sequence[security_pb2.Secret], by: SecretsBy) -> tuple[Json, ...]:
    """Mount the secrets that are files into all containers of the pod, and return the variables of all containers: a
    container's own win. Raises Invalid for a secret without group or key.
    """
    if by != "propeller" or not secrets:
        return ()
    variables: dict[str, Json] = {}
    items: dict[str, list[Json]] = {}
    for number, secret in enumerate(secrets):
        if not secret.group or not secret.key:
            missing = "key" if secret.group else "group"
            raise Invalid(
                f"secret_requests[{number}] has no {missing}: a Kubernetes Secret is found by group (its name) and key"
            )
        if secret.mount_requirement == security_pb2.Secret.ENV_VAR:
            _add_variable(variables, secret)
        else:
            _add_file(variables, items.setdefault(secret.group, []), secret)
    if items:
        _mount(spec, items)
    return tuple(variables.values())


def _add_variable(variables: dict[str, Json], secret: security_pb2.Secret) -> None:
    reference = {"secretKeyRef": {"name": secret.group, "key": secret.key, "optional": True}}
    version = f"{secret.group_version}_" if secret.group_version else ""
    names = [f"{_PREFIX}{secret.group}_{part}{secret.key}".upper() for part in dict.fromkeys(("", version))]
    for name in (*names, *filter(None, (secret.env_var,))):
        variables.setdefault(name, {"name": name, "valueFrom": reference})
    variables.setdefault(_ENV_PREFIX["name"], _ENV_PREFIX)


def _add_file(variables: dict[str, Json], items: list[Json], secret: security_pb2.Secret) -> None:
    version = f"{secret.group_version.lower()}/" if secret.group_version else ""
    for part in dict.fromkeys(("", version)):
        item = {"key": secret.key, "path": f"{part}{secret.key.lower()}"}
        if item not in items:
            items.append(item)
    for variable in _FILES:
        variables.setdefault(variable["name"], variable)
    if secret.env_var:
        path = f"{_DIRECTORY}/{secret.group.lower()}/{secret.key.lower()}"
        variables.setdefault(secret.env_var, {"name": secret.env_var, "value": path})


def _mount(spec: Json, items: dict[str, list[Json]]) -> None:
    volumes, mounts = [], []
    for group, paths in items.items():
        name = _volume_name(group)
        volumes.append({"name": name, "secret": {"secretName": group, "items": paths, "optional": True}})
        mounts.append({"name": name, "readOnly": True, "mountPath": f"{_DIRECTORY}/{group.lower()}"})
    spec["volumes"] = [*(spec.get("volumes") or ()), *volumes]
    for field in ("initContainers", "containers"):
        if spec.get(field):
            spec[field] = [
                {**container, "volumeMounts": [*(container.get("volumeMounts") or ()), *mounts]}
                for container in spec[field]
            ]


def _volume_name(group: str) -> str:
    """Return the webhook's name of a group's volume; shortened by a hash if it would be too long for one."""
    name = flytes_base32(f"{group}_".encode())
    return name if len(name) <= _NAME_CHARACTERS else f"{name[:50]}-{fnv1a_32(group.encode()):08x}"


def marks_of_secrets(secrets: Sequence[security_pb2.Secret], by: SecretsBy) -> Marks:
    """Return the label and annotations by which Flyte's webhook injects the secrets; none unless it is to do so."""
    if by != "webhook" or not secrets:
        return Marks()
    described = (text_format.MessageToString(secret).replace("\\'", "'") for secret in secrets)  # as Go writes it
    annotations = {f"{_ANNOTATION}{number}": flytes_base32(text.encode()) for number, text in enumerate(described)}
    return Marks({_LABEL: "true"}, annotations)
