"""Load an execution from its FlyteWorkflow object: its plan, its snapshot, and the attempts that its resources show.

Plans and closures are kept by `_plans.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable

import msgspec
from flyteidl.core import literals_pb2

from propeller.controller._attempt_resources import AttemptResource
from propeller.controller._damaged import why_not_again
from propeller.controller._plans import Plans
from propeller.controller._resource import (
    WORKFLOWS,
    FlyteWorkflow,
    has_inline_inputs,
    info_of,
    inline_inputs,
    without_closure,
)
from propeller.controller._takeover import require_flytes_directory, take_over_of
from propeller.errors import CorruptBlob, Invalid, MissingBlob, NotFound, NotUnderstood, PropellerError
from propeller.handlers import LaunchPlans, plan_of_futures, run_without_suspending
from propeller.handlers.plugins import (
    RECOVERED_PARENT_ANNOTATION,
    Plugins,
    claim_of,
    observed_attempts,
    parents_of,
)
from propeller.kube import Client, Undecodable
from propeller.registry import RegistryOptions, registry_of
from propeller.status import INLINE_NODES, decode_status, is_flytes, rebuild
from propeller.storage import Storage, in_thread_if_large, open_literals
from propeller.wire import Literals
from propeller.workflow import (
    ENDED,
    Execution,
    Graph,
    NodeKind,
    NodePhase,
    NodeView,
    Plan,
    RunningSubgraph,
    StopAttempt,
)

_log = logging.getLogger(__name__)

ONLY_PODS = Plugins()


def recover_attempts(execution: Execution, resources: Iterable[AttemptResource]) -> None:
    """Tell a loaded execution about attempts that its resources show and that its status may lack."""
    objects = (one.obj for one in resources)
    attempts = observed_attempts(execution.info.name, objects, execution.settings.system_retries)
    execution.recover_attempts(attempts)


def stops_owed(execution: Execution, resources: Iterable[AttemptResource]) -> list[StopAttempt]:
    """Return the stops of resources that still run although the status says that their attempts are over: a process may
    have died in between. They count as stopping from now on. All nodes are visited only if there is such a resource.
    """
    left = [
        (*claim, one)
        for one in resources
        if not one.has_ended and (claim := claim_of(one.obj, execution.info.name)) is not None
    ]
    active = {execution.unique_id(node): node for node in execution.states} if left else {}
    if any(node not in active for node, *_ in left):
        ended = {execution.unique_id(node): node for node, phase in enumerate(execution.phases) if phase in ENDED}
        active = ended | active
    stops = []
    for name, attempt, one in left:
        if (node := active.get(name)) is None:
            continue  # the status is older than its start
        phase, state = execution.phases[node], execution.states.get(node)
        if (
            attempt < execution.attempts[node]
            or phase in ENDED
            or (isinstance(state, RunningSubgraph) and one.is_alive)
        ):
            succeeded = phase == NodePhase.SUCCEEDED or isinstance(state, RunningSubgraph)
            stops.append(StopAttempt(node, attempt, urgent=not succeeded))
            if execution.placements is not None:
                execution.placements.pin(node, attempt, one.cluster)
            execution.stops.add(node, attempt)
            if not succeeded and one.is_alive:
                execution.slots.stopping.add((node, attempt))
    return stops + jobs_owed(execution)


def jobs_owed(execution: Execution) -> list[StopAttempt]:
    """Return the stops of jobs that may run although the status says that their attempts are over."""
    stops = []
    for job in execution.jobs:
        is_over = execution.phases[job.node] in ENDED or job.attempt < execution.attempts[job.node]
        if is_over and job.attempt not in execution.stops.pods.get(job.node, ()):
            stops.append(StopAttempt(job.node, job.attempt))
            execution.stops.add(job.node, job.attempt)
            execution.slots.stopping.add((job.node, job.attempt))
    return stops


def _left_of(execution: Execution) -> tuple[dict[str, str], dict[str, str]]:
    """Return, by unique node id, the directory of the outputs of each task, launch plan's node and gate that has
    succeeded, and the name of the execution that each other launch plan's node has started; without failure nodes,
    which have to run again.
    """
    outputs, children = {}, {}
    for number in execution.user_nodes():
        node, phase = execution.view(number), execution.phases[number]
        if node.graph_index == node.graph.failure or not (node.spec.has_attempts or node.spec.kind is NodeKind.GATE):
            continue
        if phase == NodePhase.SUCCEEDED:
            outputs[execution.unique_id(number)] = execution.output_directory(number)
        elif node.spec.launch_plan is not None and phase in ENDED and phase != NodePhase.SKIPPED:
            name = execution.pod_name(number, execution.attempts[number])
            children[execution.unique_id(number)] = name
    return outputs, children


def _has_begun(workflow: FlyteWorkflow) -> bool:
    """Whether an execution has a state, or takes over that of another one."""
    status, earlier = workflow.status, workflow.execution_config.recovery_execution
    begun = status.get("nodes") or status.get("nodesReference") or status.get("nodeStatus")
    return bool(begun) or (earlier is not None and bool(earlier.name))


class Loader:
    """Loads executions; see the module's text."""

    def __init__(
        self,
        client: Client,
        storage: Storage,
        metadata_prefix: str,
        plugins: Plugins = ONLY_PODS,
        launch_plans: LaunchPlans | None = None,
        *,
        anywhere: bool = False,
    ) -> None:
        """`anywhere` believes what a status says of its execution's directory: for what writes nothing there.
        `launch_plans` are those that dynamic tasks may start; None: those of the registry beside an execution's data.
        """
        self._client = client
        self._plugins = plugins
        self._storage = storage
        self._metadata_prefix = metadata_prefix
        self._earlier_prefixes = storage.settings.read_prefixes
        self._anywhere = anywhere
        self._launch_plans = launch_plans
        self._beside: dict[str, LaunchPlans] = {}
        """By the directory that executions' own are in."""
        self._plans = Plans(client, storage)
        self._malformed: dict[str, str] = {}
        """By uid, the wrong fields of objects that could never be decoded."""

    def transform(self, workflow: FlyteWorkflow) -> FlyteWorkflow:
        """For the informer: set the closure aside until its execution is loaded, and keep the rest."""
        uid = workflow.metadata.uid
        self._malformed.pop(uid, None)
        if not workflow.phase.ended:
            self._plans.set_aside(workflow)
        return without_closure(workflow)

    def salvage(self, found: Undecodable[FlyteWorkflow], last: FlyteWorkflow | None) -> FlyteWorkflow | None:
        """For the informer: of an object that cannot be decoded, keep its last good state under its present metadata
        and status. If there is none, `load` rejects it, naming the wrong fields.
        """
        rest, uid = found.rest, found.metadata.uid
        if rest is None:
            return None
        if last is None or uid in self._malformed:
            self._malformed[uid] = found.error
            return without_closure(rest)
        return msgspec.structs.replace(last, metadata=found.metadata, status=rest.status or last.status)

    def forget(self, uid: str) -> None:
        """Forget the closure of an object that is deleted or has ended."""
        self._malformed.pop(uid, None)
        self._plans.forget(uid)

    def keep(self, uid: str, plan: Plan) -> None:
        """Keep the plan of an evicted execution, so that it can be loaded without asking the server for its closure."""
        self._plans.keep(uid, plan)

    async def load(
        self, workflow: FlyteWorkflow, now: float, resources: Collection[AttemptResource] = ()
    ) -> tuple[Execution, bool]:
        """Return the execution, and whether it is new (True) or rebuilt from its status. `resources` are its attempts'.

        Raises Invalid for a resource that cannot run, NotUnderstood for a state that cannot be continued, StorageError,
        and NotFound or Unavailable if the object has to be read again and is deleted.
        """
        uid = workflow.metadata.uid
        if error := self._malformed.get(uid):
            raise Invalid(f"the resource is malformed: {error}")
        plan = await self._plans.of(workflow)
        execution, new = await self._execution(workflow, plan, now, resources)
        self._plans.loaded(uid)
        return execution, new

    def load_now(self, workflow: FlyteWorkflow, now: float) -> tuple[Execution, bool] | None:
        """As `load`, for a new execution that is small, and of which nothing has to be waited for. None for any other,
        and if it cannot run: `load` says why.
        """
        inputs = workflow.offloaded_inputs
        if _has_begun(workflow) or (inputs and not self._storage.is_at_hand(inputs)):
            return None
        if not self._plans.is_at_hand(workflow) or workflow.metadata.uid in self._malformed:
            return None
        try:
            return run_without_suspending(self.load(workflow, now))
        except PropellerError:
            return None

    async def show(self, workflow: FlyteWorkflow, now: float) -> Execution:
        """Return the execution of a complete object as its status has it, for display. Raises as `load` does."""
        return (await self._execution(workflow, await self._plans.of_whole(workflow), now))[0]

    async def _execution(
        self, workflow: FlyteWorkflow, plan: Plan, now: float, resources: Collection[AttemptResource] | None = None
    ) -> tuple[Execution, bool]:
        """If `resources` is None, the execution will not be continued: a damaged status is an error, and what it may
        take over of an earlier one is not looked up.
        """
        info = info_of(workflow, await self._inputs(workflow), self._metadata_prefix, anywhere=self._anywhere)
        execution = None
        if is_flytes(workflow.status):
            if not self._anywhere:
                require_flytes_directory(workflow, info, self._metadata_prefix)
            return await take_over_of(workflow, info, plan, self._dynamic_graph, now, self._plugins), False
        try:
            snapshot = await decode_status(workflow.status, self._storage, info.directory)
            if snapshot is not None:
                execution = await rebuild(info, plan, snapshot, self._dynamic_graph)
        except (CorruptBlob, MissingBlob) as error:
            if resources is None:
                raise
            if why := why_not_again(workflow.metadata.name, plan, workflow.status, resources):
                raise NotUnderstood(f"{error}; it is not walked again by what its pods prove, for {why}") from error
            _log.warning("%s: %s; it is walked again by what its pods prove", workflow.key, error)
        new = execution is None
        execution = execution or Execution(info, plan, now=now)
        earlier = info.spec.execution_config.recovery_execution
        if earlier is not None and earlier.name and resources is not None and not execution.phase.ended:
            await self._recover(execution, workflow, earlier.name)
        return execution, new

    async def _recover(self, execution: Execution, of: FlyteWorkflow, name: str) -> None:
        """Tell the execution `of` an object where the one `name`, of the same namespace, left the outputs of nodes that
        succeeded, and which executions its other launch plans have started. Nothing is taken over of a namesake: one
        that was created after `of`, or started by another execution than the one that is recovered.

        Raises Invalid if it is of another workflow. If it is deleted, everything runs.
        """
        try:
            workflow = await self._client.get(WORKFLOWS, name, execution.info.namespace)
        except NotFound:
            await self._client.has_subresource(WORKFLOWS, "status")  # raises as well if it is the type that is missing
            _log.warning("%s: execution %s is gone, so nothing of it is recovered", execution.key, name)
            return
        parent = execution.info.annotations.get(RECOVERED_PARENT_ANNOTATION)
        is_later = workflow.created_at > of.created_at > 0
        if is_later or (parent is not None and parent not in parents_of(workflow.metadata)):
            _log.warning("%s: execution %s is a namesake of the one to recover, which is gone", execution.key, name)
            return
        plan = await self._plans.of_whole(workflow)
        if plan.digest != execution.plan.digest and not await self._plans.are_same(workflow, of):
            raise Invalid(
                f"executionConfig.RecoveryExecution names {name!r}, which ran another workflow or version: "
                "relaunch instead"
            )
        info = info_of(workflow, await self._inputs(workflow), self._metadata_prefix, *self._earlier_prefixes)
        snapshot = await decode_status(workflow.status, self._storage, info.directory)
        if snapshot is None:
            return
        recovered = await rebuild(info, plan, snapshot, self._dynamic_graph)
        if len(recovered.phases) <= INLINE_NODES:
            found = _left_of(recovered)
        else:
            found = await asyncio.to_thread(_left_of, recovered)
        execution.recovered, execution.recovered_children = found
        execution.recovered_uid = workflow.metadata.uid

    async def _inputs(self, workflow: FlyteWorkflow) -> literals_pb2.LiteralMap | Literals:
        if not workflow.offloaded_inputs:
            return await in_thread_if_large(len(bytes(workflow.inputs)), inline_inputs, workflow)
        if has_inline_inputs(workflow):
            raise Invalid(f"{workflow.key} has both inputs and offloadedInputs: remove one")
        self._storage.require_readable(workflow.offloaded_inputs, "offloadedInputs")
        return await open_literals(self._storage, workflow.offloaded_inputs)

    async def _dynamic_graph(self, node: NodeView, attempt: int) -> Graph:
        uri = f"{node.execution.output_directory(node.number, attempt)}/futures.pb"
        data = await self._storage.read(uri, fresh=True)
        task, most = node.graph.plan.task(node.spec.task), self._storage.settings.max_messages
        launch_plans = self._launch_plans
        if launch_plans is None:
            around = node.execution.info.directory.rpartition("/")[0]
            beside = RegistryOptions(prefix=f"{around}/registry")
            launch_plans = self._beside.setdefault(around, LaunchPlans(registry_of(self._storage, beside)))
        return (await plan_of_futures(node, task, data, most, launch_plans)).root
