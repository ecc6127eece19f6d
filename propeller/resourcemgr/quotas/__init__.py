"""Resource quotas of Kubernetes: what a pod uses of them, and which launches have room. Pure.

`NamespaceQuotas` is the book of one namespace: quotas, limit ranges and launches in, room and grants out.
"""

from propeller.resourcemgr.quotas._launch import Launch, OutOfRange, Pace, QuotaWait, TooSmall
from propeller.resourcemgr.quotas._namespace import NamespaceQuotas
from propeller.resourcemgr.quotas._quota import Quota, Refusal, quota_of, refusal_of
from propeller.resourcemgr.quotas._scopes import PLAIN, PRIORITY, conditions_of, is_about
from propeller.resourcemgr.quotas._usage import Amounts, missing_constraints, pod_usage, written

__all__ = [
    "PLAIN",
    "PRIORITY",
    "Amounts",
    "Launch",
    "NamespaceQuotas",
    "OutOfRange",
    "Pace",
    "Quota",
    "QuotaWait",
    "Refusal",
    "TooSmall",
    "conditions_of",
    "is_about",
    "missing_constraints",
    "pod_usage",
    "quota_of",
    "refusal_of",
    "written",
]
