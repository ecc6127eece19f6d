"""One Kubernetes API server: connection, authentication, verbs, watches, typed objects and selectors."""

from propeller.kube._auth_provider import AuthProvider
from propeller.kube._bodies import PatchKind
from propeller.kube._client import Client
from propeller.kube._connection import Connection, Impersonation, connect
from propeller.kube._decoding import Event, EventType, Page, Undecodable
from propeller.kube._exec import ExecPlugin
from propeller.kube._finalizers import add_finalizer, remove_finalizer
from propeller.kube._kubeconfig import load_connection, parse_connection
from propeller.kube._limit import FlowLimit
from propeller.kube._names import FieldNameWarning
from propeller.kube._objects import (
    ContainerRunning,
    ContainerState,
    ContainerStatus,
    ContainerTerminated,
    ContainerWaiting,
    KubeObject,
    Lease,
    LeaseSpec,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    Raw,
    SchedulingGate,
)
from propeller.kube._options import ClientOptions
from propeller.kube._resource import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    LEASES,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    POD_TEMPLATES,
    PODS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Resource,
)
from propeller.kube._selectors import (
    FieldSelector,
    LabelSelector,
    Operator,
    Requirement,
    is_label,
    parse_field_selector,
    parse_label_selector,
)
from propeller.kube._transport import Request, Response, Stream, Transport

__all__ = [
    "CONFIG_MAPS",
    "CUSTOM_RESOURCE_DEFINITIONS",
    "EVENTS",
    "LEASES",
    "LIMIT_RANGES",
    "NAMESPACES",
    "NODES",
    "PODS",
    "POD_TEMPLATES",
    "RESOURCE_QUOTAS",
    "SECRETS",
    "SERVICE_ACCOUNTS",
    "AuthProvider",
    "Client",
    "ClientOptions",
    "Connection",
    "ContainerRunning",
    "ContainerState",
    "ContainerStatus",
    "ContainerTerminated",
    "ContainerWaiting",
    "Event",
    "EventType",
    "ExecPlugin",
    "FieldNameWarning",
    "FieldSelector",
    "FlowLimit",
    "Impersonation",
    "KubeObject",
    "LabelSelector",
    "Lease",
    "LeaseSpec",
    "ObjectMeta",
    "Operator",
    "OwnerReference",
    "Page",
    "PatchKind",
    "Pod",
    "PodCondition",
    "PodSpec",
    "PodStatus",
    "Raw",
    "Request",
    "Requirement",
    "Resource",
    "Response",
    "SchedulingGate",
    "Stream",
    "Transport",
    "Undecodable",
    "add_finalizer",
    "connect",
    "is_label",
    "load_connection",
    "parse_connection",
    "parse_field_selector",
    "parse_label_selector",
    "remove_finalizer",
]
