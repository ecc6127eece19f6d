"""Read what Kueue and other queues write into a pod: scheduling gates, and that they have taken it back.

A pod with a scheduling gate waits in the queue of whoever has set the gate. None of its containers has begun, and none
will as long as it is being deleted: a finalizer may still keep its object.

Source: KEP-3521 (scheduling gates); Kueue 0.17, pkg/controller/jobs/pod: its webhook adds the gate
`kueue.x-k8s.io/admission` and the finalizer `kueue.x-k8s.io/managed`; a pod that it takes back gets the condition
`TerminationTarget` and is deleted.
"""

from __future__ import annotations

from propeller.handlers.plugins._metadata import QUEUE_LABEL
from propeller.kube import Pod
from propeller.text import bounded

GATE = "kueue.x-k8s.io/admission"
TERMINATION_TARGET = "TerminationTarget"

MAX_GATES = 5
"""Gates that a reason names."""

REASON_CHARACTERS = 300
"""Of all of it: a gate's name may have 317."""


def is_gated(pod: Pod) -> bool:
    """Whether the pod cannot be scheduled yet, as a queue holds it."""
    return bool(pod.spec.scheduling_gates)


def waits_for(pod: Pod) -> str:
    """What a gated pod waits for, in words."""
    gates = [gate.name for gate in pod.spec.scheduling_gates]
    if GATE in gates:
        queue = (pod.metadata.labels or {}).get(QUEUE_LABEL)
        return f"waits for Kueue: LocalQueue {queue}" if queue else "waits for Kueue"
    names = ", ".join(gates[:MAX_GATES]) + (", ..." if len(gates) > MAX_GATES else "")
    return bounded(f"waits for scheduling gates: {names}", REASON_CHARACTERS)


def taken_back(pod: Pod) -> str | None:
    """Why a queue has taken the pod back (evicted, preempted), None if it has not."""
    for condition in pod.status.conditions:
        if condition.type == TERMINATION_TARGET and condition.status == "True":
            return ": ".join(filter(None, (condition.reason, condition.message))) or TERMINATION_TARGET
    return None
