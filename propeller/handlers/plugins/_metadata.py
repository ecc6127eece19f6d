"""Labels, annotations and owner reference of an attempt's resource (FlytePropeller's node_exec_context.go,
k8s/plugin_manager.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from propeller.config import KueueOptions
from propeller.workflow import HASHED_LENGTH, SHARD_LABEL, Execution, NodeView, label_value

NODE_ANNOTATION = "propeller/node"
ATTEMPT_ANNOTATION = "propeller/attempt"
SYSTEM_FAILURES_ANNOTATION = "propeller/system-failures"
"""How many of the attempts before this one were the system's fault: they have a budget of their own."""

PATH_ANNOTATION = "propeller/path"
"""The node's ids from the root on, with the attempts between them. A unique id may be shortened to a hash, or be what
another node is called: this never is. Left out if the unique id can be neither.
"""

PRIMARY_ENDED = "propeller/primary-ended"
"""Written when the primary container has ended, and others keep its pod running: its uploader reads it."""

PRIMARY_CONTAINER = "primary_container_name"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's: the LocalQueue that admits a pod, and the jobs that it knows."""

POOLS_ANNOTATION = "propeller/pools"
"""Of a task's pod template, or of an execution: tokens that its author wants (`hive-primary=2, api`)."""

LAUNCH_PLAN_ANNOTATION = "propeller/launch-plan"
"""The name of an execution's launch plan. FlyteAdmin writes it nowhere into the resource, so a launch plan has to have
it among its own annotations if rules are to ask for it; `propeller run` and `compile`, and the controller for the
executions that it starts, write it.
"""

EXECUTION_LABEL = "execution-id"
"""Label of every attempt's resource: informers select by it."""

_OWN_PREFIX = "propeller/"
IDENTITY_LABEL = "execution-identity"
"""Label of pods: who began the execution."""

_OWN_LABELS = frozenset({EXECUTION_LABEL, IDENTITY_LABEL, "node-id", "task-name", "interruptible", SHARD_LABEL})

_OF_EXECUTIONS = frozenset({"project", "domain", "workflow-name", "termination-status", "completed-time"})
"""Labels that each FlyteWorkflow has of its own, besides `_OWN_LABELS`."""

_CHOOSES_QUEUE = frozenset({QUEUE_LABEL, "kueue.x-k8s.io/prebuilt-workload-name"})
"""Labels by which a task would be admitted as another's, or in another queue, than the operator says."""

_NOT_FOR_PODS = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
"""Annotations of a workflow that its pods do not get: this one has the whole workflow in it."""


def attempt_metadata(
    node: NodeView,
    attempt: int,
    task: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    kueue: KueueOptions = KueueOptions(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Return the metadata of an attempt's resource. `task` is the task's name. `labels` and `annotations` are added,
    and never override those by which the controller finds the resource. If `kueue` maps the project to a queue, it is
    that one whatever the task says.
    """
    execution = node.execution
    common_labels, common_annotations, owners = execution.cached(_of_execution)
    info = execution.info
    all_labels = {
        **labels,
        **common_labels,
        "node-id": label_value(node.id),
        "task-name": label_value(task),
        "interruptible": "true" if is_interruptible(node) else "false",
    }
    if kueue.queues and (queue := kueue.queue_of(info.project, info.domain)):
        all_labels = {key: value for key, value in all_labels.items() if key not in _CHOOSES_QUEUE}
        all_labels[QUEUE_LABEL] = queue
    return {
        "name": execution.pod_name(node.number, attempt),
        "namespace": info.namespace,
        "labels": all_labels,
        "annotations": {
            **annotations,
            **common_annotations,
            **_claim(node, attempt),
        },
        "ownerReferences": owners,
    }


def _claim(node: NodeView, attempt: int) -> dict[str, str]:
    """Return the annotations by which the attempt is found again."""
    execution = node.execution
    unique_id, path = execution.unique_id(node.number), execution.path(node.number)
    own = {
        NODE_ANNOTATION: unique_id,
        ATTEMPT_ANNOTATION: str(attempt),
        SYSTEM_FAILURES_ANNOTATION: str(execution.system_failures.get(node.number, 0)),
    }
    if not _is_plain(unique_id, path):
        own[PATH_ANNOTATION] = path
    return own


def inherited_metadata(
    node: NodeView, attempt: int, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    """Return the metadata of an execution that an attempt starts: what its parent's creator has added to that is
    inherited; the child's own `labels` and `annotations` win over it.
    """
    info, name = node.execution.info, node.execution.pod_name(node.number, attempt)
    shard = info.labels.get(SHARD_LABEL)
    own = {"project": info.project, "domain": info.domain, EXECUTION_LABEL: label_value(name)}
    pools = annotations.get(POOLS_ANNOTATION) or info.annotations.get(POOLS_ANNOTATION)
    return {
        "name": name,
        "namespace": info.namespace,
        "labels": {
            **_others(info.labels),
            **_others(labels),
            **own,
            **({SHARD_LABEL: shard} if shard is not None else {}),
        },
        "annotations": {
            **{key: value for key, value in others_annotations(info.annotations).items() if key not in _NOT_FOR_PODS},
            **others_annotations(annotations),
            **({POOLS_ANNOTATION: pools} if pools else {}),
            **_claim(node, attempt),
        },
        "ownerReferences": node.execution.cached(_of_execution)[2],
    }


def _others(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels without those that each execution has of its own."""
    return {key: value for key, value in others_labels(labels).items() if key not in _OF_EXECUTIONS}


def _is_plain(unique_id: str, path: str) -> bool:
    """Whether the unique id is the path, and can be nothing else."""
    return path == unique_id and "-" not in path and not (path.startswith("f") and len(path) == HASHED_LENGTH)


def _of_execution(execution: Execution) -> tuple[dict[str, str], dict[str, str], list[dict[str, Any]]]:
    """The labels, annotations and owners of all its attempts' resources."""
    info = execution.info
    labels = info.labels | {EXECUTION_LABEL: info.labels.get(EXECUTION_LABEL, label_value(info.execution_name))}
    run_as = info.spec.security_context.run_as
    if run_as is not None and run_as.execution_identity:
        labels[IDENTITY_LABEL] = label_value(run_as.execution_identity)
    labels = {key: value for key, value in labels.items() if not key.startswith(_OWN_PREFIX)}
    annotations = {
        key: value for key, value in others_annotations(info.annotations).items() if key not in _NOT_FOR_PODS
    }
    owner = {
        "apiVersion": "flyte.lyft.com/v1alpha1",
        "kind": "FlyteWorkflow",
        "name": info.name,
        "uid": info.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return labels, annotations, [owner]


def others_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """A task's labels without those by which pods are known to be ours, also where a pod would have none of a name."""
    return {key: value for key, value in labels.items() if key not in _OWN_LABELS and not key.startswith(_OWN_PREFIX)}


def others_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """A task's or an execution's annotations without those that are read back from pods."""
    return {
        key: value for key, value in annotations.items() if key != PRIMARY_CONTAINER and not key.startswith(_OWN_PREFIX)
    }


def without_own(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return annotations without those that identify an attempt: for a pod template, whose pods are none themselves."""
    return {key: value for key, value in annotations.items() if not key.startswith(_OWN_PREFIX)}


def is_interruptible(node: NodeView) -> bool:
    """Whether the attempt may run on machines that can be taken away: by default all but the last one that failures by
    the system's fault leave (node_exec_context.go, isAboveInterruptibleFailureThreshold).
    """
    settings, threshold = node.execution.settings, node.execution.settings.interruptible_failures
    most = threshold if threshold > 0 else settings.system_retries + 1 + threshold
    if node.execution.system_failures.get(node.number, 0) >= most:
        return False
    if node.spec.interruptible is not None:
        return node.spec.interruptible
    spec = node.execution.info.spec
    chosen = spec.execution_config.interruptible
    return spec.node_defaults.interruptible if chosen is None else chosen
