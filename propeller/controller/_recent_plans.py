"""Keep the plans that executions used last, so that workflows that run one after the other share one, too.

Guarantees
    Memory is bounded, whoever creates workflows: at most `CAPACITY` bytes of closures are accounted for. A plan takes
    two to eight times its closure. Each use accounts for the closure again, as an execution may have a plan derive as
    much (the shape of its pods, for one with its own service account).
    Nothing is stale: a plan is what its digest says, and what it derives is found by all that it depends on.
"""

from __future__ import annotations

from collections import OrderedDict

from propeller.workflow import Plan

CAPACITY = 1024 * 1024
"""Bytes. Hundreds of plans of a few tasks: more than are likely to be used again before they are parsed again. Parsing
one and building its first pod costs a fifth of a millisecond.
"""

MAX_SHARE = 4
"""A plan whose uses amount to more than this fraction of the capacity is dropped, and parsed again at the next use
without an execution that runs it. A large plan's own tasks cost far more than its parsing.
"""

OVERHEAD_BYTES = 1_000
"""Cost of a use besides the closure: what the smallest plan takes, by the same measure."""


class RecentPlans:
    """By digest, the least recently used one out first."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, tuple[Plan, int]] = OrderedDict()
        self._cost = 0

    def use(self, plan: Plan) -> None:
        """Keep the plan that an execution is about to use."""
        _, before = self._plans.pop(plan.digest, (plan, 0))
        cost = before + plan.closure_bytes + OVERHEAD_BYTES
        self._cost -= before
        if cost * MAX_SHARE > CAPACITY:
            return
        self._plans[plan.digest] = plan, cost
        self._cost += cost
        while self._cost > CAPACITY:
            _, (_, dropped) = self._plans.popitem(last=False)
            self._cost -= dropped
