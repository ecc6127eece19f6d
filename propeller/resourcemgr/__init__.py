"""Who may have what, and in which order: the fair order of waiting keys, shared by the work queue and token waits."""

from propeller.resourcemgr._fair import FairQueue

__all__ = ["FairQueue"]
