"""A file of tenants with its templates, as a person writes them."""

from __future__ import annotations

from pathlib import Path

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata:
  name: {{ namespace }}
"""
QUOTA = """
apiVersion: v1
kind: ResourceQuota
metadata:
  name: project-quota
  namespace: {{ namespace }}
spec:
  hard:
    limits.cpu: {{ projectQuotaCpu }}
    pods: {{ maxPods }}
"""
TENANTS = """
templates: templates
domains: [development, {name: production, data: {projectQuotaCpu: 16}}]
projects:
  - ml
  - {name: etl, domains: [production], data: {maxPods: 7}}
data: {projectQuotaCpu: "4", maxPods: 100}
"""


def write(directory: Path, tenants: str = TENANTS, **templates: str) -> str:
    """Write the file and its templates, those above by default; returns its path."""
    folder = directory / "templates"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, text in (templates or {"a_namespace": NAMESPACE, "b_quota": QUOTA}).items():
        (folder / f"{name}.yaml").write_text(text)
    (directory / "tenants.yaml").write_text(tenants)
    return str(directory / "tenants.yaml")
