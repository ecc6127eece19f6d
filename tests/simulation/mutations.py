"""Defects planted one at a time: a simulation that finds none of them proves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import msgspec

from propeller.config import EffectOptions
from propeller.controller import (
    _attempt_events,
    _begun,
    _checkpointer,
    _effects,
    _intake,
    _loading,
    _restores,
    _retention,
    _session,
)
from propeller.controller._attempt_resources import AttemptResource
from propeller.controller._resource import Head
from propeller.errors import ErrorKind, NotFound
from propeller.fairqueues import Accepted, FairQueue, FairQueues, Merged, _follower, merge
from propeller.handlers import TRANSITIONS, Cluster, LaunchPressure, Services
from propeller.handlers.executors import _attempts, _creates, _run
from propeller.handlers.plugins import AttemptObserver
from propeller.handlers.plugins.pod import PodPlugin, _report
from propeller.handlers.transitions import _task
from propeller.informers import Informer, _reflector
from propeller.kube import FlowLimit, KubeObject, Pod
from propeller.reconcile import WorkQueue
from propeller.resourcemgr import Ledger, Limits, MemoryTokens, ResourceOptions
from propeller.resourcemgr._pools import PoolState
from propeller.resourcemgr._registry import Registry
from propeller.resourcemgr.quotas._count import Count
from propeller.resourcemgr.shared import SharedTokens
from propeller.resourcemgr.shared._messages import items_of
from propeller.resourcemgr.shared._store import Store
from propeller.resourcemgr.shared._tables import Lane
from propeller.status import _head, encode_status
from propeller.workflow import (
    AttemptObserved,
    AttemptOptions,
    AttemptPhase,
    Decision,
    EffectFailed,
    Execution,
    Failure,
    NodeEvent,
    NodeKind,
    NodeView,
    ObserveAttempt,
    Slots,
    State,
    StopAttempt,
    Stopped,
    TimerFired,
    Transition,
    TransitionFunction,
    _decide,
)
from propeller.workflow._stops import Stops

Mutation = Callable[[], AbstractContextManager[Any]]


def _anybodys_pod_is_ours() -> AbstractContextManager[Any]:
    return mock.patch.object(_attempts, "is_ours", return_value=True)


def _status_is_written_onto_any_version() -> AbstractContextManager[Any]:
    patch = _checkpointer.Checkpointer._patch

    async def blind(self: Any, execution: Execution, status: dict[str, Any], version: str, *rest: Any) -> Any:
        return await patch(self, execution, status, "", *rest)

    return mock.patch.object(_checkpointer.Checkpointer, "_patch", blind)


def _foreign_statuses_are_overwritten() -> AbstractContextManager[Any]:
    return mock.patch.object(Head, "fingerprint", _AnyMark())


class _AnyMark(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _the_fence_never_holds() -> AbstractContextManager[Any]:
    return mock.patch.object(_session.MinResourceVersion, "is_newer_than", return_value=False)


def _attempts_that_pods_prove_are_ignored() -> AbstractContextManager[Any]:
    return mock.patch.object(_loading, "observed_attempts", return_value={})


def _timers_are_forgotten() -> AbstractContextManager[Any]:
    return mock.patch.object(WorkQueue, "add_after", return_value=None)


def _a_pod_that_is_gone_has_succeeded() -> AbstractContextManager[Any]:
    news = _attempt_events._last_news

    def succeeded(obj: KubeObject, seen: AttemptObserved, plugin: AttemptObserver) -> AttemptObserved:
        found = news(obj, seen, plugin)
        return AttemptObserved(seen.attempt, AttemptPhase.SUCCEEDED) if found.phase is AttemptPhase.GONE else found

    return mock.patch.object(_attempt_events, "_last_news", succeeded)


def _an_event_is_lost_after_a_failed_write() -> AbstractContextManager[Any]:
    take = _session.Running.drain

    def lose(self: _session.Running) -> list[tuple[int, NodeEvent]]:
        events = take(self)
        return events[:-1] if self.write_failures else events

    return mock.patch.object(_session.Running, "drain", lose)


def _pods_of_an_earlier_namesake_are_news() -> AbstractContextManager[Any]:
    class Everybody(tuple[str, ...]):
        def __contains__(self, key: object) -> bool:
            return True

    uids = _attempt_events.owner_uids

    def forgiving(obj: KubeObject) -> tuple[str, ...]:
        return Everybody(uids(obj))

    return mock.patch.object(_attempt_events, "owner_uids", forgiving)


def _pods_that_still_run_are_left_at_the_end() -> AbstractContextManager[Any]:
    return mock.patch.object(_retention.Retention, "_stop_what_runs")


def _pods_are_stopped_before_a_status_has_the_reason() -> AbstractContextManager[Any]:
    begin = _effects.EffectRunner.begin

    def hasty(self: _effects.EffectRunner, session: _session.Running, decision: Decision) -> Decision:
        begun = begin(self, session, decision)
        for effect in begun.effects:
            if isinstance(effect, StopAttempt):
                self.start(session, effect)
        return begun

    return mock.patch.object(_effects.EffectRunner, "begin", hasty)


def _a_stop_is_taken_for_having_stopped() -> AbstractContextManager[Any]:
    sent = _decide._Decider._stop_sent

    def hasty(self: Any, node: int, event: Stopped) -> None:
        sent(self, node, Stopped(event.attempt))

    return mock.patch.object(_decide._Decider, "_stop_sent", hasty)


def _pods_that_have_ended_are_deleted() -> AbstractContextManager[Any]:
    return mock.patch.object(PodPlugin, "is_alive", return_value=True)


def _slots_of_what_ran_before_a_restart_are_given_away() -> AbstractContextManager[Any]:
    recover = _loading.recover_attempts

    def forgetful(execution: Execution, resources: Iterable[AttemptResource]) -> None:
        recover(execution, resources)
        execution.slots.release_reserved()

    return mock.patch.object(_intake, "recover_attempts", forgetful)


def _that_a_pod_runs_is_news_though_nobody_follows_it() -> AbstractContextManager[Any]:
    found = _attempts.found_resource

    def trusting(
        node: NodeView, attempt: int, obj: KubeObject, services: Services, cluster: Cluster, *, followed: bool
    ) -> tuple[NodeEvent, ...]:
        return found(node, attempt, obj, services, cluster, followed=True)

    return mock.patch.object(_attempts, "found_resource", trusting)


def _deaf_to_time(*kinds: NodeKind) -> AbstractContextManager[Any]:
    """Nodes of these kinds do not react when their time is up."""

    def deaf(step: TransitionFunction) -> TransitionFunction:
        def without(node: NodeView, state: State | None, event: NodeEvent, now: float) -> Transition | None:
            return None if isinstance(event, TimerFired) else step(node, state, event, now)

        return without

    return mock.patch.dict(TRANSITIONS, {kind: deaf(TRANSITIONS[kind]) for kind in kinds})


def _task_timers_are_ignored() -> AbstractContextManager[Any]:
    return _deaf_to_time(NodeKind.TASK)


def _what_is_inside_a_node_takes_any_time() -> AbstractContextManager[Any]:
    return _deaf_to_time(NodeKind.WORKFLOW, NodeKind.ARRAY)


def _the_parallelism_limit_is_ignored() -> AbstractContextManager[Any]:
    return mock.patch.object(Slots, "is_full", False)


def _a_launch_whose_answer_is_lost_is_another_attempt() -> AbstractContextManager[Any]:
    def next_name(self: Execution, node: int, attempt: int) -> str:
        return f"{self.info.name}-{self.unique_id(node)}-{attempt}-{len(self.timers)}"

    return mock.patch.object(Execution, "pod_name", next_name)


def _an_adopted_pod_that_is_missing_is_waited_for() -> AbstractContextManager[Any]:
    async def wait(node: NodeView, effect: ObserveAttempt, services: Any) -> tuple[NodeEvent, ...]:
        events: tuple[NodeEvent, ...] = await _attempts.observe(node, effect, services)
        return tuple(event for event in events if getattr(event, "phase", None) is not AttemptPhase.GONE)

    return mock.patch.dict(_run.EXECUTORS, {ObserveAttempt: wait})


def _system_failures_draw_on_the_users_budget() -> AbstractContextManager[Any]:
    return mock.patch.object(AttemptOptions, "system_retries", 0)


def _nothing_is_recovered() -> AbstractContextManager[Any]:
    return mock.patch.object(_loading.Loader, "_recover", new=mock.AsyncMock())


def _outages_of_the_store_fail_attempts() -> AbstractContextManager[Any]:
    return mock.patch.object(EffectOptions, "retry_budget", 30.0)


def _the_budget_of_a_status_is_ignored() -> AbstractContextManager[Any]:

    async def all_inline(execution: Execution, now: float, budget: int, storage: Any) -> dict[str, Any]:
        return await encode_status(execution, now, 1 << 30, storage)

    return mock.patch.object(_checkpointer, "encode_status", all_inline)


def _denials_use_up_attempts() -> AbstractContextManager[Any]:
    def failed(node: NodeView, attempt: int, error: Exception, *rest: Any) -> NodeEvent:
        return EffectFailed(attempt, Failure("RuntimeFailure", str(error), ErrorKind.SYSTEM, recoverable=True))

    return mock.patch.object(_creates, "_tried_later", failed)


def _any_number_is_an_attempt() -> AbstractContextManager[Any]:
    def believed(execution: Execution, node: int, obj: KubeObject) -> int | None:
        text = (obj.metadata.annotations or {}).get("propeller/attempt", "")
        return int(text) if text.isascii() and text.isdigit() else None

    return mock.patch.object(_attempt_events, "attempt_at", believed)


def _a_restore_starts_nothing_over() -> AbstractContextManager[Any]:
    return mock.patch.object(_restores.Restores, "_start_over", return_value=None)


def _a_snapshot_that_a_newer_one_replaced_is_lost() -> AbstractContextManager[Any]:
    return mock.patch.object(_head, "newest", new=mock.AsyncMock(return_value=""))


def _that_a_type_has_a_status_subresource_is_remembered() -> AbstractContextManager[Any]:
    return mock.patch.object(_checkpointer.Checkpointer, "look_for_subresource", new=mock.AsyncMock(return_value=False))


def _an_informer_gives_up_on_a_type_that_is_gone() -> AbstractContextManager[Any]:
    failed = _reflector.Reflector._failed

    async def give_up(self: _reflector.Reflector[Any], error: Exception) -> None:
        if isinstance(error, NotFound):
            await asyncio.Event().wait()
        await failed(self, error)

    return mock.patch.object(_reflector.Reflector, "_failed", give_up)


def _a_type_that_is_gone_is_asked_for_without_a_pause() -> AbstractContextManager[Any]:
    async def at_once(self: _reflector.Reflector[Any], error: Exception) -> None:
        await asyncio.sleep(0.01)

    return mock.patch.object(_reflector.Reflector, "_failed", at_once)


def _the_phase_of_a_pod_decides() -> AbstractContextManager[Any]:
    return mock.patch.object(_report, "primary_of", return_value=None)


def _sidecars_are_left_running() -> AbstractContextManager[Any]:
    return mock.patch.object(_task, "_stop_sidecars", return_value=())


def _the_next_attempt_does_not_wait_for_the_last_to_stop() -> AbstractContextManager[Any]:
    return mock.patch.object(Stops, "is_waited_out", return_value=True)


def _a_restore_that_one_cache_notices_is_taken_for_known_to_both() -> AbstractContextManager[Any]:
    def at_once(self: Informer[Any], then: Callable[[], None]) -> None:
        then()

    return mock.patch.object(Informer, "relist", at_once)


def _a_pod_that_is_being_deleted_never_counts() -> AbstractContextManager[Any]:
    ended = _report._ended

    def never(pod: Pod, attempt: int, *rest: Any) -> AttemptObserved:
        if pod.metadata.deletion_timestamp is not None:
            return _report._failed(attempt, _report.DELETED, "somebody deleted the pod", ErrorKind.SYSTEM)
        return ended(pod, attempt, *rest)

    return mock.patch.object(_report, "_ended", never)


def _what_a_pod_that_is_gone_has_left_does_not_count() -> AbstractContextManager[Any]:
    return mock.patch.object(_attempts, "has_ended", new=mock.AsyncMock(return_value=False))


def _what_was_begun_of_an_execution_is_forgotten_with_it() -> AbstractContextManager[Any]:
    return mock.patch.object(_begun.Begun, "keep", return_value=None)


def _what_ran_before_a_restart_takes_no_tokens() -> AbstractContextManager[Any]:
    return mock.patch.object(MemoryTokens, "restore", return_value=None)


def _tokens_of_what_has_ended_stay_out() -> AbstractContextManager[Any]:
    return mock.patch.object(MemoryTokens, "release", return_value=None)


def _tokens_come_back_when_a_pod_is_told_to_stop() -> AbstractContextManager[Any]:
    stop = _attempts._stop

    async def stopped(node: NodeView, effect: StopAttempt, services: Services) -> Stopped:
        found = await stop(node, effect, services)
        if services.tokens is not None:
            services.tokens.stopped(node, effect.attempt)
        return found

    return mock.patch.object(_attempts, "_stop", stopped)


def _what_ran_before_a_restart_takes_no_shared_tokens() -> AbstractContextManager[Any]:
    return mock.patch.object(SharedTokens, "restore", return_value=None)


def _shared_tokens_are_given_back_twice() -> AbstractContextManager[Any]:
    charge = Store._charge

    def twice(self: Store, member: str, path: str, items: str, by: int) -> None:
        charge(self, member, path, items, by)
        for pool, amount in items_of(items) if by < 0 else ():
            self.pools[pool].held = max(0.0, self.pools[pool].held + by * amount)

    return mock.patch.object(Store, "_charge", twice)


def _the_store_forgets_who_waits_when_it_lends_to_another() -> AbstractContextManager[Any]:
    grant = Store._grant_one

    def forgetful(self: Store, lane: Lane, items: str) -> None:
        grant(self, lane, items)
        for key in [key for key, other in self.lanes.items() if other.member != lane.member]:
            self.lanes[key].runs.clear()

    return mock.patch.object(Store, "_grant_one", forgetful)


def _a_store_that_lost_its_data_grants_at_once() -> AbstractContextManager[Any]:
    tick = Store._tick

    def hasty(self: Store, at: float, server: str, ttl: int) -> None:
        tick(self, at, server, ttl)
        self.meta.frozen_until = 0.0

    return mock.patch.object(Store, "_tick", hasty)


def _other_limits_forget_what_is_held() -> AbstractContextManager[Any]:
    rebuild = Ledger._rebuild

    def forgetful(self: Ledger, limits: Limits, now: float) -> None:
        self._held = {}
        rebuild(self, limits, now)

    return mock.patch.object(Ledger, "_rebuild", forgetful)


def _a_lowered_limit_goes_on_being_granted() -> AbstractContextManager[Any]:
    configure = PoolState.configure

    def generous(self: PoolState, capacity: int | None, *rest: Any) -> None:
        free = self.free
        configure(self, capacity, *rest)
        self.free = max(self.free, free)

    return mock.patch.object(PoolState, "configure", generous)


def _a_quota_that_is_raised_goes_unnoticed() -> AbstractContextManager[Any]:
    return mock.patch.object(Count, "observe", return_value=None)


def _what_a_tenant_does_not_lend_is_lent() -> AbstractContextManager[Any]:
    return mock.patch.object(Registry, "_keep")


def _the_store_forgets_a_lender() -> AbstractContextManager[Any]:
    return mock.patch.object(Store, "_new_keeps", return_value=None)


def _changes_of_limits_go_unnoticed() -> AbstractContextManager[Any]:
    return mock.patch.object(FairQueues, "_changed", return_value=None)


def _limits_that_are_wrong_are_those_of_the_settings() -> AbstractContextManager[Any]:
    def rash(settings: ResourceOptions, queues: Iterable[FairQueue], before: Mapping[str, Accepted]) -> Merged:
        return merge(settings, [msgspec.structs.replace(queue, status=None) for queue in queues], {})

    return mock.patch.object(_follower, "merge", rash)


def _a_server_that_asks_to_wait_is_asked_again_at_once() -> AbstractContextManager[Any]:
    def deaf(self: FlowLimit, shrinks: int, after: float | None, cause: str = "") -> None:
        self.release()

    return mock.patch.object(FlowLimit, "rejected", deaf)


def _slots_of_launches_are_not_given_back() -> AbstractContextManager[Any]:
    return mock.patch.object(LaunchPressure, "done", return_value=None)


MUTATIONS: Mapping[str, Mutation] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _a_quota_that_is_raised_goes_unnoticed,
        _a_server_that_asks_to_wait_is_asked_again_at_once,
        _slots_of_launches_are_not_given_back,
        _what_ran_before_a_restart_takes_no_tokens,
        _what_ran_before_a_restart_takes_no_shared_tokens,
        _shared_tokens_are_given_back_twice,
        _the_store_forgets_who_waits_when_it_lends_to_another,
        _tokens_of_what_has_ended_stay_out,
        _tokens_come_back_when_a_pod_is_told_to_stop,
        _other_limits_forget_what_is_held,
        _a_lowered_limit_goes_on_being_granted,
        _what_a_tenant_does_not_lend_is_lent,
        _a_store_that_lost_its_data_grants_at_once,
        _the_store_forgets_a_lender,
        _changes_of_limits_go_unnoticed,
        _limits_that_are_wrong_are_those_of_the_settings,
        _anybodys_pod_is_ours,
        _status_is_written_onto_any_version,
        _foreign_statuses_are_overwritten,
        _the_fence_never_holds,
        _attempts_that_pods_prove_are_ignored,
        _timers_are_forgotten,
        _a_pod_that_is_gone_has_succeeded,
        _an_event_is_lost_after_a_failed_write,
        _pods_of_an_earlier_namesake_are_news,
        _pods_that_still_run_are_left_at_the_end,
        _pods_are_stopped_before_a_status_has_the_reason,
        _a_stop_is_taken_for_having_stopped,
        _pods_that_have_ended_are_deleted,
        _slots_of_what_ran_before_a_restart_are_given_away,
        _that_a_pod_runs_is_news_though_nobody_follows_it,
        _task_timers_are_ignored,
        _what_is_inside_a_node_takes_any_time,
        _the_parallelism_limit_is_ignored,
        _a_launch_whose_answer_is_lost_is_another_attempt,
        _an_adopted_pod_that_is_missing_is_waited_for,
        _system_failures_draw_on_the_users_budget,
        _the_budget_of_a_status_is_ignored,
        _outages_of_the_store_fail_attempts,
        _nothing_is_recovered,
        _denials_use_up_attempts,
        _any_number_is_an_attempt,
        _a_restore_starts_nothing_over,
        _a_snapshot_that_a_newer_one_replaced_is_lost,
        _that_a_type_has_a_status_subresource_is_remembered,
        _an_informer_gives_up_on_a_type_that_is_gone,
        _a_type_that_is_gone_is_asked_for_without_a_pause,
        _a_restore_that_one_cache_notices_is_taken_for_known_to_both,
        _the_phase_of_a_pod_decides,
        _sidecars_are_left_running,
        _the_next_attempt_does_not_wait_for_the_last_to_stop,
        _a_pod_that_is_being_deleted_never_counts,
        _what_a_pod_that_is_gone_has_left_does_not_count,
        _what_was_begun_of_an_execution_is_forgotten_with_it,
    )
}
