"""A server restored from an older copy: what was written since is void, and executions are loaded from what it has now.

Guarantees
    Nothing is loaded, stopped or collected by what the caches have before those of workflows and pods have been listed
    since one of them has noticed: a status of after the copy could stop pods that are back.
    Then every workflow is reconciled, as by a new process.
Caveats
    The caches of other plugins are listed anew, and not waited for: the copy may be older than their types. What such a
    cache then finds changed are events, and what it finds older starts over again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from propeller.controller._executions import Executions
from propeller.controller._resource import FlyteWorkflow
from propeller.informers import Informer
from propeller.kube import Pod

_log = logging.getLogger(__name__)


class Restores:
    """See the module's text. `others` are the caches of plugins other than the pod."""

    def __init__(
        self,
        executions: Executions,
        workflows: Informer[FlyteWorkflow],
        pods: Informer[Pod],
        others: Iterable[Informer[Any]] = (),
    ) -> None:
        self._executions = executions
        self._workflows = workflows
        self._pods = pods
        self._others = tuple(others)
        self._unlisted = 0

    @property
    def is_settled(self) -> bool:
        """Whether the caches of workflows and pods have what the server has, as far as is known."""
        return not self._unlisted

    def subscribe(self) -> None:
        """Have the caches tell of restores."""
        informers: tuple[Informer[Any], ...] = (self._pods, self._workflows, *self._others)
        for informer in informers:
            self._subscribe(informer)

    def _subscribe(self, noticing: Informer[Any]) -> None:
        awaited = [informer for informer in (self._workflows, self._pods) if informer is not noticing]
        others = [informer for informer in self._others if informer is not noticing]
        noticing.subscribe_restores(lambda: self._start_over(awaited, others))

    def _start_over(self, awaited: Iterable[Informer[Any]], others: Iterable[Informer[Any]]) -> None:
        """One cache has noticed, and been listed: the others are to be."""
        count = self._executions.start_over()
        _log.warning("the server was restored from an older copy: %d executions are loaded again", count)
        for informer in awaited:
            self._unlisted += 1
            informer.relist(self._listed_anew)
        for informer in others:
            informer.relist(_nothing)

    def _listed_anew(self) -> None:
        self._unlisted -= 1
        if self.is_settled:
            for workflow in self._workflows.store:
                self._executions.reconcile(workflow.key)


def _nothing() -> None:
    """What its list finds changed are events."""
