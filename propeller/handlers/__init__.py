"""What each node kind does: a pure transition for `decide` and, if it needs I/O, an executor for `execute`.

`transitions` is pure; `executors` does the I/O; `plugins` make the resources of attempts. A new node kind is one module
and one line in `transitions.TRANSITIONS`; a new effect is one executor and one line in `EXECUTORS`.
"""

from propeller.handlers.executors._attempts import delete_resource
from propeller.handlers.executors._child_closures import ChildClosures
from propeller.handlers.executors._dynamic import plan_of_futures
from propeller.handlers.executors._gates import Gates, refusals_of
from propeller.handlers.executors._given_up import is_given_up
from propeller.handlers.executors._inline import run_without_suspending
from propeller.handlers.executors._inputs import Inputs
from propeller.handlers.executors._job_deletes import DeleteRecords
from propeller.handlers.executors._jobs import RemoteJobs
from propeller.handlers.executors._launch_plans import LaunchPlans
from propeller.handlers.executors._pressure import LaunchPressure
from propeller.handlers.executors._queue_page import Asked, quotas_page
from propeller.handlers.executors._quotas import LaunchQuotas
from propeller.handlers.executors._run import EXECUTORS, Executor, RetryAfter, RetryState, execute, try_execute_inline
from propeller.handlers.executors._services import Cluster, Kind, Services
from propeller.handlers.executors._subject import attempt_of, launch_plan_of, whole_of
from propeller.handlers.executors._task_cache import TaskCache
from propeller.handlers.executors._tokens import LaunchTokens
from propeller.handlers.executors._waits import Holder, holder_of, tenant_of
from propeller.handlers.executors._windows import Windows
from propeller.handlers.plugins import LAUNCH_PLAN_ANNOTATION
from propeller.handlers.transitions import TRANSITIONS

__all__ = [
    "EXECUTORS",
    "LAUNCH_PLAN_ANNOTATION",
    "TRANSITIONS",
    "Asked",
    "ChildClosures",
    "Cluster",
    "DeleteRecords",
    "Executor",
    "Gates",
    "Holder",
    "Inputs",
    "Kind",
    "LaunchPlans",
    "LaunchPressure",
    "LaunchQuotas",
    "LaunchTokens",
    "RemoteJobs",
    "RetryAfter",
    "RetryState",
    "Services",
    "TaskCache",
    "Windows",
    "attempt_of",
    "delete_resource",
    "execute",
    "holder_of",
    "is_given_up",
    "launch_plan_of",
    "plan_of_futures",
    "quotas_page",
    "refusals_of",
    "run_without_suspending",
    "tenant_of",
    "try_execute_inline",
    "whole_of",
]
