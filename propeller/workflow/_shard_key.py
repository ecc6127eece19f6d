"""FlyteAdmin's shard key: a label of every FlyteWorkflow, by which several controllers divide them."""

from __future__ import annotations

from propeller.fnv import fnv1a_32

SHARD_LABEL = "shard-key"

SHARD_KEYS = 32
"""Values of the label, from 0 (v1alpha1.ShardKeyspaceSize)."""


def shard_key(execution: str) -> str:
    """The label's value of an execution of that name."""
    return str(fnv1a_32(execution.encode()) % SHARD_KEYS)
