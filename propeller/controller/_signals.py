"""Read the answers to gates from the annotations of an execution's object.

Guarantees
    An execution whose gates wait costs nothing until its object changes; one without gates costs a look at an empty
    map.
    A text is read once: the same one is no other answer. What it means is decided with the execution's other events.
Caveats
    Of answers that are replaced in between, only the last is seen: that is what the API server has.
"""

from __future__ import annotations

from propeller.kube import ObjectMeta
from propeller.workflow import AtGate, Execution, NodeEvent, Signalled, signal_annotation


class WaitingGates:
    """The gates of one execution that wait for an answer."""

    __slots__ = ("_new", "_version", "nodes")

    def __init__(self) -> None:
        self.nodes: dict[int, str | None] = {}
        """Each with the last text that was an answer, None if there was none."""
        self._new: list[int] = []
        self._version = ""

    def add(self, node: int) -> None:
        """Look for the answer to a gate from now on."""
        self.nodes.setdefault(node)
        self._new.append(node)

    def read(self, execution: Execution, metadata: ObjectMeta) -> list[tuple[int, NodeEvent]]:
        """Return the answers in the object's metadata that are new."""
        changed = metadata.resource_version != self._version
        nodes = list(self.nodes) if changed else self._new
        self._version, self._new = metadata.resource_version, []
        annotations = metadata.annotations or {}
        found: list[tuple[int, NodeEvent]] = []
        for node in nodes:
            if not isinstance(execution.states.get(node), AtGate):
                self.nodes.pop(node, None)
                continue
            text = annotations.get(signal_annotation(execution.unique_id(node)))
            if text is not None and text != self.nodes[node]:
                self.nodes[node] = text
                found.append((node, Signalled(text)))
        return found
