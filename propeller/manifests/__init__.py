"""What a cluster has to have so that a controller can run on it, as manifests: types, rights, and the controller's own
Deployment.

`propeller install` prints them; `deploy/kustomize/base`, and rules and types of the Helm chart, are made from them. A
test compares them with what the chart renders.
"""

from propeller.manifests._install import execution_cluster, installation, manifests, types
from propeller.manifests._rules import RULES, Grant, Part, operator_rules, parts_of, rules_of
from propeller.manifests._workload import LOADER_IMAGE, SETTINGS_FILE, workload

__all__ = [
    "LOADER_IMAGE",
    "RULES",
    "SETTINGS_FILE",
    "Grant",
    "Part",
    "execution_cluster",
    "installation",
    "manifests",
    "operator_rules",
    "parts_of",
    "rules_of",
    "types",
    "workload",
]
