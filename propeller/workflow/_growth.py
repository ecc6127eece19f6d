"""Limit what one execution may grow to: sub-workflows inside sub-workflows multiply, so that a resource of a few
kilobytes may stand for millions of nodes.

Guarantees
    A node that would open one graph more than fits fails, by its author's fault, before anything is opened; what runs
    already is not touched.
"""

from __future__ import annotations

from propeller.errors import ErrorKind
from propeller.workflow._events import Failure
from propeller.workflow._execution import NodeView
from propeller.workflow._plan import Graph

MAX_GRAPHS = 65_536
"""Sub-workflows, dynamic workflows and map tasks of one execution that have begun. Each takes about 3 KB of memory: all
50,000 nodes of a dynamic task may be sub-workflows, and one execution takes 200 MB at most.
"""

MAX_NODES = 2_000_000
"""Twenty of the largest map tasks. In memory each takes 34 bytes, and a blob of a kilobyte may claim so many."""

CODE = "TooManyNodes"


def outgrown(view: NodeView, graph: Graph) -> Failure | None:
    """Return the failure of a node that would open the graph inside itself, None if the execution has room for it."""
    execution = view.execution
    if len(execution.frames) >= MAX_GRAPHS:
        why = f"{MAX_GRAPHS} sub-workflows, dynamic workflows and map tasks, as many as one execution may have"
    elif (nodes := len(execution.phases) + len(graph.nodes)) > MAX_NODES:
        why = f"{nodes} nodes with those of {view.id}, and may have {MAX_NODES}"
    else:
        return None
    message = f"the execution has {why}: run parts of it as executions of their own (launch plans)"
    return Failure(CODE, message, ErrorKind.USER, node=execution.unique_id(view.number))
