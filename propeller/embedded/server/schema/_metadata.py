"""Rules of metadata: fields that the server sets, that a client may set, and that an update may not change.

Source: k8s.io/apiserver/pkg/registry/rest and k8s.io/apimachinery/pkg/api/validation, ObjectMeta.
"""

from __future__ import annotations

from typing import Any

from propeller.embedded.server._errors import Cause, bad_request, forbidden_field, invalid_value, required, too_long
from propeller.embedded.server.schema._names import NameRule, label_value, qualified_name, with_suffix

Metadata = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_STANDARD_FINALIZERS = ("kubernetes", ORPHAN, FOREGROUND)

_ANNOTATION_BYTES = 256 * 1024
_SUFFIX_CHARACTERS = 5
_MAX_GENERATED_BASE = 63 - _SUFFIX_CHARACTERS
_EMPTY_IS_ABSENT = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields")


def drop_empty(metadata: Metadata) -> None:
    """Empty collections are the same as absent ones, and are stored as such."""
    for name in _EMPTY_IS_ABSENT:
        if name in metadata and not metadata[name]:
            del metadata[name]


def place(metadata: Metadata, namespace: str) -> None:
    """Set the namespace of the request ("" for none). Raises Failure if the object names another."""
    given = metadata.get("namespace", "")
    if given == namespace:
        return
    if given and namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if namespace:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def begin(metadata: Metadata, *, uid: str, now: str) -> None:
    """Set the server's fields of a new object, overriding the client's."""
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        metadata.pop(name, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = now


def generated_name(prefix: str, suffix: str) -> str:
    """A name from `generateName`, cut so that it stays a label."""
    return prefix[:_MAX_GENERATED_BASE] + suffix


def keep_system_fields(metadata: Metadata, old: Metadata) -> None:
    """An update changes none of these, whatever it says; that it says so at all is no error."""
    metadata["creationTimestamp"] = old["creationTimestamp"]
    metadata.setdefault("uid", old["uid"])
    metadata.pop("selfLink", None)
    _keep(metadata, old, "generation")
    if "deletionTimestamp" in old:
        metadata["deletionTimestamp"] = old["deletionTimestamp"]
    if "deletionGracePeriodSeconds" in old:
        metadata.setdefault("deletionGracePeriodSeconds", old["deletionGracePeriodSeconds"])


def _keep(metadata: Metadata, old: Metadata, name: str) -> None:
    if name in old:
        metadata[name] = old[name]
    else:
        metadata.pop(name, None)


def validate(metadata: Metadata, rule: NameRule, *, core: bool) -> list[Cause]:
    """Validate the metadata of any object; `rule` is the kind's for names, `core` is set for kinds of the core
    group.
    """
    causes: list[Cause] = []
    if (prefix := metadata.get("generateName")) and (why := with_suffix(rule)(prefix)):
        causes.append(invalid_value("metadata.generateName", prefix, why))
    name = metadata.get("name", "")
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    elif why := rule(name):
        causes.append(invalid_value("metadata.name", name, why))
    if labels := metadata.get("labels"):
        causes += _validate_labels(labels)
    if annotations := metadata.get("annotations"):
        causes += _validate_annotations(annotations)
    if references := metadata.get("ownerReferences"):
        causes += _validate_owners(references)
    if finalizers := metadata.get("finalizers"):
        causes += _validate_finalizers(finalizers, core)
    return causes


def validate_update(metadata: Metadata, old: Metadata) -> list[Cause]:
    """Validate an update: metadata that it may not change."""
    causes: list[Cause] = []
    if "deletionTimestamp" in old:
        extra = sorted(set(metadata.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            shown = ", ".join(f'"{one}"' for one in extra)
            why = "no new finalizers can be added if the object is being deleted, found new finalizers "
            why += f"[]string{{{shown}}}"
            causes.append(forbidden_field("metadata.finalizers", why))
    causes += [
        invalid_value(f"metadata.{name}", metadata.get(name), "field is immutable")
        for name in ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")
        if metadata.get(name) != old.get(name)
    ]
    return causes


def _validate_labels(labels: dict[str, str]) -> list[Cause]:
    causes = []
    for key, value in labels.items():
        if why := qualified_name(key):
            causes.append(invalid_value("metadata.labels", key, why))
        if why := label_value(value):
            causes.append(invalid_value("metadata.labels", value, why))
    return causes


def _validate_annotations(annotations: dict[str, str]) -> list[Cause]:
    causes = [
        invalid_value("metadata.annotations", key, why) for key in annotations if (why := qualified_name(key.lower()))
    ]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATION_BYTES:
        causes.append(too_long("metadata.annotations", _ANNOTATION_BYTES))
    return causes


def _validate_owners(references: list[dict[str, Any]]) -> list[Cause]:
    causes: list[Cause] = []
    controller = ""
    for index, reference in enumerate(references):
        path = f"metadata.ownerReferences[{index}]"
        missing = [name for name in ("apiVersion", "kind", "name", "uid") if not reference.get(name)]
        causes += [required(f"{path}.{name}", "must not be empty") for name in missing]
        if reference.get("kind") == "Event" and reference.get("apiVersion") == "v1":
            causes.append(invalid_value(path, reference, "/v1, Kind=Event is disallowed from being an owner"))
        if reference.get("controller"):
            this = f"{reference.get('kind')}/{reference.get('name')}"
            if controller:
                why = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {this}"
                )
                causes.append(invalid_value("metadata.ownerReferences", references, why))
            controller = controller or this
    return causes


def _validate_finalizers(finalizers: list[str], core: bool) -> list[Cause]:
    causes = [
        invalid_value("metadata.finalizers", finalizer, why)
        for finalizer in finalizers
        if (why := qualified_name(finalizer))
    ]
    why = "name is neither a standard finalizer name nor is it fully qualified"
    causes += [
        invalid_value(f"metadata.finalizers[{index}]", finalizer, why)
        for index, finalizer in enumerate(finalizers)
        if core and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
    ]
    if FOREGROUND in finalizers and ORPHAN in finalizers:
        why = f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"
        causes.append(invalid_value("metadata.finalizers", finalizers, why))
    return causes
