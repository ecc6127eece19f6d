"""The smaller kinds of the core group: namespaces, nodes, events, config maps, secrets and service accounts."""

from __future__ import annotations

import base64
import string
from typing import Any

from propeller.embedded.server._errors import Cause, forbidden_field, invalid_value, required, too_long
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy, restore, text_at
from propeller.embedded.server.registry._strategies._pod_defaults import amounts
from propeller.embedded.server.schema._names import NameRule, label, path_segment
from propeller.embedded.server.schema._typecheck import TypeMismatch

_MAX_DATA_BYTES = 1024 * 1024
KUBERNETES_FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    has_status = True
    returns_deleted = True
    selectable = ("status.phase",)
    name_rule: NameRule = staticmethod(label)

    def default(self, obj: Object) -> None:
        metadata = obj["metadata"]
        if name := metadata.get("name"):
            metadata.setdefault("labels", {})[NAME_LABEL] = name

    def prepare_create(self, obj: Object) -> None:
        self.default(obj)  # now that a generated name is known
        finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
        if KUBERNETES_FINALIZER not in finalizers:
            finalizers.append(KUBERNETES_FINALIZER)
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, obj: Object, old: Object) -> None:
        restore(obj.setdefault("spec", {}), old.get("spec") or {}, "finalizers")
        restore(obj, old, "status")

    def is_held(self, obj: Object) -> bool:
        return bool((obj.get("spec") or {}).get("finalizers"))

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        return (text_at(obj, "status", "phase"),)


class NodeStrategy(Strategy):
    has_status = True
    selectable = ("spec.unschedulable",)

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})
        status = obj.get("status") or {}
        for name in ("capacity", "allocatable"):
            if name in status:
                status[name] = amounts(status[name])
        if "capacity" in status:
            status.setdefault("allocatable", status["capacity"])

    def prepare_create(self, obj: Object) -> None:
        """A new node brings its status along: that is how kubelets register."""

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        return ("true" if (obj.get("spec") or {}).get("unschedulable") else "false",)


class EventStrategy(Strategy):
    create_on_update = True
    collects_garbage = False
    name_rule: NameRule = staticmethod(path_segment)
    selectable = (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    )

    def validate(self, obj: Object) -> list[Cause]:
        namespace = text_at(obj, "metadata", "namespace")
        about = text_at(obj, "involvedObject", "namespace")
        if obj.get("eventTime"):
            missing = [
                name for name in ("reportingComponent", "reportingInstance", "action", "reason") if not obj.get(name)
            ]
            causes = [required(name) for name in missing]
            agrees = bool(about) or namespace in ("default", "kube-system")
        else:
            causes = []
            agrees = about == namespace or (not about and namespace == "default")
        if not agrees:
            causes.append(invalid_value("involvedObject.namespace", about, "does not match event.namespace"))
        return causes

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        about = obj.get("involvedObject") or {}
        reporter = obj.get("reportingComponent", "")
        return (
            about.get("kind", ""),
            about.get("namespace", ""),
            about.get("name", ""),
            about.get("uid", ""),
            about.get("apiVersion", ""),
            about.get("resourceVersion", ""),
            about.get("fieldPath", ""),
            obj.get("reason", ""),
            reporter,
            text_at(obj, "source", "component") or reporter,
            obj.get("type", ""),
        )


class ConfigMapStrategy(Strategy):
    def default(self, obj: Object) -> None:
        _check_base64(obj.get("binaryData") or {})

    def validate(self, obj: Object) -> list[Cause]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        causes = [*_validate_keys("data", data), *_validate_keys("binaryData", binary)]
        causes += [
            invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
            for key in data
            if key in binary
        ]
        size = sum(len(text.encode()) for text in data.values()) + sum(len(text) * 3 // 4 for text in binary.values())
        return [*causes, too_long("[]", _MAX_DATA_BYTES)] if size > _MAX_DATA_BYTES else causes

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        return _validate_immutable(obj, old, ("data", "binaryData"))


class SecretStrategy(Strategy):
    selectable = ("type",)

    def default(self, obj: Object) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        if plain := obj.pop("stringData", None):
            encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
            obj["data"] = {**(obj.get("data") or {}), **encoded}
        _check_base64(obj.get("data") or {})

    def validate(self, obj: Object) -> list[Cause]:
        data = obj.get("data") or {}
        causes = _validate_keys("data", data)
        size = sum(len(text) * 3 // 4 for text in data.values())
        return [*causes, too_long("data", _MAX_DATA_BYTES)] if size > _MAX_DATA_BYTES else causes

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        causes = _validate_immutable(obj, old, ("data",))
        if obj.get("type") != old.get("type"):
            causes.append(invalid_value("type", obj.get("type"), "field is immutable"))
        return causes

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        return (obj.get("type", ""),)


class ServiceAccountStrategy(Strategy):
    returns_deleted = True

    def prepare_create(self, obj: Object) -> None:
        if "secrets" in obj:  # of a reference only the name is kept
            obj["secrets"] = [{"name": one["name"]} if one.get("name") else {} for one in obj["secrets"]]

    def prepare_update(self, obj: Object, old: Object) -> None:
        self.prepare_create(obj)


_BASE64 = frozenset(string.ascii_letters + string.digits + "+/=")


def _check_base64(data: dict[str, str]) -> None:
    for text in data.values():
        try:
            base64.b64decode(text, validate=True)
        except ValueError as error:  # no base64, or not even ASCII
            position = next((at for at, one in enumerate(text) if one not in _BASE64), len(text))
            raise TypeMismatch(f"illegal base64 data at input byte {position}") from error


def _validate_keys(field: str, data: dict[str, Any]) -> list[Cause]:
    why = (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME', "
        " or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
    )
    return [invalid_value(f"{field}[{key}]", key, why) for key in data if not _is_key(key)]


def _is_key(key: str) -> bool:
    return (
        0 < len(key) <= 253
        and key not in (".", "..")
        and all(one.isascii() and (one.isalnum() or one in "-._") for one in key)
    )


def _validate_immutable(obj: Object, old: Object, names: tuple[str, ...]) -> list[Cause]:
    if not old.get("immutable"):
        return []
    why = "field is immutable when `immutable` is set"
    causes = [forbidden_field(name, why) for name in names if obj.get(name) != old.get(name)]
    return causes if obj.get("immutable") else [forbidden_field("immutable", why), *causes]
