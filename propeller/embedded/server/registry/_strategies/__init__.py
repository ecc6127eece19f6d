"""The rules of each kind: defaults, what a client may set, validation, selectable fields, grace."""

from propeller.embedded.server.registry._strategies._base import Strategy, restore
from propeller.embedded.server.registry._strategies._core import (
    KUBERNETES_FINALIZER,
    ConfigMapStrategy,
    EventStrategy,
    NamespaceStrategy,
    NodeStrategy,
    SecretStrategy,
    ServiceAccountStrategy,
)
from propeller.embedded.server.registry._strategies._custom import CustomStrategy
from propeller.embedded.server.registry._strategies._definitions import CLEANUP_FINALIZER, DefinitionStrategy
from propeller.embedded.server.registry._strategies._groups import (
    RBAC,
    ClusterRoleBindingStrategy,
    LeaseStrategy,
    RoleBindingStrategy,
    RoleStrategy,
)
from propeller.embedded.server.registry._strategies._jobs import BATCH, JobStrategy
from propeller.embedded.server.registry._strategies._pod_templates import PodTemplateStrategy
from propeller.embedded.server.registry._strategies._pods import FINISHED, PodStrategy
from propeller.embedded.server.registry._strategies._resource_quotas import ResourceQuotaStrategy

__all__ = [
    "BATCH",
    "CLEANUP_FINALIZER",
    "FINISHED",
    "KUBERNETES_FINALIZER",
    "RBAC",
    "ClusterRoleBindingStrategy",
    "ConfigMapStrategy",
    "CustomStrategy",
    "DefinitionStrategy",
    "EventStrategy",
    "JobStrategy",
    "LeaseStrategy",
    "NamespaceStrategy",
    "NodeStrategy",
    "PodStrategy",
    "PodTemplateStrategy",
    "ResourceQuotaStrategy",
    "RoleBindingStrategy",
    "RoleStrategy",
    "SecretStrategy",
    "ServiceAccountStrategy",
    "Strategy",
    "restore",
]
