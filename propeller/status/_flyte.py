"""The status that FlytePropeller (1.16) keeps in a FlyteWorkflow.

Field names and numbers are those of flytepropeller/pkg/apis/flyteworkflow/v1alpha1 (node_status.go, workflow_status.go,
iface.go) and flytestdlib/bitarray, as Go writes them to JSON.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from propeller.workflow import WorkflowPhase

MAX_ITEMS = 100_000
"""Items of a map task; a status with more is refused."""

Count = Annotated[int, msgspec.Meta(ge=0, le=255)]


class FlyteError(msgspec.Struct, frozen=True):
    """flyteidl.core.ExecutionError, as jsonpb writes it."""

    code: str = ""
    message: str = ""
    kind: str | int = ""


class BranchStatus(msgspec.Struct, frozen=True):
    phase: int = 0
    final: str | None = msgspec.field(default=None, name="finalNodeId")


class TaskStatus(msgspec.Struct, frozen=True):
    phase: int = 0


class PhaseStatus(msgspec.Struct, frozen=True, rename="camel"):
    """Of a dynamic or a sub-workflow node."""

    phase: int = 0
    execution_error: FlyteError | None = None


class BitArray(msgspec.Struct, frozen=True):
    """flytestdlib's CompactArray: `count` numbers of `item` bits each, in words of 32 bits."""

    words: list[Annotated[int, msgspec.Meta(ge=0, lt=2**32)]] | None = msgspec.field(default=None, name="BitSet")
    item: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    count: Annotated[int, msgspec.Meta(ge=0, le=MAX_ITEMS)] = 0

    def numbers(self) -> list[int]:
        """Each number's highest bit comes first; words that were never written are zero."""
        words = self.words or []

        def bit(index: int) -> int:
            word, at = divmod(index, 32)
            return words[word] >> at & 1 if word < len(words) else 0

        found = []
        for number in range(self.count):
            value = 0
            for at in range(self.item):
                value = value << 1 | bit(number * self.item + at)
            found.append(value)
        return found


class ArrayStatus(msgspec.Struct, frozen=True):
    phase: int = 0
    error: FlyteError | None = msgspec.field(default=None, name="executionError")
    phases: BitArray = msgspec.field(default=BitArray(), name="subphase")
    task_phases: BitArray = msgspec.field(default=BitArray(), name="subtphase")
    attempts: BitArray = msgspec.field(default=BitArray(), name="subattempts")
    system_failures: BitArray = msgspec.field(default=BitArray(), name="subsysfailures")


class NodeStatus(msgspec.Struct, frozen=True, rename="camel"):
    phase: int = 0
    queued_at: str | None = None
    last_attempt_started_at: str | None = msgspec.field(default=None, name="laStartedAt")
    message: str = ""
    attempts: Count = 0
    system_failures: Count = 0
    branch_status: BranchStatus | None = None
    sub_node_status: dict[str, NodeStatus | None] | None = None
    workflow_node_status: PhaseStatus | None = None
    task_node_status: TaskStatus | None = msgspec.field(default=None, name="TaskNodeStatus")
    dynamic_node_status: PhaseStatus | None = None
    array_node_status: ArrayStatus | None = None
    error: FlyteError | None = None


class FlyteStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The part of FlytePropeller's WorkflowStatus that decides how an execution goes on."""

    phase: int = 0
    started_at: str | None = None
    message: str = ""
    error: FlyteError | None = None
    node_status: dict[str, NodeStatus | None] | None = None


def is_flytes(status: dict[str, Any]) -> bool:
    """Return whether FlytePropeller was the last to write this status, for an execution that it began: it drops
    propeller's fields.
    """
    ours = status.get("nodes") or status.get("nodesReference")
    return bool(status.get("nodeStatus")) and not ours and status.get("phase", 0) != int(WorkflowPhase.READY)
