"""Read the answers to gates from the annotations of executions.

Guarantees
    An execution whose gates wait costs nothing until its object changes; one without gates costs a look at an empty
    map.
    A text is read once: the same one is no other answer. What it means is decided with the execution's other events.
Caveats
    Of answers that are replaced in between, only the last is seen: that is what the API server has.
"""

from __future__ import annotations

from propeller.controller._resource import FlyteWorkflow
from propeller.controller._session import Running
from propeller.workflow import AtGate, Signalled, signal_annotation


def read_signals(session: Running, workflow: FlyteWorkflow) -> None:
    """Add the answers of the object to the session's inbox, if they are new."""
    version, gates, execution = workflow.metadata.resource_version, session.gates, session.execution
    nodes = session.new_gates if version == session.signals_version else list(gates)
    session.signals_version, session.new_gates = version, []
    annotations = workflow.metadata.annotations or {}
    for node in nodes:
        if not isinstance(execution.states.get(node), AtGate):
            gates.pop(node, None)
            continue
        text = annotations.get(signal_annotation(execution.unique_id(node)))
        if text is not None and text != gates[node]:
            gates[node] = text
            session.inbox.append((node, Signalled(text)))
