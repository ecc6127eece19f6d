"""The FlyteWorkflow controller: informers feed rounds, rounds decide, effects act, checkpoints make it durable.

Guarantees
    A round is synchronous and never awaits the network; effects run beside it, fairly between executions, a bounded
    number at once.
    A node's success starts its successors at once. The status is written when the execution ends, and before that at
    most every `checkpoint.max_lag` seconds, less often where it is large or many run. Between two writes pods are the
    record (docs/consistency.md): none is stopped before a status has the reason. Of an execution that has ended none is
    left running, whoever launched it.
    An execution without news for `controller.idle` seconds is in memory as a plan that it shares, and a status.
    An ended workflow is deleted, with its pods, `controller.ttl` seconds after its end.
    A status is written only onto the version that it was computed from; after a foreign write the execution starts over
    from what is there.
Assumptions
    Pods of an execution are in its namespace, carry its owner reference, and have fixed names.
Errors
    Opening raises NotFound where the resource type is not installed, Denied where it may not be read, Unavailable where
    caches cannot be filled within the client's deadline. What goes wrong with one execution stays with it: it is
    retried, or ends as failed with the reason in its status.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from propeller.clock import SYSTEM_CLOCK, Clock
from propeller.config import Settings
from propeller.controller._checkpoint import TERMINATED, Checkpointer, Foreign, Gone
from propeller.controller._events import Recorder
from propeller.controller._finalizers import is_held, next_stop, release
from propeller.controller._live import Fence, Live, Stage
from propeller.controller._loading import Loader, owed_stops, prove
from propeller.controller._milestones import Milestones
from propeller.controller._resource import HEADS, WORKFLOWS, FlyteWorkflow, Head, mark_of
from propeller.controller._waiting import Waiting
from propeller.errors import (
    Conflict,
    CorruptBlob,
    Invalid,
    MissingBlob,
    NotFound,
    NotUnderstood,
    PropellerError,
    Retryable,
)
from propeller.handlers import STEPS, Gates, Inputs, Later, Services, Tries, act, act_now, is_given_up
from propeller.handlers.tasks import EXECUTION_LABEL, PodSettings, attempt_at, gone, is_alive, report
from propeller.informers import Change, Informer
from propeller.kube import PODS, Client, KubeObject, Pod
from propeller.pauses import Pauses
from propeller.reconcile import Controller, FairPool, Result, WorkQueue, backoff
from propeller.status import is_own_snapshot, supersede
from propeller.storage import Storage
from propeller.telemetry import Causes, Metrics
from propeller.workflow import (
    EXECUTION,
    Adopt,
    Cancel,
    Decision,
    Effect,
    Execution,
    Fact,
    Failure,
    Launch,
    Launched,
    Launching,
    PodPhase,
    PodSeen,
    Remains,
    Running,
    StopPod,
    WorkflowPhase,
    WriteInputs,
    begin,
    decide,
    resume,
)

_log = logging.getLogger(__name__)

NAME = "workflows"
"""Of the loop of rounds, in metrics and logs."""

OWNER_INDEX = "owner"

LAUNCH, OBSERVE, CHECKPOINT = range(3)
"""Priorities of an execution's effects: what it knows is read and written before it begins anything new, or 50,000
launches would keep its status waiting.
"""

AT_ONCE = 16
"""Effects of one round that are done in it, where they can be without waiting: 1 ms. The rest takes its turn."""

UNHURRIED = 0.1
"""Seconds that news on which nothing depends may wait: that a pod was launched, that it runs. Most pods have more to
tell by then, and one round hears it all.
"""

LOOK_SECONDS = 10.0
"""Seconds until the server is asked for an object whose version the cache lacks; doubles up to `queue.backoff_cap`.
Caches lag by milliseconds: one that lacks it for so long may wait for a version that a restore, or a new resource type,
has taken away.
"""

Observer = Callable[[Execution], None]
"""Told after each round that changed an execution: synchronous and quick."""


class WorkflowController:
    """Runs every FlyteWorkflow of a namespace (None: of the cluster); use as `async with`."""

    def __init__(
        self,
        client: Client,
        storage: Storage,
        settings: Settings = Settings(),
        *,
        namespace: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        observer: Observer | None = None,
        metrics: Metrics | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._namespace = namespace
        self._clock = clock
        self._observer = observer
        self._loader = Loader(client, storage, settings.storage.metadata_prefix)
        self._workflows = Informer(
            client,
            WORKFLOWS,
            namespace=namespace,
            transform=self._loader.transform,
            salvage=self._loader.salvage,
            settings=settings.informers,
            clock=clock,
        )
        self._pods = Informer(
            client,
            PODS,
            namespace=namespace,
            label_selector=EXECUTION_LABEL,
            indexes={OWNER_INDEX: _owner_uids},
            settings=settings.informers,
            clock=clock,
        )
        self._storage = storage
        self._services = Services(
            client,
            self._pods.store,
            storage,
            Inputs(storage),
            PodSettings(
                policy=settings.pods,
                raw_output_prefix=settings.storage.raw_output_prefix,
                environment={"FLYTE_AWS_ENDPOINT": endpoint} if (endpoint := settings.storage.s3_endpoint) else {},
            ),
            Gates(settings.launches, clock),
        )
        self._live: dict[str, Live] = {}
        self._resting: set[str] = set()
        """Executions that have left memory until there is news of them."""
        self._foreign: dict[str, Fence] = {}
        self._waiting = Waiting()
        self._next_looks: dict[str, tuple[float, float]] = {}
        """By key, epoch seconds when the server is asked whether what the cache is waited for will come, and the pause
        in seconds before that.
        """
        self._pauses: dict[str, Pauses] = {}
        """By key, of what is done for an execution as a whole: loading it anew after a failure or a foreign write, and
        all that follows its end.
        """
        self._causes = Causes(_log)
        self._queue: WorkQueue[str] = WorkQueue(settings.queue)
        metrics = metrics or Metrics()
        metrics.watch_queue(NAME, self._queue.depths)
        self._milestones = Milestones(metrics.executions, recorder, clock)
        self._milestones.follow(self._live, self._resting)
        for informer in (self._workflows, self._pods):
            metrics.watch_cache(informer.resource.kind, informer)
        self._workflows.subscribe_undecodable(metrics.undecodable_of(WORKFLOWS.kind))
        self._pods.subscribe_undecodable(metrics.undecodable_of(PODS.kind))
        metrics.watch_not_understood(NAME, lambda: self._waiting.count)
        self._rounds = Controller(
            self._queue, self._round, settings.queue, name=NAME, on_round=metrics.rounds_of(NAME), clock=clock
        )
        self._effects: FairPool[str] = FairPool(settings.controller.effects_at_once, on_error=self._job_raised)
        self._checkpointer: Checkpointer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[WorkflowController]:
        """Run until the block is left: informers, rounds, effects. Raises NotFound where the CRD is missing, Denied."""
        subresource = await self._client.has_subresource(WORKFLOWS, "status")
        for resource in (WORKFLOWS, PODS):  # informers try for ever; what we may not do at all should be said at once
            await self._client.list(resource.typed(KubeObject), self._namespace, limit=1)
        self._checkpointer = Checkpointer(
            self._client, self._storage, self._settings.checkpoint, self._clock, subresource=subresource
        )
        callers: Exception | None = None
        async with self._pods, self._workflows:
            await self._pods.synced(self._settings.client.deadline)
            self._pods.subscribe(self._pod_changed)
            self._workflows.subscribe(self._workflow_changed)
            for informer in (self._pods, self._workflows):
                informer.subscribe_restores(self._start_over)
            await self._workflows.synced(self._settings.client.deadline)
            async with self._effects, asyncio.TaskGroup() as group:
                rounds = group.create_task(self._rounds.run(), name="rounds")
                try:
                    yield self
                except Exception as error:  # noqa: BLE001 - the caller's own, which is not to come out within a group
                    callers = error
                finally:
                    rounds.cancel()
        if callers is not None:
            raise callers

    def execution(self, key: str) -> Execution | None:
        """The execution as of its last round; `key` is `namespace/name`."""
        live = self._live.get(key)
        return live.execution if live is not None else None

    def liveness(self) -> str | None:
        """Why the process should be restarted; None while all is well."""
        return self._rounds.liveness()

    # observe

    def _workflow_changed(self, change: Change[FlyteWorkflow]) -> None:
        if change.new is None:
            self._loader.forget(change.old.metadata.uid if change.old is not None else "")
        elif (live := self._live.get(change.key)) is not None and live.wrote(change.new.metadata):
            return
        elif _end_is_undone(change):
            self._failed(change.key, once_free=True)  # whoever does that for ever must not be answered at once for ever
        self._queue.add(change.key)

    def _pod_changed(self, change: Change[Pod]) -> None:
        pod = change.new or change.old
        assert pod is not None
        key = _execution_key(pod)
        live = self._live.get(key)
        if live is None:
            if (change.new is not None and is_alive(pod)) or key in self._resting or self._is_held(key):
                # it brings back what rests; of an execution that has ended it must not be left, and its end is waited
                # for
                self._queue.add(key)
            return
        if live.uid not in _owner_uids(pod):
            return  # the pod of an earlier execution of that name has the same name, too
        execution, node = live.execution, live.node_of(pod)
        if execution is None or node is None or (attempt := attempt_at(execution, node, pod)) is None:
            return
        seen = report(pod, attempt)
        if change.new is None:
            seen = _last_news(pod, seen)
            if seen.phase is PodPhase.GONE and _awaits_end(execution, node, attempt):
                self._look_again(live, execution, node, attempt)
                return
        if seen.phase is PodPhase.PENDING and seen.remains is not Remains.ENDING:
            if seen.reason:  # no machine has room for it, or its image does not come
                self._milestones.waits(live, execution.view(node), seen.reason)
            if seen.failure is None:
                return  # it waits, as it should: every pod says so two or three times
        self._tell(live, node, seen)

    def _look_again(self, live: Live, execution: Execution, node: int, attempt: int) -> None:
        """A pod is gone, and its end was not seen. Another of its name may be there: a create whose answer was lost is
        made again. And what it left in the object store may speak for it.
        """
        if (node, attempt) in live.launching:
            live.looks.add((node, attempt))
        else:
            self._begin_effect(live, execution, Adopt(node, attempt))

    def _start_over(self) -> None:
        """The server was restored from an older copy: what was written since is void, and what it has now is what a
        new process would find.
        """
        keys = {*self._live, *self._resting, *self._foreign}
        _log.warning("the server was restored from an older copy: %d executions are loaded again", len(keys))
        for live in tuple(self._live.values()):
            self._forget(live)
        self._foreign.clear()
        for key in keys:
            self._queue.add(key)

    def _tell(self, live: Live, node: int, *facts: Fact) -> None:
        """A round is to hear of these."""
        live.inbox.extend((node, fact) for fact in facts)
        if all(map(_can_wait, facts)):
            self._queue.add_after(live.key, UNHURRIED)
        else:
            self._queue.add(live.key)

    # decide

    def _round(self, key: str) -> Result:
        workflow = self._workflows.store.get(key)
        live = self._live.get(key)
        if live is not None and (workflow is None or workflow.metadata.uid != live.uid):
            self._forget(live)  # its pods follow by owner reference
            self._loader.forget(live.uid)
            live = None
        if workflow is None:
            self._foreign.pop(key, None)
            self._next_looks.pop(key, None)
            self._waiting.end(key)
            self._pauses.pop(key, None)
            self._resting.discard(key)
            return Result()
        if live is None:
            if (left := self._left(key)) > 0:
                return Result(requeue_after=left)
            if workflow.phase.ended:
                self._resting.discard(key)
                self._waiting.end(key)
                self._loader.forget(workflow.metadata.uid)
                return self._after_the_end(workflow)
            if not self._is_current(workflow):
                fence = self._foreign[key]
                return self._look_after_a_while(key, lambda: self._look_at_fence(key, fence))
            if (left := self._waiting.left(key, workflow.metadata, self._clock.now())) > 0:
                return Result(requeue_after=left)
            live = self._begin_loading(workflow)
        if live.stage is Stage.ENDED:
            return self._finish(live, workflow)
        if live.execution is None:
            return Result()
        if workflow.metadata.deletion_timestamp is not None:
            live.inbox.append((EXECUTION, Cancel("the workflow is being deleted")))
            live.catch_up(workflow.metadata, workflow.status)
        if (rest := self._rest(live, live.execution)) is not None:
            return rest
        try:
            decision = self._begin_effects(live, live.execution, self._decide(live, live.execution))
        except Exception:
            self._forget(live)  # half changed by what raised: the next try starts over from the checkpoint
            self._foreign[key] = Fence(live.uid, live.version)  # the cache may not have our last one yet
            self._failed(key)
            raise
        return self._carry_out(live, decision)

    def _decide(self, live: Live, execution: Execution) -> Decision:
        now = self._clock.now()
        if live.stage is Stage.LOADED:
            live.stage = Stage.RUNNING
            live.heard = now
            if any(isinstance(fact, Cancel) for _, fact in live.inbox):
                return decide(execution, live.take_facts(), now, STEPS)  # it is being deleted: nothing begins any more
            if not live.new:
                return resume(execution, STEPS, now)
            self._milestones.accepted(execution)
            return begin(execution, STEPS, now)
        if live.inbox:
            live.heard = now
        return decide(execution, live.take_facts(), now, STEPS)

    def _rest(self, live: Live, execution: Execution) -> Result | None:
        """Let an execution that has been idle leave memory; returns when it has to be back. None where it stays."""
        now = self._clock.now()
        wake = execution.timers[0][0] if execution.timers else None
        idle = self._idle(execution)
        if not idle or now < live.heard + idle or not live.is_at_rest or (wake is not None and wake <= now):
            return None
        self._loader.keep(live.uid, execution.plan)
        self._foreign[live.key] = Fence(live.uid, live.version)
        self._resting.add(live.key)
        self._forget(live)
        return Result(requeue_after=None if wake is None else wake - now)

    def _idle(self, execution: Execution) -> float:
        return self._settings.controller.idle * (1 + len(execution.phases) // 1000)

    def _finish(self, live: Live, workflow: FlyteWorkflow) -> Result:
        """Write the last status; once the cache has seen it, forget the execution (an old version would start it anew)
        and stop what it has left running.
        """
        if live.execution is not None:
            return Result(requeue_after=self._checkpoint_when_due(live, self._clock.now()))
        if workflow.phase.ended:
            self._forget(live)
            self._loader.forget(live.uid)
            self._next_looks.pop(live.key, None)
            return self._after_the_end(workflow)
        return self._look_after_a_while(live.key, lambda: self._look_at_end(live))

    def _look_after_a_while(self, key: str, look: Callable[[], Awaitable[None]]) -> Result:
        """The cache is behind: its next event leads to a round. If none comes in time, ask the server with `look`."""
        now = self._clock.now()
        due, pause = self._next_looks.setdefault(key, (now + LOOK_SECONDS, LOOK_SECONDS))
        if now >= due or due > now + pause:  # or the clock was set back
            pause = max(LOOK_SECONDS, min(2 * pause, self._settings.queue.backoff_cap))
            due = now + pause
            self._next_looks[key] = due, pause
            self._effects.submit(key, look)
        return Result(requeue_after=due - now)

    async def _look_at_fence(self, key: str, fence: Fence) -> None:
        """Whether the version that the cache has to reach can still come."""
        head = await self._head(key)
        lost = head is not None and (head.metadata.uid != fence.uid or fence.holds(head.metadata))
        if lost and self._foreign.get(key) == fence:
            _log.warning(
                "%s: the server does not have version %s any more: it goes on from what is there", key, fence.version
            )
            del self._foreign[key]
            self._queue.add(key)

    async def _look_at_end(self, live: Live) -> None:
        """Whether the end that was written is what the server has."""
        head = await self._head(live.key)
        if head is None or self._live.get(live.key) is not live or head.metadata.uid != live.uid:
            return
        if head.mark != live.mark:
            _log.warning("%s: its end was written, and the server does not have it: it is loaded again", live.key)
            await self._checkpointer.look_for_subresource()
            self._forget(live)
            self._foreign[live.key] = Fence(live.uid, head.metadata.resource_version)
            self._queue.add(live.key)

    async def _head(self, key: str) -> Head | None:
        namespace, _, name = key.partition("/")
        try:
            return await self._client.get(HEADS, name, namespace)
        except PropellerError as error:
            if not isinstance(error, NotFound):  # else the cache will hear of it
                self._causes.report(error, "%s: it could not be looked at, trying again", key)
            return None

    def _after_the_end(self, workflow: FlyteWorkflow) -> Result:
        """Stop what an ended execution has left running, release it from Flyte's finalizers, and collect it when its
        time is over.
        """
        pods = self._pods.store.by_index(OWNER_INDEX, workflow.metadata.uid)
        held = is_held(workflow.metadata) or any(is_held(pod.metadata) for pod in pods)
        deleted = workflow.metadata.deletion_timestamp is not None
        if held or not deleted:
            self._stop_what_runs(workflow, pods)
        if held:
            return self._release_when_stopped(workflow, pods)
        if deleted:
            return Result()
        ttl = self._settings.controller.ttl
        if not ttl:
            return Result()
        left = workflow.stopped_at + ttl - self._clock.now()
        if left > 0:
            return Result(requeue_after=left)
        self._effects.submit(workflow.key, lambda: self._collect(workflow))
        return Result()

    def _begin_effects(self, live: Live, execution: Execution, decision: Decision) -> Decision:
        """Begin what was decided. Some of it may be done at once, and its facts decided on: returns the decision as it
        is then, with its own effects.
        """
        effects, changed, left = decision.effects, decision.changed, AT_ONCE
        while True:
            if decision.ended or decision.retried:
                self._milestones.decided(execution, decision)
            facts: list[tuple[int, Fact]] = []
            for effect in decision.effects:
                if _has_to_be_known(execution, effect):
                    live.deferred.append(effect)
                elif left and (found := act_now(execution.view(effect.node), effect, self._services)) is not None:
                    left -= 1
                    facts += [(effect.node, fact) for fact in found]
                else:
                    self._begin_effect(live, execution, effect)
            if not facts:
                return Decision(effects, decision.wake, changed, decision.more)
            decision = decide(execution, facts, self._clock.now(), STEPS)
            changed |= decision.changed

    def _carry_out(self, live: Live, decision: Decision) -> Result:
        execution = live.execution
        assert execution is not None
        now = self._clock.now()
        if live.deferred:
            live.dirty_since = live.dirty_since or now
        waits = [None if decision.wake is None else decision.wake - now]
        if decision.changed or decision.effects:
            live.heard = now
        if live.stage is Stage.RUNNING and (idle := self._idle(execution)):
            waits.append(max(live.heard + idle - now, idle / 4))  # later, where something is under way then
        if decision.changed:
            live.dirty_since = live.dirty_since or now
            if self._observer is not None:
                self._observer(execution)
        if decision.more:
            self._queue.add(live.key)
        if execution.phase.ended:
            live.stage = Stage.ENDED
        waits.append(self._checkpoint_when_due(live, now))
        return Result(requeue_after=min((max(0.0, wait) for wait in waits if wait is not None), default=None))

    def _checkpoint_when_due(self, live: Live, now: float) -> float | None:
        """Begin a checkpoint where it is time to; returns the seconds until it will be, None where none is owed."""
        if live.writing or live.dirty_since is None:
            return None
        due = max(live.dirty_since + (0.0 if live.is_urgent else self._lag(live)), live.write_not_before) - now
        if due > 0:
            return due
        live.writing = True
        self._effects.submit(live.key, lambda: self._checkpoint(live), CHECKPOINT)
        return None

    def _lag(self, live: Live) -> float:
        """Seconds that news of progress may wait: longer where the status is large, and where many executions run."""
        settings = self._settings.checkpoint
        shared = min(len(self._live) / settings.progress_rate, settings.longest_lag)
        return max(settings.max_lag, live.status_bytes / settings.pace, shared)

    def _is_current(self, workflow: FlyteWorkflow) -> bool:
        """Whether the cache has what a foreign hand wrote: before that, to load would be to conflict again."""
        fence = self._foreign.get(workflow.key)
        if fence is None:
            return True
        if fence.holds(workflow.metadata) and not self._workflows.has_reached(fence.version):
            return False
        del self._foreign[workflow.key]
        self._next_looks.pop(workflow.key, None)
        return True

    # act

    def _begin_loading(self, workflow: FlyteWorkflow) -> Live:
        """Hold it in memory from now on; its execution is there at once, or when it has been loaded."""
        metadata = workflow.metadata
        self._resting.discard(workflow.key)
        live = Live(workflow.key, metadata.uid)
        live.note(metadata, workflow.status)
        self._live[workflow.key] = live
        if (loaded := self._loader.load_now(workflow, self._clock.now())) is not None:
            try:
                self._loaded(live, *loaded)
            except Exception:
                self._forget(live)  # half loaded, it would wait for ever
                self._failed(live.key)
                raise
        else:
            self._effects.submit(workflow.key, lambda: self._load(live, workflow))
        return live

    async def _load(self, live: Live, workflow: FlyteWorkflow) -> None:
        try:
            execution, new = await self._loader.load(
                workflow, self._clock.now(), self._pods.store.by_index(OWNER_INDEX, live.uid)
            )
        except (Invalid, CorruptBlob, MissingBlob) as error:
            await self._reject(live, workflow, error)
            return
        except NotUnderstood as error:
            await self._wait_for_who_understands(live, workflow, error)
            return
        except NotFound as error:
            _log.info("%s", error)
            self._forget(live)
            self._try_again(live.key)  # it is gone or another one, as the cache will hear; or its type is not served
            return
        except PropellerError as error:
            self._causes.report(error, "%s could not be loaded, trying again", live.key)
            self._forget(live)
            self._try_again(live.key)
            return
        self._loaded(live, execution, new)
        self._queue.add(live.key)

    def _loaded(self, live: Live, execution: Execution, new: bool) -> None:
        self._waiting.end(live.key)
        execution.stop_margin = self._settings.controller.stop_margin
        pods = self._pods.store.by_index(OWNER_INDEX, live.uid)
        prove(execution, pods)
        live.execution, live.new = execution, new
        live.stage = Stage.LOADED
        owed = [] if new else owed_stops(execution, pods)
        if execution.phase.ended:  # its status says so only in the snapshot
            live.dirty_since = self._clock.now()
        if not new and not live.status_bytes:  # FlytePropeller's: from here on the status is ours
            live.dirty_since = self._clock.now()
            others = execution.stopping.difference((stop.node, stop.attempt) for stop in owed)
            live.deferred = [*owed, *(StopPod(node, attempt) for node, attempt in sorted(others))]
            return
        for stop in owed:  # the status that was loaded has the reason
            self._begin_effect(live, execution, stop)

    async def _wait_for_who_understands(self, live: Live, workflow: FlyteWorkflow, error: NotUnderstood) -> None:
        """It is left as it is. Whoever deletes it sees it aborted all the same: that takes no understanding."""
        if workflow.metadata.deletion_timestamp is not None:
            await self._reject(live, workflow, error, WorkflowPhase.ABORTED)
            return
        self._milestones.left_alone(workflow, error)
        self._forget(live)
        self._queue.add_after(live.key, self._waiting.begin(live.key, workflow.metadata, error, self._clock.now()))

    async def _reject(
        self,
        live: Live,
        workflow: FlyteWorkflow,
        error: PropellerError,
        phase: WorkflowPhase = WorkflowPhase.FAILED,
    ) -> None:
        """What cannot run ends as failed, with the reason; what nobody understands and somebody deletes, as aborted."""
        failure = Failure("BadWorkflow" if phase is WorkflowPhase.FAILED else "Aborted", str(error), error.kind)
        try:
            version = await self._checkpointer.reject(workflow, failure, live.version, phase)
        except Gone:
            self._forget(live)
            self._try_again(live.key)
        except PropellerError as unwritten:
            self._causes.report(unwritten, "%s: its rejection could not be written, trying again", live.key)
            self._forget(live)
            self._try_again(live.key)
        else:
            self._milestones.rejected(workflow, phase, failure)
            self._loader.forget(live.uid)
            self._forget(live)
            self._failed(live.key, once_free=True)  # else one who takes the end away again would be answered at once
            self._foreign[live.key] = Fence(live.uid, version)
            self._queue.add(live.key)  # the cache may have it already: that event has found the execution still held

    def _begin_effect(self, live: Live, execution: Execution, effect: Effect) -> None:
        attempt = getattr(effect, "attempt", None)
        if attempt is not None:
            live.follow(execution.pod_name(effect.node, attempt), effect.node)
            if isinstance(effect, Launch):
                live.launching.setdefault((effect.node, attempt))
            elif isinstance(effect, StopPod) and (effect.node, attempt) in live.launching:
                live.launching[effect.node, attempt] = effect
                return
        live.in_flight += 1
        self._effects.submit(live.key, lambda: self._do_effect(live, execution, effect, Tries()), _priority(effect))

    async def _do_effect(self, live: Live, execution: Execution, effect: Effect, tries: Tries) -> None:
        node = execution.view(effect.node)
        facts = await act(node, effect, self._services, tries)
        if isinstance(facts, Later):
            after, made, error = facts
            self._causes.report(error, "%s: %s is tried again in %.2g s", node.where, type(effect).__name__, after)
            again = functools.partial(self._do_effect, live, execution, effect, made)
            self._effects.submit_after(live.key, again, after, _priority(effect))
            return
        live.in_flight -= 1
        if isinstance(effect, Launch):
            self._milestones.launched(live, node, facts)
            if (stop := live.launching.pop((effect.node, effect.attempt), None)) is not None:
                self._begin_effect(live, execution, stop)
            elif is_given_up(node, effect.attempt):
                live.deferred.append(StopPod(effect.node, effect.attempt))  # another stop may have come before the pod
                self._queue.add(live.key)
            elif (effect.node, effect.attempt) in live.looks and any(isinstance(fact, Launched) for fact in facts):
                self._begin_effect(live, execution, Adopt(effect.node, effect.attempt))
            live.looks.discard((effect.node, effect.attempt))
        if facts:
            self._tell(live, effect.node, *facts)

    # checkpoint

    async def _checkpoint(self, live: Live) -> None:
        execution = live.execution
        assert execution is not None
        since, live.dirty_since = live.dirty_since, None
        deferred, live.deferred = live.deferred, []
        began = self._clock.monotonic()
        try:
            written = await self._checkpointer.write(
                execution, live.version, live.mark, self._to_release(live, deferred)
            )
        except (Gone, Foreign) as error:
            _log.info("%s", error)
            self._forget(live)
            if isinstance(error, Foreign):
                self._foreign[live.key] = Fence(live.uid, error.version)
            self._failed(live.key, once_free=isinstance(error, Foreign))
        except PropellerError as error:
            live.dirty_since = since
            live.deferred = deferred + live.deferred
            self._milestones.not_written()
            self._put_off_writing(live, error)
        else:
            live.write_failures = 0
            before = live.offloaded_to
            live.note(written.metadata, written.status)
            self._milestones.written(self._clock.monotonic() - began, live.status_bytes)
            if before != live.offloaded_to and is_own_snapshot(before, execution.info.directory):
                newer, directory = live.offloaded_to, execution.info.directory
                self._effects.submit(live.key, lambda: self._discard(before, newer, directory))
            for effect in deferred:
                self._begin_effect(live, execution, effect)
            if WorkflowPhase(written.status["phase"]).ended:
                self._milestones.ended(execution)
                live.execution = None
            if live.stage is Stage.RUNNING and live.dirty_since is None:
                return  # there has been nothing new meanwhile
        finally:
            live.writing = False
        self._queue.add(live.key)

    async def _discard(self, uri: str, newer: str, directory: str) -> None:
        """A snapshot in the object store is of no use once the status points to another."""
        try:
            await supersede(uri, newer, directory, self._storage)
        except PropellerError as error:
            self._causes.report(error, "an old status stays at %s", uri)

    def _to_release(self, live: Live, deferred: Sequence[Effect]) -> tuple[str, ...]:
        """The finalizers of an execution that has ended and has nothing to be stopped; () for any other."""
        execution = live.execution
        if not is_held(live) or execution is None or not execution.phase.ended or deferred or live.in_flight:
            return ()
        pods = self._pods.store.by_index(OWNER_INDEX, live.uid)
        stopped = next_stop(pods, self._clock.now()) is None and not any(is_held(pod.metadata) for pod in pods)
        return live.finalizers if stopped else ()

    def _is_held(self, key: str) -> bool:
        """Whether a workflow waits for its pods before it is released."""
        workflow = self._workflows.store.get(key)
        return workflow is not None and is_held(workflow.metadata)

    def _release_when_stopped(self, workflow: FlyteWorkflow, pods: Sequence[Pod]) -> Result:
        now = self._clock.now()
        if (until := next_stop(pods, now)) is not None:
            return Result(requeue_after=until - now if until < math.inf else None)  # or the pods' events lead here
        self._effects.submit(workflow.key, lambda: self._release(workflow, pods))
        return Result()

    async def _release(self, workflow: FlyteWorkflow, pods: Sequence[Pod]) -> None:
        try:
            await release(self._client, workflow.metadata, pods, TERMINATED)
        except NotFound:
            self._try_again(workflow.key)  # it is gone, as the cache will hear; or its type is not served
        except PropellerError as error:
            self._causes.report(
                error, "%s has ended, and its finalizer could not be removed, trying again", workflow.key
            )
            self._try_again(workflow.key)
        else:
            self._failed(workflow.key, once_free=True)  # somebody may put it back, again and again

    def _stop_what_runs(self, workflow: FlyteWorkflow, pods: Iterable[Pod]) -> None:
        """An execution that has ended leaves no pod running, also none that this process has not heard of: another one
        may have launched it.
        """
        alive = [pod for pod in pods if is_alive(pod)]
        if alive:
            self._effects.submit(workflow.key, lambda: self._stop_pods(workflow, alive))

    async def _stop_pods(self, workflow: FlyteWorkflow, pods: Iterable[Pod]) -> None:
        """The server is asked first: restored from an older copy, it may have pods again whose execution has not ended
        there, and the cache of pods may hear of that first.
        """
        key, metadata = workflow.key, workflow.metadata
        try:
            with suppress(NotFound):  # its pods follow
                head = await self._client.get(HEADS, metadata.name, metadata.namespace)
                if head.metadata.uid == metadata.uid and head.mark != mark_of(workflow.status):
                    return  # the cache will hear of it
            for pod in pods:
                metadata = pod.metadata
                with suppress(NotFound, Conflict):  # gone, or another one by now
                    await self._client.delete(PODS, metadata.name, metadata.namespace, uid=metadata.uid)
        except PropellerError as error:
            self._causes.report(error, "%s has ended, and its pods could not be stopped, trying again", key)
            self._try_again(key)

    async def _collect(self, workflow: FlyteWorkflow) -> None:
        """Delete an ended workflow, and with it its pods."""
        metadata = workflow.metadata
        try:
            with suppress(Conflict):  # another one, or changed: the cache will hear of it
                await self._client.delete(
                    WORKFLOWS,
                    metadata.name,
                    metadata.namespace,
                    uid=metadata.uid,
                    resource_version=metadata.resource_version,
                    propagation="Background",
                )
        except NotFound:
            self._try_again(workflow.key)  # it is gone, as the cache will hear; or its type is not served
        except PropellerError as error:
            self._causes.report(error, "%s has ended long ago, and could not be deleted, trying again", workflow.key)
            self._try_again(workflow.key)

    def _put_off_writing(self, live: Live, error: PropellerError) -> None:
        """Work goes on; the next try waits, each time longer, and as long as the server asked for."""
        pause = backoff(self._settings.queue, live.write_failures, random.uniform)
        live.write_failures += 1
        after = error.after if isinstance(error, Retryable) else None
        live.write_not_before = self._clock.now() + max(after or 0.0, pause)
        self._causes.report(error, "%s: its status could not be written, trying again", live.key)

    def _job_raised(self, key: str, error: Exception) -> None:
        """What it was to do for its execution is not done, and half of it may be: the execution is loaded again."""
        if (live := self._live.get(key)) is not None:
            self._forget(live)
            self._foreign[key] = Fence(live.uid, live.version)
        self._try_again(key)

    def _try_again(self, key: str) -> None:
        """Hold a round, each time later."""
        self._queue.add_after(key, self._failed(key))

    def _failed(self, key: str, *, once_free: bool = False) -> float:
        """Something was in vain that is done for an execution as a whole: returns the pause before it is done again,
        whatever leads to a round meanwhile. With `once_free` the first of a row costs none.
        """
        if (pauses := self._pauses.get(key)) is None:
            settings = self._settings.queue
            pauses = self._pauses[key] = Pauses(settings.backoff, settings.backoff_cap)
        return pauses.failed(self._clock.monotonic(), once_free=once_free)

    def _left(self, key: str) -> float:
        """Seconds until what failed for an execution as a whole may be done again."""
        pauses = self._pauses.get(key)
        return 0.0 if pauses is None else pauses.left(self._clock.monotonic())

    def _forget(self, live: Live) -> None:
        if live.execution is not None:
            live.execution.dropped = True
        if self._live.get(live.key) is live:
            del self._live[live.key]


def _has_to_be_known(execution: Execution, effect: Effect) -> bool:
    """Whether a status has to have the reason first, for it could be decided otherwise if decided again: stops, what
    begins a node that runs after a failure, and what is to run inside a node once more because its time was up.
    """
    kind = type(effect)
    if kind is StopPod:
        return True
    if kind is not Launch and kind is not WriteInputs:
        return False
    node = execution.view(effect.node)
    again = kind is WriteInputs and execution.attempts[effect.node] > 0
    return again or node.in_graph == node.graph.failure


def _end_is_undone(change: Change[FlyteWorkflow]) -> bool:
    """Whether somebody has taken an end away that was written."""
    old, new = change.old, change.new
    return old is not None and new is not None and old.phase.ended and not new.phase.ended


def _priority(effect: Effect) -> int:
    return LAUNCH if isinstance(effect, Launch) else OBSERVE


def _can_wait(fact: Fact) -> bool:
    return isinstance(fact, Launched) or (isinstance(fact, PodSeen) and fact.phase is PodPhase.RUNNING)


def _awaits_end(execution: Execution, node: int, attempt: int) -> bool:
    state = execution.states.get(node)
    return isinstance(state, Launching | Running) and state.attempt == attempt


def _last_news(pod: Pod, seen: PodSeen) -> PodSeen:
    """What a pod that is gone came to, as it was seen last."""
    if seen.phase in {PodPhase.SUCCEEDED, PodPhase.FAILED}:
        return PodSeen(seen.attempt, seen.phase, seen.reason, seen.failure)
    return gone(seen.attempt, pod.metadata.name)


def _owner_uids(pod: Pod) -> tuple[str, ...]:
    return tuple(owner.uid for owner in pod.metadata.owner_references)


def _execution_key(pod: Pod) -> str:
    """The key of the execution that owns a pod, "" where none does."""
    for owner in pod.metadata.owner_references:
        if owner.kind.lower() == "flyteworkflow":
            return f"{pod.metadata.namespace}/{owner.name}"
    return ""
