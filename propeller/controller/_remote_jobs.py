"""Jobs of remote services, as the controller has to do with them: news of them, and the finalizer of their workflow.

Guarantees
    Before a service is asked for the first job of an execution, its FlyteWorkflow has a finalizer: whoever deletes it,
    its jobs are deleted before it goes. Executions without such jobs cost no request.
    News of an execution that is not in memory load it; the job is looked at again then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from propeller.controller._executions import Executions
from propeller.controller._finalizers import JOBS_FINALIZER
from propeller.controller._resource import WORKFLOWS
from propeller.controller._session import Running
from propeller.errors import Conflict, NotFound, Unavailable
from propeller.handlers import Holder
from propeller.kube import Client, PatchKind
from propeller.workflow import ENDED, ExecutionInfo, NodeEvent

METADATA = WORKFLOWS.metadata_only()

MAX_CONFLICTS = 5

REMEMBERED = 100_000
"""Workflows that are known to have the finalizer: of others the server is asked once more."""


class JobNews:
    """Tells executions of their jobs."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    def tell(self, holder: Holder, event: NodeEvent) -> bool:
        """Tell an execution; returns whether it has heard, or does not have to: its attempt is over."""
        session = self._executions.get(holder.execution)
        if session is None:
            self._executions.reconcile(holder.execution)
            return False
        if session.uid != holder.uid:
            return True
        if not isinstance(session, Running) or not session.begun:
            return not isinstance(session, Running) and session.stage == "ended"
        execution = session.execution
        if holder.node < len(execution.phases) and execution.phases[holder.node] not in ENDED:
            self._executions.notify(session, holder.node, event)
        return True


class Held(NamedTuple):
    """A FlyteWorkflow that has the finalizer."""

    namespace: str
    name: str


class JobFinalizers:
    """Puts the finalizer onto workflows whose jobs it is for."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._held: OrderedDict[str, Held] = OrderedDict()
        """By uid, the last `REMEMBERED`."""

    def of(self, uid: str) -> Held | None:
        """Return which workflow was held, None if it is forgotten."""
        return self._held.get(uid)

    async def hold(self, info: ExecutionInfo) -> None:
        """Give the FlyteWorkflow of an execution the finalizer. Raises NotFound if it is gone or being deleted, and
        what the client raises.
        """
        if info.uid in self._held:
            return
        where = f"hold FlyteWorkflow {info.namespace}/{info.name}"
        for _ in range(MAX_CONFLICTS):
            found = (await self._client.get(METADATA, info.name, info.namespace)).metadata
            if found.uid != info.uid or found.deletion_timestamp is not None:
                raise NotFound(f"{where}: it is gone, or being deleted", status=404)
            if JOBS_FINALIZER not in found.finalizers:
                finalizers = [*found.finalizers, JOBS_FINALIZER]
                identity = {"resourceVersion": found.resource_version, "uid": found.uid}
                body = {"metadata": identity | {"finalizers": finalizers}}
                try:
                    await self._client.patch(METADATA, info.name, info.namespace, body=body, kind=PatchKind.MERGE)
                except Conflict:
                    continue
            self._held[info.uid] = Held(info.namespace, info.name)
            if len(self._held) > REMEMBERED:
                self._held.popitem(last=False)
            return
        raise Unavailable(f"{where}: it changes faster than a finalizer can be added")
