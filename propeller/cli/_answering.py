"""Answer a gate of an execution: shared by `propeller signal` and `propeller approve`.

Guarantees
    An answer is accepted only if the gate takes it: its type is checked, a gate that is answered or over is refused,
    and the object is patched only if nothing of it has changed since that was seen.
"""

from __future__ import annotations

import shlex

import msgspec

from propeller.cli._connecting import connected, require_workflows
from propeller.cli._event_loop import run
from propeller.cli._executions import get_execution, loader_of
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings
from propeller.cli._values import value_of
from propeller.clock import SYSTEM_CLOCK
from propeller.config import Settings
from propeller.controller import WORKFLOWS, FlyteWorkflow
from propeller.errors import Conflict, Invalid
from propeller.kube import Client, PatchKind
from propeller.storage import Storage
from propeller.text import bounded, one_line
from propeller.wire import literal_of, type_name
from propeller.workflow import (
    APPROVE,
    APPROVED,
    ENDED,
    REJECTED,
    SLEEP,
    Execution,
    GateSpec,
    NodeKind,
    NodePhase,
    NodeView,
    OpeningGate,
    answer_type,
    signal_annotation,
    signal_id,
)

TRIES = 5
"""Other clients, such as the controller, may write the object in between."""

MAX_NAMED = 10
"""Gates that a message names."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What to answer. `approves` is None for a value, the `text`."""

    execution: str
    gate: str
    text: str = ""
    approves: bool | None = None
    namespace: str | None
    as_json: bool


def give(answer: Answer, kubeconfig: str | None, context: str | None, config: str | None) -> None:
    """Answer the gate, and say so. Raises Invalid if it does not take the answer, PropellerError."""
    run(_give(answer, kubeconfig, context, load_settings(config)))


async def _give(answer: Answer, kubeconfig: str | None, context: str | None, settings: Settings) -> None:
    async with (
        connected(kubeconfig, context, settings) as (client, connection),
        Storage(settings.storage, trusting=True) as storage,
    ):
        await require_workflows(client, connection)
        loader = loader_of(client, storage, settings)
        where = answer.namespace or connection.namespace
        for _ in range(TRIES):
            workflow = await get_execution(client, WORKFLOWS, answer.execution, where)
            gate = gate_of(await loader.show(workflow, SYSTEM_CLOCK.now()), answer.gate)
            text = text_for(gate, workflow, answer)
            if await _patched(client, workflow, gate, text):
                _say(gate, text, answer)
                return
        raise Conflict(f"{answer.execution} is being written without a pause: answer again")


async def _patched(client: Client, workflow: FlyteWorkflow, gate: NodeView, text: str) -> bool:
    """Write the answer onto the version that was read; whether it still is that."""
    metadata = workflow.metadata
    annotation = signal_annotation(gate.execution.unique_id(gate.number))
    body = {
        "metadata": {
            "resourceVersion": metadata.resource_version,
            "uid": metadata.uid,
            "annotations": {annotation: text},
        }
    }
    try:
        await client.patch(
            WORKFLOWS.metadata_only(), metadata.name, metadata.namespace, body=body, kind=PatchKind.MERGE
        )
    except Conflict:
        return False
    return True


def gate_of(execution: Execution, wanted: str) -> NodeView:
    """The gate with this unique id, or the only one with this name that has not ended. Raises Invalid."""
    name = execution.info.name
    if execution.phase.ended:
        raise Invalid(f"{name} has ended ({execution.phase.name.lower()}): nothing of it waits")
    if not execution.frames:
        execution.open_frame(execution.plan.root)  # no status says yet what has begun
    views = [execution.view(number) for number in execution.user_nodes()]
    exact = next((view for view in views if execution.unique_id(view.number) == wanted), None)
    if exact is not None:
        _require_answerable(exact, wanted)
        return exact
    gates = [view for view in views if _answerable(view) is not None]
    named = [view for view in gates if signal_id(_gate(view)) == wanted]
    waiting = [view for view in named if execution.phases[view.number] not in ENDED] or named
    if len(waiting) == 1:
        return waiting[0]
    if waiting:
        raise Invalid(f"{len(waiting)} gates of {name} are called {wanted!r}: name one by its id, {_ids(waiting)}")
    known = f"; it has {_ids(gates)}" if gates else ""
    raise Invalid(f"{name} has no gate {one_line(wanted)!r} that has begun or is about to{known}")


def _require_answerable(view: NodeView, wanted: str) -> None:
    gate = view.spec.gate
    if view.spec.kind is not NodeKind.GATE or gate is None:
        raise Invalid(f"{wanted} is a {view.spec.kind} node, not a gate: it waits for no answer")
    if gate.kind == SLEEP:
        raise Invalid(f"{wanted} sleeps, and ends by itself: it waits for no answer")


def _answerable(view: NodeView) -> GateSpec | None:
    gate = view.spec.gate
    return gate if view.spec.kind is NodeKind.GATE and gate is not None and gate.kind != SLEEP else None


def _gate(view: NodeView) -> GateSpec:
    assert view.spec.gate is not None
    return view.spec.gate


def _ids(views: list[NodeView]) -> str:
    shown = [f"{view.execution.unique_id(view.number)} ({signal_id(_gate(view))})" for view in views[:MAX_NAMED]]
    more = f" and {len(views) - MAX_NAMED} more" if len(views) > MAX_NAMED else ""
    return one_line(bounded(", ".join(shown), 1000)) + more


def text_for(view: NodeView, workflow: FlyteWorkflow, answer: Answer) -> str:
    """The text that answers the gate. Raises Invalid if the gate does not take it, or no answer any more."""
    gate, node = _gate(view), view.execution.unique_id(view.number)
    _require_open(view, workflow)
    if answer.approves is not None and gate.kind != APPROVE:
        raise Invalid(
            f"{node} waits for a value of type {type_name(answer_type(gate))}, not for an approval: "
            f"propeller signal {answer.execution} {shlex.quote(node)} VALUE -n {workflow.metadata.namespace}"
        )
    text = answer.text if answer.approves is None else APPROVED if answer.approves else REJECTED
    try:
        literal_of(text, answer_type(gate))
    except Invalid as error:
        raise Invalid(f"{node} waits for a value of type {type_name(answer_type(gate))}: {error}") from error
    return text


def _require_open(view: NodeView, workflow: FlyteWorkflow) -> None:
    """Raises Invalid if the gate has its answer, or has ended without one."""
    execution, number = view.execution, view.number
    node, phase = execution.unique_id(number), NodePhase(execution.phases[number])
    if phase is NodePhase.FAILED:
        failure = execution.failures.get(number)
        why = f": {one_line(bounded(failure.message, 200))}" if failure is not None else ""
        raise Invalid(f"{node} has failed{why}: it takes no answer any more")
    if phase is NodePhase.SUCCEEDED or isinstance(execution.states.get(number), OpeningGate):
        raise Invalid(f"{node} has its answer: another one is not taken")
    if phase in ENDED:
        raise Invalid(f"{node} was {phase.name.lower()}: it takes no answer any more")
    given = (workflow.metadata.annotations or {}).get(signal_annotation(node))
    if given is None:
        return
    try:
        literal_of(given, answer_type(_gate(view)))
    except Invalid:
        return  # one of the wrong type, by another client: the gate still waits
    raise Invalid(f"{node} was given an answer already, which is about to be taken")


def _say(view: NodeView, text: str, answer: Answer) -> None:
    execution = view.execution
    node, name, where = execution.unique_id(view.number), execution.info.name, execution.info.namespace
    gate = _gate(view)
    if answer.as_json:
        value = value_of(literal_of(text, answer_type(gate)))
        say_json({"name": name, "namespace": where, "node": node, "signal": signal_id(gate), "value": value})
        return
    word = "answered" if gate.kind != APPROVE else "approved" if text.lower() == APPROVED else "rejected"
    begun = execution.phases[view.number] != NodePhase.NOT_STARTED
    say(one_line(f"{node} ({signal_id(gate)}) of {name} has been {word}" + ("" if begun else ", before it waits")))
    say(f"follow it: propeller status {name} -n {where} -w")
