"""Who may have what, and in which order: pools of tokens with limits, shared fairly between tenants; and the fair order
of waiting keys, which the work queue has.

`Tokens` is what a caller sees of it, whatever keeps them. `Ledger` is all of it in one process, without I/O: limits in,
claims in, grants out. `MemoryTokens` gives it time and callbacks; `needs_of` makes claims of tasks by an operator's
rules.
"""

from propeller.resourcemgr._backend import Backend, Tokens
from propeller.resourcemgr._borrowing import shares_of, with_borrowing
from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._fair_groups import FairGroups
from propeller.resourcemgr._fair_queue import FairQueue
from propeller.resourcemgr._ledger import Ledger
from propeller.resourcemgr._lending import kept_of
from propeller.resourcemgr._limits import (
    MAX_DEPTH,
    MAX_TOKENS,
    POOL_NAME,
    SEPARATOR,
    Limits,
    Path,
    Pool,
    Tenant,
    check,
    path_of,
)
from propeller.resourcemgr._options import ResourceOptions, Rule
from propeller.resourcemgr._rules import Demand, check_options, needs_of, text_of, wanted_pools
from propeller.resourcemgr._tenant_turns import TenantTurns
from propeller.resourcemgr._tokens import MemoryTokens, in_memory
from propeller.resourcemgr._usage import PoolUsage, TenantUsage, Usage, ideals_of, share_of

__all__ = [
    "MAX_DEPTH",
    "MAX_TOKENS",
    "POOL_NAME",
    "SEPARATOR",
    "Backend",
    "Claim",
    "Demand",
    "FairGroups",
    "FairQueue",
    "Ledger",
    "Limits",
    "MemoryTokens",
    "Path",
    "Pool",
    "PoolUsage",
    "ResourceOptions",
    "Rule",
    "Tenant",
    "TenantTurns",
    "TenantUsage",
    "Tokens",
    "Usage",
    "Wait",
    "check",
    "check_options",
    "ideals_of",
    "in_memory",
    "kept_of",
    "needs_of",
    "path_of",
    "share_of",
    "shares_of",
    "text_of",
    "wanted_pools",
    "with_borrowing",
]
