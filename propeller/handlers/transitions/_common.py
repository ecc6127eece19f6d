"""What transitions share.

One rule holds for all: an event that does not fit the state changes nothing.
"""

from __future__ import annotations

from propeller.errors import ErrorKind
from propeller.workflow import Failure, NodePhase, NodeView, Step

SUCCEEDED = Step(phase=NodePhase.SUCCEEDED)
ABORTED = Step(phase=NodePhase.ABORTED)


def failed(failure: Failure) -> Step:
    return Step(phase=NodePhase.FAILED, failure=failure)


def not_supported(node: NodeView, what: str) -> Failure:
    return Failure(
        "NotSupported",
        f"{node.log_name}: {what} are not supported yet; see docs/differences.md",
        ErrorKind.USER,
        node=node.execution.unique_id(node.number),
    )


def end_with_child(failure: Failure | None) -> Step:
    """End as what ran inside has ended."""
    return SUCCEEDED if failure is None else failed(failure)
