"""FlyteAdmin's shard key: a label of every FlyteWorkflow, by which several controllers divide them."""

from __future__ import annotations

from propeller.fnv import fnv1a_32

SHARD_LABEL = "shard-key"

SHARD_KEYS = 32
"""Values of the label, from 0 (v1alpha1.ShardKeyspaceSize)."""

_OF_CLUSTER = "cluster-"
"""With the name of a cluster, which may be a number, it is a label's value of 63 characters at most."""


def shard_key(execution: str) -> str:
    """The label's value of an execution of that name."""
    return str(fnv1a_32(execution.encode()) % SHARD_KEYS)


def key_of_cluster(cluster: str) -> str:
    """The label's value of executions that are in the shard of a cluster. FlytePropeller, and controllers that know no
    such shard, take it for no key.
    """
    return _OF_CLUSTER + cluster


def cluster_of_key(key: str) -> str:
    """The cluster of such a value; "" for any other."""
    return key.removeprefix(_OF_CLUSTER) if key.startswith(_OF_CLUSTER) else ""
