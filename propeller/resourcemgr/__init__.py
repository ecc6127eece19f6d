"""Who may have what, and in which order: pools of tokens with limits, shared fairly between tenants; and the fair order
of waiting keys, which the work queue has.

`Ledger` is all of it in one process, without I/O: limits in, claims in, grants out.
"""

from propeller.resourcemgr._claims import Claim, Wait
from propeller.resourcemgr._fair_queue import FairQueue
from propeller.resourcemgr._ledger import Ledger
from propeller.resourcemgr._limits import Limits, Pool, Tenant, check

__all__ = ["Claim", "FairQueue", "Ledger", "Limits", "Pool", "Tenant", "Wait", "check"]
