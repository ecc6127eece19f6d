"""The parts of any controller, without workflows: a fair work queue, a reconcile loop, leader election, shards.

Reconciles are level-triggered: a key says that an object has changed, and the reconcile reads its present state.
"""

from propeller.reconcile._controller import Controller, Outcome, Result
from propeller.reconcile._lease import Election, Leadership, LeaseClient, LeaseLost
from propeller.reconcile._options import ElectionOptions, QueueOptions, WatchdogOptions
from propeller.reconcile._pool import FairPool
from propeller.reconcile._queue import Closed, WorkQueue, backoff
from propeller.reconcile._signals import run_until_signal
from propeller.reconcile._watchdog import Watchdog

__all__ = [
    "Closed",
    "Controller",
    "Election",
    "ElectionOptions",
    "FairPool",
    "Leadership",
    "LeaseClient",
    "LeaseLost",
    "Outcome",
    "QueueOptions",
    "Result",
    "Watchdog",
    "WatchdogOptions",
    "WorkQueue",
    "backoff",
    "run_until_signal",
]
