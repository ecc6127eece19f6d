"""Reload all executions after the API server was restored from an older backup.

Guarantees
    When one cache notices a restore, nothing is loaded, stopped or deleted until the caches of workflows and pods have
    been listed again: a status newer than the backup could stop pods that are back. Then every workflow is reconciled,
    as after a restart.
Caveats
    The caches of other plugins are waited for no longer than the client's deadline: the backup may be older than their
    resource types. Changes that such a cache finds later are handled as events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from propeller.controller._duty import Shared
from propeller.controller._resource import FlyteWorkflow
from propeller.informers import AnyInformer

_log = logging.getLogger(__name__)


class Restores:
    """See the module's text."""

    def __init__(self, shared: Shared, workflows: AnyInformer[FlyteWorkflow]) -> None:
        self._executions = shared.executions
        self._workflows = workflows
        resources = shared.clusters.control.resources
        self._pods = resources.pods
        self._others = resources.others
        self._deadline = shared.settings.client.deadline
        self._unlisted = 0

    @property
    def is_settled(self) -> bool:
        """Whether all caches have been listed since the last restore that was noticed."""
        return not self._unlisted

    def subscribe(self) -> None:
        """Subscribe to restores that the caches notice."""
        informers: tuple[AnyInformer[Any], ...] = (self._pods, self._workflows, *self._others)
        for informer in informers:
            self._subscribe(informer)

    def _subscribe(self, noticing: AnyInformer[Any]) -> None:
        awaited = [informer for informer in (self._workflows, self._pods) if informer is not noticing]
        others = [informer for informer in self._others if informer is not noticing]
        noticing.subscribe_restores(lambda: self._start_over(awaited, others))

    def _start_over(self, awaited: Iterable[AnyInformer[Any]], others: Iterable[AnyInformer[Any]]) -> None:
        """One cache has noticed a restore and was listed: list the others."""
        count = self._executions.start_over()
        _log.warning("the server was restored from an older copy: %d executions are loaded again", count)
        for informer in awaited:
            self._unlisted += 1
            informer.relist(self._listed_anew)
        for informer in others:
            self._relist_for_a_while(informer)

    def _relist_for_a_while(self, informer: AnyInformer[Any]) -> None:
        """List a cache again, and stop waiting for it after the deadline: its type may not be served."""
        self._unlisted += 1
        waiting = [self._listed_anew]

        def go_on() -> None:
            if waiting:
                waiting.pop()()

        informer.relist(go_on)
        asyncio.get_running_loop().call_later(self._deadline, go_on)

    def _listed_anew(self) -> None:
        self._unlisted -= 1
        if self.is_settled:
            for workflow in self._workflows.store:
                self._executions.reconcile(workflow.key)
