"""Who may have what, and in which order: pools of tokens with limits, shared fairly between tenants; and the fair order
of waiting keys, which the work queue has.

`Ledger` is all of it in one process, without I/O: limits in, claims in, grants out. `MemoryTokens` gives it time and
callbacks; `needs_of` makes claims of tasks by an operator's rules.
"""

from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._fair_queue import FairQueue
from propeller.resourcemgr._ledger import Ledger
from propeller.resourcemgr._limits import SEPARATOR, Limits, Pool, Tenant, check, path_of
from propeller.resourcemgr._options import ResourceOptions, Rule
from propeller.resourcemgr._rules import Demand, check_options, needs_of, text_of, wanted_pools
from propeller.resourcemgr._tokens import MemoryTokens

__all__ = [
    "SEPARATOR",
    "Claim",
    "Demand",
    "FairQueue",
    "Ledger",
    "Limits",
    "MemoryTokens",
    "Pool",
    "ResourceOptions",
    "Rule",
    "Tenant",
    "Wait",
    "check",
    "check_options",
    "needs_of",
    "path_of",
    "text_of",
    "wanted_pools",
]
