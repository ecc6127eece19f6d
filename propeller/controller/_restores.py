"""A server restored from an older copy: what was written since is void, and executions are loaded from what it has now.

Guarantees
    Nothing is loaded, stopped or collected by what the caches have before both have been listed since one of them has
    noticed: a status of after the copy could stop pods that are back.
    Then every workflow is reconciled, as by a new process.
"""

from __future__ import annotations

import logging
from typing import Any

from propeller.controller._executions import Executions
from propeller.controller._resource import FlyteWorkflow
from propeller.informers import Informer
from propeller.kube import Pod

_log = logging.getLogger(__name__)


class Restores:
    """See the module's text."""

    def __init__(self, executions: Executions, workflows: Informer[FlyteWorkflow], pods: Informer[Pod]) -> None:
        self._executions = executions
        self._workflows = workflows
        self._pods = pods
        self._unlisted = 0

    @property
    def is_settled(self) -> bool:
        """Whether both caches have what the server has, as far as is known."""
        return not self._unlisted

    def subscribe(self) -> None:
        """Have the caches tell of restores."""
        self._pods.subscribe_restores(lambda: self._start_over(self._workflows))
        self._workflows.subscribe_restores(lambda: self._start_over(self._pods))

    def _start_over(self, other: Informer[Any]) -> None:
        """One cache has noticed, and been listed: the `other` is to be."""
        count = self._executions.start_over()
        _log.warning("the server was restored from an older copy: %d executions are loaded again", count)
        self._unlisted += 1
        other.relist(self._listed_anew)

    def _listed_anew(self) -> None:
        self._unlisted -= 1
        if self.is_settled:
            for workflow in self._workflows.store:
                self._executions.reconcile(workflow.key)
