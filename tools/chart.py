"""Write the files of deploy/ that are made from the package: rules, types and schema of the chart, the Kustomize base.

`python tools/chart.py` writes them; `--check` only says whether they are current (exit code 1 if they are not).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from chart_schema import schema

from propeller.config import Settings
from propeller.controller import workflow_crd
from propeller.fairqueues import fair_queue_crd
from propeller.handlers.plugins import Plugins
from propeller.manifests import LOADER_IMAGE, SETTINGS_FILE, Part, manifests, operator_rules, rules_of, workload
from propeller.routing import routing_table_crd

DEPLOY = Path(__file__).parent.parent / "deploy"
CHART = DEPLOY / "helm" / "propeller"
BASE = DEPLOY / "kustomize" / "base"

HEAD = "# Made from propeller/manifests by `make chart`; do not edit.\n"
SETTINGS = """# An example. Overlays replace it: configMapGenerator, behavior: replace (deploy/examples/kustomize).
storage:
  metadata_prefix: s3://your-bucket/metadata
"""
NAMESPACE = "flyte"


def files() -> Iterator[tuple[Path, str]]:
    """Every file and its content."""
    rules = {str(part): rules_of([part]) for part in Part}
    yield CHART / "files" / "rules.yaml", _yaml(rules | {"operators": operator_rules()})
    for crd in (workflow_crd(), fair_queue_crd(), routing_table_crd()):
        yield CHART / "files" / "crds" / f"{crd['spec']['names']['plural']}.yaml", _yaml(crd)
    yield CHART / "values.schema.json", json.dumps(schema(Settings), indent=2) + "\n"
    installed = manifests(NAMESPACE, plugins=Plugins())
    groups = {
        "crds.yaml": [one for one in installed if one["kind"] == "CustomResourceDefinition"],
        "rights.yaml": [one for one in installed if one["kind"] not in {"CustomResourceDefinition", "Namespace"}],
        "controller.yaml": [one for one in workload(NAMESPACE, "propeller", SETTINGS) if one["kind"] != "ConfigMap"],
    }
    for name, documents in groups.items():
        for document in documents:  # Kustomize's generator names the ConfigMap by its content, which rolls the pods
            document.get("spec", {}).get("template", {}).get("metadata", {}).pop("annotations", None)
            _leave_out_image(document)
        yield BASE / name, HEAD + yaml.safe_dump_all(documents, sort_keys=False)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": list(groups),
        "configMapGenerator": [{"name": "propeller", "files": [SETTINGS_FILE]}],
    }
    yield BASE / "kustomization.yaml", _yaml(kustomization)
    yield BASE / SETTINGS_FILE, SETTINGS


def _leave_out_image(document: dict[str, Any]) -> None:
    """Remove the variable with the controller's image: Kustomize's `images` replaces it in fields `image` alone."""
    for container in document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
        container["env"] = [one for one in container["env"] if one["name"] != LOADER_IMAGE]


def _yaml(document: Any) -> str:
    return HEAD + yaml.safe_dump(document, sort_keys=False)


def main() -> int:
    stale = [path for path, text in files() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(DEPLOY.parent)} is not current: make chart")
        return 1 if stale else 0
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
