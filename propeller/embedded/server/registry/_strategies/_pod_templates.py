"""PodTemplates, and the templates of pods within other kinds.

Source: k8s.io/kubernetes/pkg/registry/core/podtemplate, and pkg/apis/core/v1 (defaults).
"""

from __future__ import annotations

from propeller.embedded.server._errors import Cause
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._strategies._base import Strategy
from propeller.embedded.server.registry._strategies._pod_defaults import default_pod
from propeller.embedded.server.registry._strategies._pod_rules import validate_spec


def default_template(template: Object) -> None:
    """Fill in a template of pods, in place. Raises TypeMismatch for an invalid quantity."""
    pods = template.setdefault("spec", {})
    links = pods.get("enableServiceLinks")
    default_pod(template)
    if links is None:
        pods.pop("enableServiceLinks", None)  # a default of pods, and not of their templates


def validate_template(template: Object, path: str) -> list[Cause]:
    """Validate a template of pods at that path of its object."""
    return [Cause(one.reason, one.message, f"{path}.{one.field}") for one in validate_spec(template)]


class PodTemplateStrategy(Strategy):
    def default(self, obj: Object) -> None:
        default_template(obj.setdefault("template", {}))

    def prepare_create(self, obj: Object) -> None:
        obj["metadata"]["generation"] = 1

    def prepare_update(self, obj: Object, old: Object) -> None:
        if obj["template"] != old.get("template"):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def validate(self, obj: Object) -> list[Cause]:
        return validate_template(obj["template"], "template")
