"""Start the execution of a launch plan's node, and take over what it leaves.

Guarantees
    It is created under its attempt's fixed name: a second launch finds the first one's.
    Its inputs are stored before it is created: the launch plan's defaults, what the node binds, and fixed values. So is
    its closure, if it shares one with others (`ChildClosures`).
    Its outputs are copied to where those of a task would be: what comes after needs nothing else of it.
    How deep executions may start others is limited, whatever annotations say: owner references are followed as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from flyteidl.core import literals_pb2

from propeller.errors import CorruptBlob, Invalid, NotFound, StorageError, TooLarge
from propeller.handlers.executors._attempts import found_resource, is_ours
from propeller.handlers.executors._child_resource import build_child
from propeller.handlers.executors._creates import create
from propeller.handlers.executors._gates import refusals_of, refused_event
from propeller.handlers.executors._given_up import is_given_up
from propeller.handlers.executors._outcome import outputs_found
from propeller.handlers.executors._services import Services
from propeller.handlers.plugins import CHILD, LAUNCH_PLAN_ANNOTATION, NESTING_ANNOTATION, parent_of
from propeller.kube import ObjectMeta
from propeller.storage import write_literals
from propeller.text import bounded
from propeller.wire import Literals, whole
from propeller.workflow import (
    Collect,
    EffectFailed,
    ExecutionInfo,
    Failure,
    Launch,
    LaunchPlan,
    NodeEvent,
    NodeView,
    execution_directories,
)

BAD_LAUNCH_PLAN = "BadLaunchPlan"
"""Error code of a node whose launch plan is not there, or cannot be started with its inputs."""

MAX_DIGITS = 6
"""Digits of a depth that an annotation may have."""

MAX_NAME_CHARACTERS = 50
"""Of each launch plan's name in a message about nesting."""

MAX_ANCESTORS = 5
"""Launch plans around a node that a message names."""


async def launch_child(node: NodeView, effect: Launch, services: Services) -> tuple[NodeEvent, ...]:
    try:
        return await _launch(node, effect.attempt, services)
    except StorageError as error:  # nothing was started yet: the attempt waits, and its state says for what
        after, denied = error.after or services.effects.storage_retry, refusals_of(node).denied
        return (refused_event(node, effect.attempt, error, after, services.gates.clock.now(), denied=denied),)


async def _launch(node: NodeView, attempt: int, services: Services) -> tuple[NodeEvent, ...]:
    execution = node.execution
    cluster = msgspec.structs.replace(
        services.cluster_of(node, attempt), windows=None, quotas=None, pressure=None, marks=None
    )
    kind, name = cluster.kinds[CHILD], execution.pod_name(node.number, attempt)
    if (cached := kind.cache.get(f"{execution.info.namespace}/{name}")) is not None:
        return found_resource(node, attempt, cached, services, cluster, followed=True)
    try:
        depth = _depth(node, services)
        plan = await services.launch_plans.of(node)
        inputs = await _inputs(node, plan, services)
    except (Invalid, CorruptBlob) as error:
        return (EffectFailed(attempt, Failure(BAD_LAUNCH_PLAN, str(error), error.kind)),)
    uri = execution.inputs_uri(node.number)
    await write_literals(services.storage, uri, inputs)
    try:
        closure = await services.closures.of(node, plan)
    except TooLarge as error:
        return (EffectFailed(attempt, Failure("EntityTooLarge", str(error))),)
    if is_given_up(node, attempt):
        return ()
    recovers = execution.recovered_children.get(execution.unique_id(node.number), "")
    resource = build_child(
        node, attempt, plan, closure, inputs_uri=uri, depth=depth, recovers=recovers if not attempt else ""
    )
    return await create(node, attempt, name, resource, kind, services, cluster)


async def _inputs(node: NodeView, plan: LaunchPlan, services: Services) -> Literals:
    """Return the inputs of the execution. Raises Invalid for one that the plan does not have, that is missing, or that
    the plan fixes to another value.
    """
    bound = await services.inputs.peek(node)
    plan.require_inputs(bound.raw)
    for name, fixed in sorted(plan.fixed.items()):
        if name in bound.raw and not _are_equal(bound.raw[name].tobytes(), fixed):
            raise Invalid(
                f"input {name!r} of launch plan {plan.name} is fixed, and the node binds another value: remove it there"
            )
    given = {**plan.defaults, **plan.fixed}
    values = {name: whole(literal.SerializeToString(deterministic=True)) for name, literal in given.items()}
    return Literals({**values, **bound.raw})


def _are_equal(data: bytes, fixed: literals_pb2.Literal) -> bool:
    """Whether a literal is the fixed one. A larger one cannot be, so that it is not parsed."""
    return len(data) == fixed.ByteSize() and literals_pb2.Literal.FromString(data) == fixed


def _depth(node: NodeView, services: Services) -> int:
    """Return how many executions would be around the one that the node starts. Raises Invalid if these are too many."""
    info, limit = node.execution.info, services.nesting_limit
    around = [info.annotations.get(LAUNCH_PLAN_ANNOTATION, "")]
    around += [(one.annotations or {}).get(LAUNCH_PLAN_ANNOTATION, "") for one in _ancestors(info, services)]
    depth = max(len(around), 1 + _number(info.annotations.get(NESTING_ANNOTATION, "")))
    if depth <= limit:
        return depth
    reference = node.spec.launch_plan
    assert reference is not None
    nearest = [bounded(name or "?", MAX_NAME_CHARACTERS) for name in around[:MAX_ANCESTORS]]
    shown = " → ".join([*reversed(nearest), bounded(reference.name, MAX_NAME_CHARACTERS)])
    itself = f"; {reference.name} starts itself" if reference.name in around else ""
    raise Invalid(
        f"launch plan {reference} would run inside of {depth} executions, and {limit} may be nested "
        f"(controller.nesting_limit){itself}: ... {shown}"
    )


def _number(text: str) -> int:
    """Return the depth that an annotation names; 0 if it is none of ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_DIGITS else 0


def _ancestors(info: ExecutionInfo, services: Services) -> Iterator[ObjectMeta]:
    """Return the executions around one by owner references, nearest first; no more than the limit has to know."""
    found = services.workflow(f"{info.namespace}/{info.name}")
    for _ in range(services.nesting_limit + 1):
        if found is None or (owner := parent_of(found)) is None:
            return
        if (found := services.workflow(f"{info.namespace}/{owner}")) is not None:
            yield found


async def collect_child(node: NodeView, effect: Collect, services: Services) -> tuple[NodeEvent, ...]:
    """Copy the outputs of an execution that has succeeded to its node."""
    attempt, execution, storage = effect.attempt, node.execution, services.storage
    plan = await services.launch_plans.of(node)
    cluster = services.cluster_of(node, attempt)
    name, namespace = execution.pod_name(node.number, attempt), execution.info.namespace
    own = f"{execution.output_directory(node.number, attempt)}/outputs.pb"
    kind = cluster.kinds[CHILD]
    try:
        obj = kind.cache.get(f"{namespace}/{name}") or await cluster.client.get(kind.resource, name, namespace)
        if not is_ours(node, obj):
            raise NotFound(f"FlyteWorkflow {namespace}/{name} is another one now", status=404)
    except NotFound:  # its end was seen: an earlier process may have copied them
        return (outputs_found(attempt, plan.outputs, await storage.find(own), own),)
    if not plan.outputs:
        return (outputs_found(attempt, plan.outputs, None, own),)
    uri = f"{_directory(node, obj.metadata, obj.status, services)}/end-node/data/0/outputs.pb"
    found = await storage.find(uri)
    event = outputs_found(attempt, plan.outputs, found, uri)
    if found is not None and not isinstance(event, EffectFailed):
        await storage.write(own, found)
    return (event,)


def _directory(node: NodeView, metadata: ObjectMeta, status: dict[str, object], services: Services) -> str:
    """Return the directory of an execution: a status is believed if it names one that may be its own."""
    info, settings = node.execution.info, services.storage.settings
    whole_name = f"{info.project}-{info.domain}-{metadata.name}"
    own = whole_name if info.project and info.domain else metadata.name
    forms = execution_directories((settings.metadata_prefix, *settings.read_prefixes), own, metadata.uid)
    named = status.get("dataDir")
    if isinstance(named, str) and named.rstrip("/") in forms:
        return named.rstrip("/")
    return forms[0]
