"""Shards: several processes divide a kind's objects, and each caches and reconciles its own alone."""

from propeller.reconcile.shards._assignment import assign
from propeller.reconcile.shards._fence import FencedTransport
from propeller.reconcile.shards._group import GroupView, change_rollout, view_group
from propeller.reconcile.shards._interlock import Interlock, NoLeader, NoMembers, lead_alone
from propeller.reconcile.shards._keyspace import Keyspace, LabelShards
from propeller.reconcile.shards._members import Peers
from propeller.reconcile.shards._membership import Membership
from propeller.reconcile.shards._options import ShardOptions
from propeller.reconcile.shards._shard_map import ShardMap
from propeller.reconcile.shards._work import ShardServer

__all__ = [
    "FencedTransport",
    "GroupView",
    "Interlock",
    "Keyspace",
    "LabelShards",
    "Membership",
    "NoLeader",
    "NoMembers",
    "Peers",
    "ShardMap",
    "ShardOptions",
    "ShardServer",
    "assign",
    "change_rollout",
    "lead_alone",
    "view_group",
]
