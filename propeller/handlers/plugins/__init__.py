"""Task plugins: how an attempt of a task becomes a resource of the cluster, and what that resource's state means.

`TaskPlugin` is the protocol, `AttemptObserver` the half of it that reads, `pod` its first implementation. Packages add
task types by entry points of the group `propeller.tasks` (docs/plugins.md).
"""

from propeller.handlers.plugins._api import (
    DEFAULT_GRACE,
    ENTRY_POINTS,
    AttemptObserver,
    PluginFailed,
    TaskPlugin,
    custom_of,
)
from propeller.handlers.plugins._child import (
    CHILD,
    CHILD_WORKFLOWS,
    NESTING_ANNOTATION,
    RECOVERED_PARENT_ANNOTATION,
    ChildWorkflow,
    parent_of,
    parents_of,
)
from propeller.handlers.plugins._claims import attempt_at, claim_of, is_of, observed_attempts
from propeller.handlers.plugins._connectors import ConnectorPlugin, category_of
from propeller.handlers.plugins._made_pods import MadePod, made_pods, told_of_pods, why_pods_failed
from propeller.handlers.plugins._metadata import (
    ATTEMPT_ANNOTATION,
    EXECUTION_LABEL,
    LAUNCH_PLAN_ANNOTATION,
    PRIMARY_CONTAINER,
    PRIMARY_ENDED,
    inherited_metadata,
    is_interruptible,
)
from propeller.handlers.plugins._registry import OWN_TYPES, Plugins, installed_plugins, load_plugins
from propeller.handlers.plugins._remote import HOLD_FINALIZER, Marks, Owner, cluster_of, owner_of
from propeller.handlers.plugins._remote_plugin import JOB_ANNOTATION, JobState, RemotePlugin, RemoteTask
from propeller.handlers.plugins._settings import PodSettings
from propeller.handlers.plugins._templates import PodTemplate, PodTemplates
from propeller.handlers.plugins.pod import POD, pod_template, replica_resources, uploader_waits, uploads

__all__ = [
    "ATTEMPT_ANNOTATION",
    "CHILD",
    "CHILD_WORKFLOWS",
    "DEFAULT_GRACE",
    "ENTRY_POINTS",
    "EXECUTION_LABEL",
    "HOLD_FINALIZER",
    "JOB_ANNOTATION",
    "LAUNCH_PLAN_ANNOTATION",
    "NESTING_ANNOTATION",
    "OWN_TYPES",
    "POD",
    "PRIMARY_CONTAINER",
    "PRIMARY_ENDED",
    "RECOVERED_PARENT_ANNOTATION",
    "AttemptObserver",
    "ChildWorkflow",
    "ConnectorPlugin",
    "JobState",
    "MadePod",
    "Marks",
    "Owner",
    "PluginFailed",
    "Plugins",
    "PodSettings",
    "PodTemplate",
    "PodTemplates",
    "RemotePlugin",
    "RemoteTask",
    "TaskPlugin",
    "attempt_at",
    "category_of",
    "claim_of",
    "cluster_of",
    "custom_of",
    "inherited_metadata",
    "installed_plugins",
    "is_interruptible",
    "is_of",
    "load_plugins",
    "made_pods",
    "observed_attempts",
    "owner_of",
    "parent_of",
    "parents_of",
    "pod_template",
    "replica_resources",
    "told_of_pods",
    "uploader_waits",
    "uploads",
    "why_pods_failed",
]
