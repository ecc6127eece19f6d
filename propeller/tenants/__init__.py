"""Namespaces, quotas, accounts, roles and policies for each project and domain, on each cluster, from templates, as
Flyte's cluster resource controller makes them.

`load` reads the file that says what there should be, `rendered` is what that means for each tenant, both without a
request; `sync` makes one cluster be so, and says what differed.
"""

from propeller.tenants._changes import Action, Change, ClusterReport
from propeller.tenants._config import Cluster, Tenants, load
from propeller.tenants._rendered import Rendered, read_templates, rendered
from propeller.tenants._sync import SyncOptions, sync

__all__ = [
    "Action",
    "Change",
    "Cluster",
    "ClusterReport",
    "Rendered",
    "SyncOptions",
    "Tenants",
    "load",
    "read_templates",
    "rendered",
    "sync",
]
