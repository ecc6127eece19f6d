"""Load executions into memory: new ones, those of an earlier process, and evicted ones.

Guarantees
    A new execution whose object is complete is loaded at once; any other is loaded by a worker.
    A workflow that cannot run ends as failed, with the reason in its status. One with a damaged state, or that of
    another version, is left as it is and checked again (docs/consistency.md). All other errors are retried after a
    pause.
"""

from __future__ import annotations

import logging

from propeller.controller._checkpointer import Checkpointer, Deleted
from propeller.controller._cluster_shards import ClusterShards
from propeller.controller._duty import Shared
from propeller.controller._effects import EffectRunner
from propeller.controller._holds import Holds
from propeller.controller._loading import Loader, recover_attempts, stops_owed
from propeller.controller._not_understood import UnknownStates
from propeller.controller._resource import FlyteWorkflow
from propeller.controller._session import Loading, Running, Session
from propeller.errors import CorruptBlob, Invalid, MissingBlob, NotFound, NotUnderstood, PropellerError
from propeller.workflow import Execution, Failure, StopAttempt, WorkflowPhase

_log = logging.getLogger(__name__)


class Intake:
    """See the module's text."""

    def __init__(
        self,
        shared: Shared,
        loader: Loader,
        checkpointer: Checkpointer,
        effects: EffectRunner,
        holds: Holds,
        cluster_shards: ClusterShards,
    ) -> None:
        self._loader = loader
        self._checkpointer = checkpointer
        self._effects = effects
        self._holds = holds
        self._cluster_shards = cluster_shards
        self._executions = shared.executions
        self._lane = shared.lanes.observe
        self._clusters = shared.clusters
        self._placing = shared.placing
        self._settings = shared.settings
        self._milestones = shared.milestones
        self._causes = shared.causes
        self._clock = shared.clock
        self.waiting = UnknownStates()
        """Executions whose state this process does not understand."""

    def begin(self, workflow: FlyteWorkflow) -> Session:
        """Hold an execution in memory from now on: it runs at once, or when it has been loaded."""
        metadata = workflow.metadata
        session = Loading(workflow.key, metadata.uid)
        session.record(metadata, workflow.status)
        self._executions.put(session)
        loaded = self._loader.load_now(workflow, self._clock.now())
        if loaded is None:
            self._lane.submit(workflow.key, lambda: self._load(session, workflow))
            return session
        try:
            return self._loaded(session, *loaded)
        except Exception:
            self._executions.forget(session)  # half loaded, it would wait for ever
            self._executions.failed(session.key)
            raise

    def left(self, workflow: FlyteWorkflow) -> float:
        """Return the seconds until a workflow with an unknown state is checked again, 0 for any other."""
        return self.waiting.left(workflow.key, workflow.metadata, self._clock.now())

    async def _load(self, session: Loading, workflow: FlyteWorkflow) -> None:
        try:
            resources = self._clusters.resources_of(session.uid)
            execution, is_new = await self._loader.load(workflow, self._clock.now(), resources)
        except (Invalid, CorruptBlob, MissingBlob) as error:
            await self._reject(session, workflow, error)
            return
        except NotUnderstood as error:
            await self._leave_alone(session, workflow, error)
            return
        except NotFound as error:
            _log.info("%s", error)
            self._executions.forget(session)
            self._executions.retry_later(session.key)  # it is gone or another one; or its type is not served
            return
        except PropellerError as error:
            self._causes.report(error, "%s could not be loaded, trying again", session.key)
            self._executions.forget(session)
            self._executions.retry_later(session.key)
            return
        if self._executions.is_current(session):
            self._loaded(session, execution, is_new)
            self._executions.reconcile(session.key)

    def _loaded(self, loading: Loading, execution: Execution, is_new: bool) -> Loading | Running:
        """Start running it, with the attempts that its resources show, and stop what an earlier process left to be
        stopped. It stays in loading if it is given to another shard.
        """
        self.waiting.end(loading.key)
        execution.stop_margin, execution.settings = self._settings.controller.stop_margin, self._settings.attempts
        resources = self._clusters.resources_of(loading.uid)
        recover_attempts(execution, resources)
        self._placing.loaded(execution, is_new=is_new)
        if is_new and not resources and loading.is_unwritten and self._cluster_shards.give(loading, execution):
            return loading
        self._executions.begun.hand_over(execution)
        session = Running(loading, execution, is_new=is_new)
        owed = [] if is_new else stops_owed(execution, resources)
        self._executions.put(session)
        self._holds.loaded(session)
        if execution.phase.ended:  # its status says so only in the snapshot
            session.record_change(self._clock.now())
        if not is_new and not session.status_bytes:  # FlytePropeller's: from here on the status is ours
            session.record_change(self._clock.now())
            others = execution.slots.stopping.difference((stop.node, stop.attempt) for stop in owed)
            session.deferred = [*owed, *(StopAttempt(node, attempt) for node, attempt in sorted(others))]
            return session
        for stop in owed:  # the status that was loaded has the reason
            self._effects.start(session, stop)
        return session

    async def _leave_alone(self, session: Loading, workflow: FlyteWorkflow, error: NotUnderstood) -> None:
        """Leave a workflow as it is. If it is being deleted it is aborted all the same, which needs no knowledge of its
        state.
        """
        if workflow.metadata.deletion_timestamp is not None:
            await self._reject(session, workflow, error, WorkflowPhase.ABORTED)
            return
        self._milestones.left_alone(workflow, error)
        self._executions.forget(session)
        pause = self.waiting.begin(session.key, workflow.metadata, error, self._clock.now())
        self._executions.reconcile_after(session.key, pause)

    async def _reject(
        self,
        session: Loading,
        workflow: FlyteWorkflow,
        error: PropellerError,
        phase: WorkflowPhase = WorkflowPhase.FAILED,
    ) -> None:
        """Write the end of a workflow that cannot run, or that is deleted with an unknown state."""
        failure = Failure("BadWorkflow" if phase is WorkflowPhase.FAILED else "Aborted", str(error), error.kind)
        try:
            version = await self._checkpointer.reject(workflow, failure, session.version, phase)
        except Deleted:
            self._executions.forget(session)
            self._executions.retry_later(session.key)
        except PropellerError as unwritten:
            self._causes.report(unwritten, "%s: its rejection could not be written, trying again", session.key)
            self._executions.forget(session)
            self._executions.retry_later(session.key)
        else:
            self._milestones.rejected(workflow, phase, failure)
            self._loader.forget(session.uid)
            self._executions.failed(session.key, once_free=True)  # else taking the end away would be answered at once
            self._executions.reload(session, version)
            self._executions.reconcile(session.key)  # the cache may have it: that event found the session still held
