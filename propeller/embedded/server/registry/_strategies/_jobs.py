"""Jobs: defaults, the generated selector, immutable fields, and the end of a status (no controller runs them).

Source: k8s.io/kubernetes/pkg/apis/batch (defaults, validation) and pkg/registry/batch/job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from propeller.embedded.server._errors import Cause, invalid_value, required
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy, restore
from propeller.embedded.server.registry._strategies._pod_templates import default_template, validate_template

BATCH = "batch"

_UID_LABEL, _NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
_OLD_LABELS = {_UID_LABEL: "controller-uid", _NAME_LABEL: "job-name"}
_NUMBERS = ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
_IMMUTABLE = ("completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex")


class JobStrategy(Strategy):
    has_status = True
    default_propagation = "Orphan"
    selectable = ("status.successful",)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if "completions" not in spec and "parallelism" not in spec:
            spec["completions"] = 1
        spec.setdefault("parallelism", 1)
        spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        spec.setdefault("manualSelector", False)
        failed_only = "podFailurePolicy" in spec
        spec.setdefault("podReplacementPolicy", "Failed" if failed_only else "TerminatingOrFailed")
        default_template(spec.setdefault("template", {}))
        _default_labels(obj)

    def prepare_create(self, obj: Object) -> None:
        metadata, spec = obj["metadata"], obj["spec"]
        metadata["generation"] = 1
        obj["status"] = {}
        if not spec["manualSelector"]:
            labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
            for new, value in ((_UID_LABEL, metadata["uid"]), (_NAME_LABEL, metadata["name"])):
                labels[new] = labels[_OLD_LABELS[new]] = value
            spec.setdefault("selector", {}).setdefault("matchLabels", {})[_UID_LABEL] = metadata["uid"]
        _default_labels(obj)

    def prepare_update(self, obj: Object, old: Object) -> None:
        restore(obj, old, "status")
        if obj.get("spec") != old.get("spec"):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj["spec"]
        causes = [
            invalid_value(f"spec.{name}", spec[name], "must be greater than or equal to 0")
            for name in _NUMBERS
            if spec.get(name) is not None and spec[name] < 0
        ]
        template = spec["template"]
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        if not spec["manualSelector"] and set(wanted) - {_UID_LABEL}:
            causes.append(invalid_value("spec.selector", spec["selector"], "`selector` not auto-generated"))
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(name) != value for name, value in wanted.items()):
            why = "`selector` does not match template `labels`"
            causes.append(invalid_value("spec.template.metadata.labels", labels, why))
        causes += validate_template(template, "spec.template")
        if template["spec"].get("restartPolicy") not in ("OnFailure", "Never"):
            causes.append(required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
        return causes

    def validate_update(self, obj: Object, old: Object) -> list[Cause]:
        spec, before = obj["spec"], old.get("spec") or {}
        return [
            invalid_value(f"spec.{name}", spec.get(name), "field is immutable")
            for name in _IMMUTABLE
            if spec.get(name) != before.get(name)
        ]

    def validate_status(self, obj: Object, old: Object) -> list[Cause]:
        return list(_validate_end(obj.get("status") or {}, old.get("status") or {}))

    def fields_of(self, obj: Object) -> tuple[str, ...]:
        return (str((obj.get("status") or {}).get("succeeded", 0)),)


def _default_labels(obj: Object) -> None:
    """A Job without labels has those of its pods."""
    labels = (obj["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _validate_end(status: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Cause]:
    """Validate what an ended Job must say, and may not revert."""
    now, had = _conditions(status), _conditions(before)
    time = status.get("completionTime")
    if "Complete" in now and not time:
        yield required("status.completionTime", "completionTime is required for Complete jobs")
    if time and "Complete" not in now:
        why = "cannot set completionTime when there is no Complete=True condition"
        yield invalid_value("status.completionTime", time, why)
    for end, first in (("Complete", "SuccessCriteriaMet"), ("Failed", "FailureTarget")):
        if end in now and first not in now:
            why = f"cannot set {end}=True condition without the {first}=true condition"
            yield Cause("FieldValueInvalid", f"Invalid value: {why}", "status.conditions")
    for one in ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"):
        if one in had and one not in now:
            word = "terminal " if one in ("Complete", "Failed") else ""
            why = f"cannot disable the {word}{one}=True condition"
            yield Cause("FieldValueInvalid", f"Invalid value: {why}", "status.conditions")
    if now & {"Complete", "Failed"}:
        if status.get("active", 0) > 0:
            yield invalid_value("status.active", status["active"], "active>0 is invalid for finished job")
        if not status.get("startTime"):
            yield required("status.startTime", "startTime is required for finished job")


def _conditions(status: Mapping[str, Any]) -> set[str]:
    return {one["type"] for one in status.get("conditions") or () if one.get("status") == "True"}
