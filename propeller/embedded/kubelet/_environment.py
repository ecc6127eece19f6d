"""Resolve a container's env, command and args: pure, given the pod and the objects that it refers to.

The rules are those of the real kubelet: later names win, `$(NAME)` expands names defined before it, `$$` escapes,
unknown names stay unchanged (k8s.io/kubernetes/third_party/forked/golang/expansion).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from propeller.embedded.kubelet._status import LOCAL_IP
from propeller.errors import Invalid
from propeller.kube._objects import Raw
from propeller.quantity import parse

Reference = tuple[str, str]
"""Kind ("ConfigMap" or "Secret") and name of an object in the pod's namespace."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


def references(pod: Raw, container: Raw) -> set[Reference]:
    """The objects that have to be read before `resolve` and the volumes of the pod can be."""
    found: set[Reference] = set()
    for kind, source, _ in _sources(container):
        found.add((kind, source.get("name", "")))
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            if "configMap" in source:
                found.add(("ConfigMap", source["configMap"].get("name", "")))
            if "secret" in source:
                found.add(("Secret", source["secret"].get("secretName") or source["secret"].get("name", "")))
    return found


def object_data(objects: Mapping[Reference, Raw | None], kind: str, source: Raw) -> Mapping[str, bytes]:
    """Return the entries of a ConfigMap or Secret; none if it is missing and optional. Raises `Invalid` if it is
    missing and required.
    """
    name = source.get("secretName") or source.get("name", "")
    found = objects.get((kind, name))
    if found is None:
        if source.get("optional"):
            return {}
        raise Invalid(f'{kind.lower()} "{name}" not found')
    entries = found.get("data") or {}
    try:
        if kind == "Secret":
            return {key: base64.b64decode(value, validate=True) for key, value in entries.items()}
        binary = {key: base64.b64decode(value, validate=True) for key, value in (found.get("binaryData") or {}).items()}
    except binascii.Error as error:
        raise Invalid(f'{kind.lower()} "{name}" holds data that is not base64') from error
    return {**{key: value.encode() for key, value in entries.items()}, **binary}


def resolve(
    pod: Raw, container: Raw, *, base: Mapping[str, str], objects: Mapping[Reference, Raw | None]
) -> dict[str, str]:
    """Return the container's complete environment on top of `base`. Raises `Invalid` naming what is missing."""
    env = dict(base)
    for source in container.get("envFrom") or ():
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if field in source:
                data = object_data(objects, kind, source[field])
                env.update({source.get("prefix", "") + key: _text(value) for key, value in data.items()})
    for variable in container.get("env") or ():
        value = _value(pod, container, variable, env, objects)
        if value is not None:
            env[variable["name"]] = value
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; `$$(NAME)` stays `$(NAME)`, and so does a name that is unknown."""
    closed, bracket, rest = text.rpartition(")")  # behind the last bracket no reference ends, so none is looked for
    expanded = _REFERENCE.sub(lambda m: "$" if m[1] is None else env.get(m[1], m[0]), closed + bracket)
    return expanded + rest.replace("$$", "$")


def expand_all(words: Iterable[str], env: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(expand(word, env) for word in words)


def _sources(container: Raw) -> Iterator[tuple[str, Raw, str]]:
    for source in container.get("envFrom") or ():
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if field in source:
                yield kind, source[field], ""
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if field in source:
                yield kind, source[field], source[field].get("key", "")


def _value(
    pod: Raw, container: Raw, variable: Raw, env: Mapping[str, str], objects: Mapping[Reference, Raw | None]
) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value", ""), env)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"].get("fieldPath", ""))
    if "resourceFieldRef" in source:
        return _resource(container, source["resourceFieldRef"])
    for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if field in source:
            data = object_data(objects, kind, source[field])
            key = source[field].get("key", "")
            if key in data:
                return _text(data[key])
            if source[field].get("optional"):
                return None
            raise Invalid(f"couldn't find key {key} in {kind} {source[field].get('name', '')}")
    raise Invalid(f"env {variable['name']} has a valueFrom of an unknown kind: {', '.join(source)}")


def field_value(pod: Raw, path: str) -> str:
    """Return the downward API's value of a field path. Raises `Invalid` for an unsupported path."""
    metadata, spec = pod["metadata"], pod["spec"]
    address = (pod.get("status") or {}).get("podIP") or LOCAL_IP
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    values: dict[str, Any] = {
        "metadata.name": metadata.get("name", ""),
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "metadata.labels": _pairs(metadata.get("labels")),
        "metadata.annotations": _pairs(metadata.get("annotations")),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": LOCAL_IP,
        "status.hostIPs": LOCAL_IP,
    }
    if path not in values:
        raise Invalid(f"unsupported fieldPath: {path}")
    return str(values[path])


def _pairs(values: Mapping[str, str] | None) -> str:
    return "\n".join(f'{key}="{value}"' for key, value in sorted((values or {}).items()))


def _resource(container: Raw, source: Raw) -> str:
    scope, _, name = source.get("resource", "").partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(scope) or {}).get(name)
    if (
        amount is None
    ):  # upstream gives the node's allocatable for an absent limit; here a limit that is absent is unlimited
        amount = (resources.get("limits") or {}).get(name, "0")
    return str(divided(amount, source.get("divisor") or "1"))


def divided(amount: str, divisor: str) -> int:
    """Return how many divisors fit, rounded up. A divisor of 0 means 1, as upstream has it. Raises NotAQuantity."""
    return math.ceil(Fraction(parse(amount)) / (Fraction(parse(divisor)) or 1))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
