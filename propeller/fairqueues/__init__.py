"""FairQueue: limits as a resource of the cluster, followed without a restart, with a status that says who has what.

`merge` is what several of them and the settings say together, without I/O; `FairQueues` follows them.
"""

from propeller.fairqueues._definition import fair_queue_crd
from propeller.fairqueues._edit import Edit, edits
from propeller.fairqueues._follower import FairQueues
from propeller.fairqueues._kind import FAIR_QUEUES, RAW_FAIR_QUEUES, FairQueue
from propeller.fairqueues._merge import Accepted, Check, Collision, Merged, Verdict, merge
from propeller.fairqueues._spec import Declaration, decode

__all__ = [
    "FAIR_QUEUES",
    "RAW_FAIR_QUEUES",
    "Accepted",
    "Check",
    "Collision",
    "Declaration",
    "Edit",
    "FairQueue",
    "FairQueues",
    "Merged",
    "Verdict",
    "decode",
    "edits",
    "fair_queue_crd",
    "merge",
]
