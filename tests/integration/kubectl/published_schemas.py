"""The types that a kube-apiserver publishes, cut down to what the embedded server needs of them.

`python -m tests.integration.kubectl.published_schemas DIRECTORY` writes propeller/embedded/server/schema/schemas.json
from saved documents (`kubectl get --raw /openapi/v3/api/v1 > DIRECTORY/api_v1.json`, one file a group version).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from propeller.embedded.server.schema._schema import SCHEMAS_FILE

ROOTS: Mapping[str, tuple[str, ...]] = {
    "api/v1": (
        "io.k8s.api.autoscaling.v1.Scale",
        "io.k8s.api.core.v1.Binding",
        "io.k8s.api.core.v1.ConfigMap",
        "io.k8s.api.core.v1.Event",
        "io.k8s.api.core.v1.LimitRange",
        "io.k8s.api.core.v1.Namespace",
        "io.k8s.api.core.v1.Node",
        "io.k8s.api.core.v1.Pod",
        "io.k8s.api.core.v1.PodTemplate",
        "io.k8s.api.core.v1.ResourceQuota",
        "io.k8s.api.core.v1.Secret",
        "io.k8s.api.core.v1.Service",
        "io.k8s.api.core.v1.ServiceAccount",
        "io.k8s.api.policy.v1.Eviction",
    ),
    "apis/apiextensions.k8s.io/v1": (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
    ),
    "apis/authentication.k8s.io/v1": ("io.k8s.api.authentication.v1.SelfSubjectReview",),
    "apis/authorization.k8s.io/v1": (
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    ),
    "apis/batch/v1": ("io.k8s.api.batch.v1.Job",),
    "apis/coordination.k8s.io/v1": ("io.k8s.api.coordination.v1.Lease",),
    "apis/rbac.authorization.k8s.io/v1": tuple(
        f"io.k8s.api.rbac.v1.{kind}" for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    ),
}
"""Each group version's kinds that the embedded server has."""

_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')


def needed_types(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The types reachable from ROOTS, by name, without descriptions; `documents` are (group version, OpenAPI v3)."""
    found: dict[str, Any] = {}
    for version, document in documents:
        schemas = document["components"]["schemas"]
        waiting = [name for name in ROOTS[version] if name not in found]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = without_descriptions(schemas[name])
                waiting += _REFERENCE.findall(json.dumps(found[name]))
    return found


def without_descriptions(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: without_descriptions(value)
            for key, value in schema.items()
            if key != "description" or not isinstance(value, str)
        }
    return [without_descriptions(one) for one in schema] if isinstance(schema, list) else schema


def written(types: Mapping[str, Any]) -> str:
    """One type a line, so that a change shows as the lines of the types that changed."""
    lines = (f"{json.dumps(name)}: {json.dumps(types[name], sort_keys=True)}" for name in sorted(types))
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    saved = ((version, Path(sys.argv[1], version.replace("/", "_") + ".json")) for version in ROOTS)
    SCHEMAS_FILE.write_text(written(needed_types((version, json.loads(file.read_text())) for version, file in saved)))
