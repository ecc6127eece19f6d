"""Transitions that several node kinds have in common.

One rule holds for all of them: an event that does not fit the state changes nothing.
"""

from __future__ import annotations

from propeller.errors import ErrorKind
from propeller.workflow import Abort, Fail, Failure, NodeView, Succeed

SUCCEED = Succeed()
ABORT = Abort()


def not_supported(node: NodeView, kind: str) -> Fail:
    """Fail a node that this version cannot run; `kind` is its kind in the plural."""
    return Fail(
        Failure(
            "NotSupported",
            f"{node.log_name}: {kind} are not supported yet; see docs/differences.md",
            ErrorKind.USER,
            node=node.execution.unique_id(node.number),
        )
    )


def end_with_child(failure: Failure | None) -> Succeed | Fail:
    """End the node with the result of its subgraph or case."""
    return SUCCEED if failure is None else Fail(failure)
