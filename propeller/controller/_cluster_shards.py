"""Give new executions to the shard of their cluster, if that has one of its own (`shards.clusters`).

An execution begins in the shard of its name's key. If its cluster, chosen when it is loaded, has a shard, the label by
which shards select gets that shard's key, and whoever has that shard runs the execution.

Guarantees
    Of a new execution either the label is written, or a status: both name the resourceVersion at which the object had
    neither, so the server lets one of them pass. Nothing else is done for an execution before (`Placements.claim`). So
    whoever has done anything for it has the shard that it stays in, whatever requests are on their way.
    An execution goes to the shard of a cluster once, and stays there, wherever its attempts go later. One that another
    execution has started stays in that one's shard, as whoever runs that has to see its end.
Caveats
    An execution that no cluster can take when it is loaded stays in the shard of its name's key.
"""

from __future__ import annotations

import logging

from propeller.controller._checkpointer import WRITTEN
from propeller.controller._duty import Shared
from propeller.controller._session import Loading
from propeller.errors import NotFound, PropellerError
from propeller.handlers.plugins import NESTING_ANNOTATION
from propeller.kube import ObjectMeta, PatchKind
from propeller.reconcile.shards import LabelShards
from propeller.workflow import SHARD_LABEL, Execution, key_of_cluster

_log = logging.getLogger(__name__)


class ClusterShards:
    """See the module's text. `shards` is how workflows are divided, None if they are not."""

    def __init__(self, shared: Shared, shards: LabelShards | None) -> None:
        self._shards = shards
        self._client = shared.client
        self._executions = shared.executions
        self._placing = shared.placing
        self._lane = shared.lanes.observe
        self._causes = shared.causes

    def give(self, session: Loading, execution: Execution) -> bool:
        """Begin to give a new execution, without a status, to the shard of its cluster; False if it stays here."""
        shards, placements = self._shards, execution.placements
        if shards is None or not shards.named or placements is None or not placements.home:
            return False
        key = key_of_cluster(placements.home)
        if NESTING_ANNOTATION in execution.info.annotations:
            return False
        if key not in shards.named or shards.name_of(execution.info.labels):
            return False
        self._placing.forget(session.uid)
        self._lane.submit(session.key, lambda: self._label(session, execution.info.name, key))
        return True

    async def _label(self, session: Loading, name: str, key: str) -> None:
        metadata = {"resourceVersion": session.version, "uid": session.uid, "labels": {SHARD_LABEL: key}}
        namespace = session.key.partition("/")[0]
        try:
            written: ObjectMeta = (
                await self._client.patch(WRITTEN, name, namespace, body={"metadata": metadata}, kind=PatchKind.MERGE)
            ).metadata
        except PropellerError as error:  # it may have been written: then a status of ours will not be
            if not isinstance(error, NotFound):
                self._causes.report(error, "%s could not be given to shard %s, trying again", session.key, key)
            self._executions.forget(session)
            self._executions.retry_later(session.key)
            return
        _log.info("%s goes to shard %s", session.key, key)
        if self._executions.is_current(session):
            self._executions.reload(session, written.resource_version)
            self._executions.reconcile(session.key)
