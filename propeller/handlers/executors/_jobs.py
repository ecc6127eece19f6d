"""Follow the jobs of remote services: look at them in turn, tell their executions, delete them.

Guarantees
    A job is followed whether or not its execution is in memory; what a look shows is told until it was heard.
    Outputs that a service hands over are stored before anybody hears that the job has succeeded.
    A service that does not answer is waited for, and the job says so. One that answers with an error
    `connectors.max_failures` times in a row fails the attempt by the system's fault, unless outputs in the object store
    prove that it has succeeded.
    A job that was created is remembered until a status has its id: an execution that is loaded again from an older
    status gets the same job, and not another one.
    `may_act` is asked before a service is asked to begin or to delete a job: a process that has stood still, and whose
    work another one has by now, does neither. Looks pass: they change nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import msgspec

from propeller.beside import beside
from propeller.clock import Clock
from propeller.connectors import ConnectorOptions, Directory, MayAct, Nobody, Poller, Service, Unknown, always
from propeller.errors import Denied, ErrorKind, NotFound, PropellerError, Retryable, Unavailable
from propeller.handlers.executors._job_deletes import UNRECORDED, DeleteRecords, JobDeletes
from propeller.handlers.executors._outcome import has_ended
from propeller.handlers.executors._tokens import LaunchTokens
from propeller.handlers.executors._waits import Holder, holder_of, tenant_of
from propeller.handlers.plugins import ConnectorPlugin, JobState, Plugins, RemotePlugin, RemoteTask
from propeller.handlers.plugins.pod import can_be_pod
from propeller.resourcemgr import Path
from propeller.storage import Storage
from propeller.telemetry import Causes
from propeller.workflow import (
    JOB_FILE,
    AttemptObserved,
    AttemptPhase,
    ExecutionInfo,
    Failure,
    Job,
    JobRecord,
    JobSeen,
    Look,
    NodeEvent,
    NodeView,
    Remains,
)

_log = logging.getLogger(__name__)

LOST, BROKEN = "JobNotFound", "ConnectorFailed"
"""Error codes of attempts whose service does not know the job, or answers with errors."""

SILENT = "UNKNOWN"
"""The phase that is shown of a job whose service does not answer."""

Tell = Callable[[Holder, NodeEvent], bool]
"""Tell the execution of a job; returns whether it has heard, or will not: then the job is over."""

Hold = Callable[[ExecutionInfo], Awaitable[None]]
"""Keep the FlyteWorkflow of an execution until its jobs are over. Raises NotFound if it is gone or being deleted."""


class _Watch(msgspec.Struct):
    """A job that is followed."""

    holder: Holder
    job: Job
    output_prefix: str
    has_outputs: bool
    tenant: Path = ()
    failures: int = 0
    """Looks in a row that were answered with an error."""
    shown: JobState | None = None
    """What its execution has heard last: mostly, the next look shows the same."""


_Key = tuple[str, int, int]


class RemoteJobs:
    """See the module's text. Without a `directory` there are no connectors.

    More than 15 methods: one for each thing that happens to a job.
    """

    def __init__(
        self,
        plugins: Plugins,
        directory: Directory | None,
        options: ConnectorOptions,
        storage: Storage,
        clock: Clock,
        tokens: LaunchTokens | None,
        tell: Tell,
        hold: Hold,
        may_act: MayAct = always,
        *,
        records: DeleteRecords = UNRECORDED,
    ) -> None:
        self._plugins = plugins
        self._may_act = may_act
        self._directory = directory
        self._connectors = None if directory is None else ConnectorPlugin(directory)
        self._options = options
        self._storage = storage
        self._clock = clock
        self._tokens = tokens
        self._tell = tell
        self.hold = hold
        self.is_used = directory is not None or bool(plugins.remote)
        """Whether any task may run remotely."""
        self._watched: dict[_Key, _Watch] = {}
        self._of: dict[str, set[_Key]] = {}
        """By uid of an execution."""
        self._created: dict[str, dict[str, Job]] = {}
        """By uid of an execution and name of the attempt: jobs whose ids no status has, as far as is known."""
        self._starting: dict[tuple[str, str], asyncio.Task[Job | JobState]] = {}
        self._unwanted: set[tuple[str, str]] = set()
        """Those of them whose execution is forgotten."""
        self._deletes = JobDeletes(self._plugin_of, options, clock, may_act, records)
        self._poller: Poller[_Key] = Poller(options, self._look, self._service_of, self._tenant_of, clock)
        self._causes = Causes(_log)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look at jobs until the block is left. Awaits no service."""
        listing = nullcontext() if self._directory is None else self._directory.running()
        async with listing, beside(self._poller.run(), "looks at jobs"):
            try:
                yield
            finally:
                tasks: list[asyncio.Task[Any]] = [*self._deletes.under_way, *self._starting.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def of(self, node: NodeView) -> RemotePlugin | Unknown | Nobody | None:
        """Return what runs a task node remotely; why it is not known, or that nobody does; None if it is a pod's, or
        another resource's.
        """
        if node.spec.workflow is not None:
            return None  # a launch plan's node: a workflow of its own, and no task
        task = node.graph.plan.task(node.spec.task)
        if (plugin := self._plugins.remote.get(task.type)) is not None:
            return plugin
        if self._connectors is None or not self._plugins.is_free(task.type):
            return None
        found = self._connectors.find(node)
        if isinstance(found, Service) and not found.by_default:
            return self._connectors
        is_free = not isinstance(found, Unknown) and not (isinstance(found, Nobody) and found.has_versions)
        if is_free and node.graph.plan.of_task(node.spec.task, can_be_pod):
            return None
        return self._connectors if isinstance(found, Service) else found

    def follow(self, node: NodeView, attempt: int) -> None:
        """Look at the attempt's job until it has ended, also once its execution has left memory."""
        job = node.execution.jobs.of(node.number, attempt)
        if job is None:
            return
        if self._tokens is not None:
            self._tokens.job_runs(node, attempt)
        uid = node.execution.info.uid
        self._has_status(uid, node.execution.pod_name(node.number, attempt))
        key = (uid, node.number, attempt)
        task = node.graph.plan.task(node.spec.task)
        prefix = node.execution.output_directory(node.number, attempt)
        known = self._watched.get(key)
        failures = known.failures if known is not None and known.job.id == job.id else 0
        self._watched[key] = _Watch(
            holder_of(node, attempt),
            job,
            prefix,
            bool(task.interface.outputs.variables),
            tenant_of(node.execution.info),
            failures,
        )
        self._of.setdefault(uid, set()).add(key)
        self._poller.follow(key, self._clock.now() - job.since)

    async def create(self, plugin: RemotePlugin, task: RemoteTask) -> Job | JobState:
        """Start an attempt, and return its job; or how it has ended. One that was started already, or is being started
        for an execution that was loaded again meanwhile, is not started twice. Raises as the plugin does.
        """
        if (job := self._created.get(task.uid, {}).get(task.name)) is not None:
            return msgspec.structs.replace(job, node=task.node.number)
        key = (task.uid, task.name)
        self._unwanted.discard(key)
        if (starting := self._starting.get(key)) is None:
            starting = self._starting[key] = asyncio.create_task(self._create(plugin, task), name="create a job")
            starting.add_done_callback(functools.partial(self._was_started, key))
        return await asyncio.shield(starting)

    def _was_started(self, key: tuple[str, str], task: asyncio.Task[Job | JobState]) -> None:
        self._starting.pop(key, None)
        failed = task.cancelled() or task.exception() is not None  # those who wait for it have it
        if key in self._unwanted:
            self._unwanted.discard(key)
            if not failed and isinstance(job := task.result(), Job):
                self.abandon(*key, job)

    async def _create(self, plugin: RemotePlugin, task: RemoteTask) -> Job | JobState:
        self._may_act()
        began = self._job_of(task)  # before another service may be the one that runs its type
        created = await plugin.create(task)
        if isinstance(created, JobState):
            return created
        job = msgspec.structs.replace(began, id=created, since=self._clock.now())
        self._created.setdefault(task.uid, {})[task.name] = job
        return job

    def _job_of(self, task: RemoteTask) -> Job:
        declared, now = task.node.graph.plan.task(task.node.spec.task), self._clock.now()
        job = Job(task.node.number, task.attempt, declared.type, declared.task_type_version, b"", now)
        if self._connectors is None or job.task_type in self._plugins.remote:
            return job
        return msgspec.structs.replace(job, service=self._connectors.service_of(job))

    def _has_status(self, uid: str, name: str) -> None:
        if (names := self._created.get(uid)) is not None:
            names.pop(name, None)
            if not names:
                del self._created[uid]

    def forget(self, uid: str) -> None:
        """Nothing of the execution is followed any more: it has ended, or another process has it. Jobs that it does not
        know are deleted, also once they have been started.
        """
        self._unwanted.update(key for key in self._starting if key[0] == uid)
        for job in self._created.pop(uid, {}).values():
            self._deletes.abandon(uid, job)
        for key in self._of.pop(uid, ()):
            self._watched.pop(key, None)
            self._poller.forget(key)

    async def look_now(self, node: NodeView, attempt: int) -> AttemptObserved | None:
        """Look at an attempt's job once, and return its end if it has ended. Raises nothing: a service that does not
        answer shows nothing.
        """
        job = node.execution.jobs.of(node.number, attempt)
        if job is None:
            return None
        prefix = node.execution.output_directory(node.number, attempt)
        has_outputs = bool(node.graph.plan.task(node.spec.task).interface.outputs.variables)
        try:
            state = await self._plugin_of(job).get(job, prefix)
            return await self._ended(state, job, prefix, has_outputs=has_outputs)
        except PropellerError as error:
            self._causes.report(error, "%s: its job cannot be looked at", node.log_name)
            return None

    async def ran(self, state: JobState, task: RemoteTask, *, has_outputs: bool) -> AttemptObserved | None:
        """Return the end of an attempt that was run within one call, None if that is no end. Raises as `_ended`."""
        return await self._ended(state, self._job_of(task), task.output_prefix, has_outputs=has_outputs)

    async def _ended(self, state: JobState, job: Job, prefix: str, *, has_outputs: bool) -> AttemptObserved | None:
        """Return the end of an attempt that a state shows, None if it goes on. Stores its outputs, and what is left of
        the job. Raises StorageError, and Invalid for outputs that are too large.
        """
        if state.phase < AttemptPhase.SUCCEEDED:
            return None
        record = msgspec.json.encode(JobRecord.of(job.seen(_look(state))))
        if state.phase is AttemptPhase.SUCCEEDED:
            if has_outputs and state.outputs is not None:
                await self._storage.write(f"{prefix}/outputs.pb", state.outputs)
            await self._storage.write(f"{prefix}/{JOB_FILE}", record)
            return AttemptObserved(job.attempt, AttemptPhase.SUCCEEDED)
        try:
            await self._storage.write(f"{prefix}/{JOB_FILE}", record)
        except PropellerError as error:  # a failure needs no storage to be known
            self._causes.report(error, "what is left of a job of %s is not stored", prefix)
        failure = state.failure or Failure(BROKEN, "the job has failed, and its service says no reason")
        return AttemptObserved(job.attempt, AttemptPhase.FAILED, failure=failure)

    def abandon(self, uid: str, name: str, job: Job) -> None:
        """Delete a job of an attempt that no status will have."""
        self._has_status(uid, name)
        self._deletes.abandon(uid, job)

    def are_left(self, uid: str) -> bool:
        """Whether jobs of an execution that no status has are being started, or are not deleted yet."""
        return self._deletes.are_left(uid) or any(key[0] == uid for key in self._starting)

    async def delete(self, uid: str, job: Job) -> None:
        """Delete a job. Raises as `JobDeletes.delete`."""
        await self._deletes.delete(uid, job)

    def _plugin_of(self, job: Job) -> RemotePlugin:
        """Return the plugin of a job that was created. Raises Unavailable."""
        plugin = self._plugins.remote.get(job.task_type, self._connectors)
        if plugin is None:
            raise Unavailable(
                f"a job of task type {job.task_type!r} runs, and nothing is configured that knows it: see the setting "
                "connectors.services"
            )
        return plugin

    def _service_of(self, key: _Key) -> str:
        """Return whose looks a job's are counted with: its service's, or those of the type of an installed plugin."""
        if (watch := self._watched.get(key)) is None:
            return ""
        if self._connectors is None or watch.job.task_type in self._plugins.remote:
            return f"task type {watch.job.task_type}"
        return self._connectors.service_of(watch.job)

    def _tenant_of(self, key: _Key) -> Path:
        watch = self._watched.get(key)
        return () if watch is None else watch.tenant

    async def _look(self, key: _Key) -> bool:
        """Look at a job, and tell its execution what is new. Returns whether the service has answered."""
        if (watch := self._watched.get(key)) is None:
            return True
        try:
            state = await self._plugin_of(watch.job).get(watch.job, watch.output_prefix)
            ended = await self._ended(state, watch.job, watch.output_prefix, has_outputs=watch.has_outputs)
        except (Retryable, Denied) as error:
            self._causes.report(error, "%s: its job cannot be looked at", watch.holder.execution)
            watch.shown = None
            self._show(key, watch, watch.job.seen(Look.of(SILENT, str(error), watch.job.links, watch.job.info)))
            return False
        except PropellerError as error:
            self._causes.report(error, "%s: its job cannot be looked at", watch.holder.execution)
            watch.failures += 1
            if watch.failures < self._options.max_failures:
                return False
            ended = await self._broken(watch, error)
        else:
            watch.failures = 0
            if ended is None:
                if state != watch.shown and self._show(key, watch, watch.job.seen(_look(state))):
                    watch.shown = state
                return True
        if self._watched.get(key) is watch and self._tell(watch.holder, ended):
            self._drop(key, watch)
        return True

    async def _broken(self, watch: _Watch, error: PropellerError) -> AttemptObserved:
        """Return the end of an attempt whose service has answered with errors alone. Raises StorageError."""
        attempt = watch.job.attempt
        if watch.has_outputs and await has_ended(watch.output_prefix, self._storage):
            return AttemptObserved(attempt, AttemptPhase.SUCCEEDED)  # its documents in the object store prove it
        code, remains = (LOST, Remains.NOTHING) if isinstance(error, NotFound) else (BROKEN, Remains.RUNNING)
        why = f"{watch.failures} looks in a row at its job have failed: {error}"
        failure = Failure(code, why, ErrorKind.SYSTEM, recoverable=True, attempt=attempt)
        return AttemptObserved(attempt, AttemptPhase.FAILED, failure=failure, remains=remains)

    def _show(self, key: _Key, watch: _Watch, job: Job) -> bool:
        """Tell what is new of a job that goes on; returns whether it was heard: if not, the next look tells it."""
        if job != watch.job:
            if self._watched.get(key) is not watch or not self._tell(watch.holder, JobSeen(job.attempt, job)):
                return False
            watch.job = job
        return True

    def _drop(self, key: _Key, watch: _Watch) -> None:
        self._poller.forget(key)
        self._watched.pop(key, None)
        if (keys := self._of.get(key[0])) is not None:
            keys.discard(key)
            if not keys:
                del self._of[key[0]]
        if self._tokens is not None:
            self._tokens.job_ended(watch.holder.uid, watch.holder.claim)

    def stopped(self, node: NodeView, attempt: int) -> None:
        """An attempt's job was deleted, or is given up."""
        key = (node.execution.info.uid, node.number, attempt)
        if (watch := self._watched.get(key)) is not None:
            self._drop(key, watch)
        elif self._tokens is not None:
            holder = holder_of(node, attempt)
            self._tokens.job_ended(holder.uid, holder.claim)


def _look(state: JobState) -> Look:
    return Look.of(state.word, state.message, state.links, state.info)
