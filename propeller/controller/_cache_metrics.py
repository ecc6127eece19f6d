"""Metrics of the caches of the control cluster."""

from __future__ import annotations

from typing import Any

from propeller.controller._clusters import ExecutionCluster
from propeller.controller._resource import WORKFLOWS, FlyteWorkflow
from propeller.informers import AnyInformer
from propeller.telemetry import Metrics


def watch_caches(metrics: Metrics, workflows: AnyInformer[FlyteWorkflow], control: ExecutionCluster) -> None:
    """Have scrapes read the caches, and count what they cannot decode."""
    caches: dict[str, AnyInformer[Any]] = {WORKFLOWS.kind: workflows, **control.resources.by_kind()}
    caches |= {informer.resource.kind: informer for informer in control.quotas.informers}
    for kind, informer in caches.items():
        metrics.watch_cache(kind, informer)
        informer.subscribe_undecodable(metrics.undecodable_of(kind))
