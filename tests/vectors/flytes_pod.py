"""The pod that FlytePropeller 1.16 makes of a node, field by field, from a resource's JSON alone and a default
configuration: written from flytepropeller (nodes, task/k8s) and flyteplugins (flytek8s, ioutils), without our own code.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from tests.vectors.launched import METADATA_PREFIX, RAW_OUTPUT_PREFIX, Recorded

_SUFFIXES: dict[str, int | Fraction] = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGT", start=1)},
    "m": Fraction(1, 1000),
}
_NAMES = {"CPU": "cpu", "MEMORY": "memory", "EPHEMERAL_STORAGE": "ephemeral-storage", "GPU": "nvidia.com/gpu"}
_PLATFORM = {"cpu": "CPU", "memory": "Memory", "ephemeral-storage": "EphemeralStorage", "nvidia.com/gpu": "GPU"}
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

Amounts = dict[str, Fraction]


class Made:
    """One pod that was made, with the resource, the node and the task that it was made of."""

    def __init__(self, of: Recorded, closure: Mapping[str, Any], pod: dict[str, Any]) -> None:
        self.resource = of.resource
        self.pod = pod
        self.name: str = pod["metadata"]["name"]
        (self.container,) = pod["spec"]["containers"]
        self.workflow: str = closure["spec"]["id"]
        label = pod["metadata"]["labels"]
        tasks = {
            key: task for key, task in closure["tasks"].items() if _label(task["id"]["name"]) == label["task-name"]
        }
        nodes = [node for node in _nodes(closure) if node.get("task") in tasks]
        named = [node for node in nodes if _label(node["id"]) == label["node-id"]]
        self.node: dict[str, Any] = (named or nodes)[0]  # an item of a map task is named by its number
        self.task: dict[str, Any] = tasks[self.node["task"]]

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.resource["executionConfig"]
        return found

    @property
    def run_as(self) -> dict[str, Any]:
        return self.resource["securityContext"].get("run_as") or {}

    @property
    def attempt(self) -> str:
        return self.name.rpartition("-")[2]

    @property
    def interruptible(self) -> bool:
        """The node's own word goes before the execution's, and that before the default of all nodes."""
        for said in (self.node.get("interruptible"), self.config["Interruptible"]):
            if said is not None:
                return bool(said)
        return bool((self.resource.get("node-defaults") or {}).get("interruptible"))


def _nodes(closure: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for graph in (closure["spec"], *(closure.get("subWorkflows") or {}).values()):
        for node in (*graph["nodes"].values(), *filter(None, [graph.get("onFailure")])):
            yield (node.get("array") or {}).get("SubNodeSpec") or node


def _label(text: str) -> str:
    return re.sub("[^-a-z0-9]+", "-", text.lower())[:63].strip("-")


def labels(of: Made) -> dict[str, str]:
    """task/k8s/plugin_manager.go and node_exec_context.go."""
    identity = of.run_as.get("execution_identity")
    return {
        **((of.task.get("metadata") or {}).get("metadata") or {}).get("labels", {}),
        **of.resource["metadata"]["labels"],
        "node-id": of.pod["metadata"]["labels"]["node-id"],
        "task-name": _label(of.task["id"]["name"]),
        "interruptible": str(of.interruptible).lower(),
        **({"inject-flyte-secrets": "true"} if _secrets(of) else {}),
        **({"execution-identity": _label(identity)} if identity else {}),
    }


def described(of: Made) -> dict[str, str]:
    """Without ours, which begin with propeller/."""
    raw = of.task["type"] == "raw-container"
    return {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        **((of.task.get("metadata") or {}).get("metadata") or {}).get("annotations", {}),
        **of.resource["metadata"].get("annotations", {}),
        **{f"flyte.secrets/s{number}": _encoded(secret) for number, secret in enumerate(_secrets(of))},
        **({} if raw else {"primary_container_name": of.name}),
    }


def _secrets(of: Made) -> list[dict[str, str]]:
    found: list[dict[str, str]] = (of.task.get("securityContext") or {}).get("secrets") or []
    return found


def _encoded(secret: Mapping[str, str]) -> str:
    """utils/secrets/marshaler.go: the text of the proto message, in base32 with an alphabet of Flyte's own."""
    lines = [f'{field}: "{secret[name]}"' for name, field in _SECRET.items() if secret.get(name)]
    if secret.get("mountRequirement", "ANY") != "ANY":
        lines.append(f"mount_requirement: {secret['mountRequirement']}")
    text = base64.b32encode("".join(f"{line}\n" for line in lines).encode()).decode().rstrip("=").lower()
    return text.translate(str.maketrans("234567", "123456"))


_SECRET = {"group": "group", "groupVersion": "group_version", "key": "key"}


def environment(of: Made) -> dict[str, str]:
    """k8s_resource_adds.go, DecorateEnvVars: of two with one name the later one counts."""
    identity, task = of.resource["executionId"], of.task["id"]
    return {
        **{pair["key"]: pair.get("value", "") for pair in of.task["container"].get("env", ())},
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": of.workflow,
        "FLYTE_INTERNAL_EXECUTION_ID": identity["name"],
        "FLYTE_INTERNAL_EXECUTION_PROJECT": identity["project"],
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": identity["domain"],
        "FLYTE_ATTEMPT_NUMBER": of.attempt,
        "FLYTE_INTERNAL_TASK_PROJECT": task["project"],
        "FLYTE_INTERNAL_TASK_DOMAIN": task["domain"],
        "FLYTE_INTERNAL_TASK_NAME": task["name"],
        "FLYTE_INTERNAL_TASK_VERSION": task["version"],
        **(of.config["EnvironmentVariables"] or {}),
    }


def resources(of: Made) -> dict[str, Amounts]:
    """container_helper.go, ApplyResourceOverrides: the node's values over the task's, one for the other where it is
    missing, the execution's defaults for CPU and memory, and nothing above the execution's limits.
    """
    asked = {kind: _asked(of, kind) for kind in ("requests", "limits")}
    found: dict[str, Amounts] = {"requests": {}, "limits": {}}
    for name in dict.fromkeys(("cpu", "memory", *asked["requests"], *asked["limits"])):
        default = _amount(of.config["TaskResources"]["Requests"][_PLATFORM[name]]) if name in {"cpu", "memory"} else 0
        ceiling = _amount(of.config["TaskResources"]["Limits"][_PLATFORM[name]])
        request = asked["requests"].get(name) or asked["limits"].get(name) or default
        limit = asked["limits"].get(name) or request
        if ceiling:
            request, limit = min(request, ceiling), min(limit, ceiling)
        if limit:
            found["requests"][name], found["limits"][name] = Fraction(min(request, limit)), Fraction(limit)
    return found


def _asked(of: Made, kind: str) -> Amounts:
    own = (of.task["container"].get("resources") or {}).get(kind, ())
    found = {_NAMES[one["name"]]: _amount(one["value"]) for one in own if one["name"] in _NAMES}
    over = ((of.node.get("resources") or {}).get(kind) or {}).items()
    return found | {"nvidia.com/gpu" if name == "gpu" else name: _amount(value) for name, value in over}


def amounts(container: Mapping[str, Any]) -> dict[str, Amounts]:
    """What a container of ours asks for, in the same form."""
    said = container.get("resources") or {}
    return {
        kind: {name: _amount(value) for name, value in said.get(kind, {}).items()} for kind in ("requests", "limits")
    }


def _amount(text: str) -> Fraction:
    match = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", text)
    assert match is not None, text
    return Fraction(match[1]) * _SUFFIXES[match[2]]


def raw_output_prefix(of: Made) -> str:
    """ioutils: two characters of a hash spread attempts over an object store, then the attempt's name."""
    number = 2166136261
    for byte in of.name.encode():
        number = (number ^ byte) * 16777619 % 2**32
    first, second = divmod(number % len(_ALPHABET) ** 2, len(_ALPHABET))
    prefix = of.resource["rawOutputDataConfig"].get("output_location_prefix") or RAW_OUTPUT_PREFIX
    return f"{prefix}/{_ALPHABET[first]}{_ALPHABET[second]}/{of.name}"


def _raw_output_prefixes(of: Made) -> set[str]:
    """What the command's own options say."""
    args = of.container.get("args") or []
    options = ("--raw-output-data-prefix", "--rawOutputDataPrefix")
    return {value for option, value in itertools.pairwise(args) if option in options}


def _expected_prefixes(of: Made) -> set[str]:
    texts = of.task["container"].get("args") or []
    return {raw_output_prefix(of)} if "{{.rawOutputDataPrefix}}" in texts else set()


def _tolerations(of: Made) -> list[dict[str, Any]]:
    """Without those that the API server gives every pod."""
    by_default = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    return [one for one in of.pod["spec"].get("tolerations", ()) if one.get("key") not in by_default]


def _account(of: Made) -> str:
    return of.resource.get("serviceAccountName") or of.run_as.get("k8s_service_account") or "default"


def _unfilled(of: Made) -> list[str]:
    """The author's own words of command and args, in their order."""
    own = [*(of.task["container"].get("command") or ()), *(of.task["container"].get("args") or ())]
    return [text for text in own if "{{" not in text]


def _words(of: Made) -> list[str]:
    own = set(_unfilled(of))
    return [text for text in (*(of.container.get("command") or ()), *of.container["args"]) if text in own]


def _documents(of: Made) -> bool:
    """Inputs and outputs are below the metadata prefix, outputs in the attempt's own directory."""
    texts = [text for text in of.container["args"] if text.startswith(METADATA_PREFIX)]
    outputs = [text for text in texts if text.endswith(f"/{of.attempt}")]
    own = " ".join(of.task["container"].get("args") or ())
    return bool(outputs) == ("{{.outputPrefix}}" in own) and all(".." not in text for text in texts)


FIELDS: Mapping[str, tuple[Callable[[Made], Any], Callable[[Made], Any]]] = {
    "metadata.labels": (labels, lambda of: of.pod["metadata"]["labels"]),
    "metadata.annotations": (
        described,
        lambda of: {k: v for k, v in of.pod["metadata"]["annotations"].items() if not k.startswith("propeller/")},
    ),
    "metadata.namespace": (lambda of: of.resource["metadata"]["namespace"], lambda of: of.pod["metadata"]["namespace"]),
    "metadata.ownerReferences": (
        lambda of: [(of.resource["metadata"]["name"], True, True)],
        lambda of: [
            (one["name"], one["controller"], one["blockOwnerDeletion"]) for one in of.pod["metadata"]["ownerReferences"]
        ],
    ),
    "spec.restartPolicy": (lambda of: "Never", lambda of: of.pod["spec"]["restartPolicy"]),
    "spec.serviceAccountName": (_account, lambda of: of.pod["spec"].get("serviceAccountName", "default")),
    "spec.tolerations": (lambda of: [], _tolerations),
    "spec.nodeSelector": (lambda of: None, lambda of: of.pod["spec"].get("nodeSelector")),
    "spec.affinity": (lambda of: None, lambda of: of.pod["spec"].get("affinity")),
    "containers[].name": (lambda of: of.name, lambda of: of.container["name"]),
    "containers[].image": (lambda of: of.task["container"]["image"], lambda of: of.container["image"]),
    "containers[].command, args": (_unfilled, _words),
    "containers[].args, raw output prefix": (_expected_prefixes, _raw_output_prefixes),
    "containers[].args, inputs and outputs": (lambda of: True, _documents),
    "containers[].env": (environment, lambda of: {one["name"]: one.get("value", "") for one in of.container["env"]}),
    "containers[].resources": (resources, lambda of: amounts(of.container)),
    "containers[].terminationMessagePolicy": (
        lambda of: "FallbackToLogsOnError",
        lambda of: of.container["terminationMessagePolicy"],
    ),
}
"""By field of the pod: what FlytePropeller writes, and what ours is."""
