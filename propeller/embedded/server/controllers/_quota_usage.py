"""An object's usage of a quota (k8s.io/kubernetes/pkg/quota/v1/evaluator/core)."""

from __future__ import annotations

from decimal import Decimal

from propeller.clock import parse_rfc3339
from propeller.embedded.server._storage import Object
from propeller.embedded.server.registry._kinds import Kind
from propeller.resourcemgr.quotas import Amounts, pod_usage

_COUNTED_BY_PLURAL = ("configmaps", "secrets", "resourcequotas")
_FINISHED = ("Succeeded", "Failed")


def usage(kind: Kind, obj: Object, now: float | None = None) -> Amounts:
    """How much an object uses of each thing that can be limited.

    A pod that should have gone before `now` (epoch seconds) is not charged for; without it, that makes no difference.
    """
    plural = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    used = {f"count/{plural}": Decimal(1)}
    if kind.group == "" and kind.plural in _COUNTED_BY_PLURAL:
        used[kind.plural] = Decimal(1)
    if kind.group == "" and kind.kind == "Pod" and _counts(obj, now):
        used |= pod_usage(obj)
    return used


def _counts(pod: Object, now: float | None) -> bool:
    """Whether a pod is charged for: not once it has ended, or should long have gone."""
    if (pod.get("status") or {}).get("phase") in _FINISHED:
        return False
    metadata = pod["metadata"]
    seconds, ends = metadata.get("deletionGracePeriodSeconds"), metadata.get("deletionTimestamp")
    return now is None or seconds is None or ends is None or now <= parse_rfc3339(ends) + float(seconds)
