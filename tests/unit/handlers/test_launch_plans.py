"""Launch plans that were read are kept, some of them, and what is kept costs a new one nothing."""

from __future__ import annotations

import msgspec
import pytest

from propeller.handlers import LaunchPlans, run_without_suspending
from propeller.handlers.executors import _launch_plans
from propeller.registry import StoredRegistry
from propeller.storage import Storage
from propeller.workflow import LaunchPlan, LaunchPlanRef
from tests.unit.growth import grows_beyond


class Carried:
    """Launch plans that a resource carries."""

    def __init__(self, count: int) -> None:
        self.references = [LaunchPlanRef("p", "d", f"plan{number}", "v") for number in range(count)]
        self.documents = {one.path: _document(one) for one in self.references}

    def find(self, plans: LaunchPlans, number: int) -> LaunchPlan:
        found = run_without_suspending(plans.find(self.references[number], self.documents))
        assert found is not None
        return found

    def find_all(self) -> None:
        plans = launch_plans()
        for number in range(len(self.references)):
            self.find(plans, number)


def _document(of: LaunchPlanRef) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"launchPlan": {"id": msgspec.to_builtins(of)}, "spec": {}}))


def launch_plans() -> LaunchPlans:
    return LaunchPlans(StoredRegistry(Storage(), "memory://registry"))


def test_the_plans_that_were_used_last_are_kept_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch_plans, "KEPT_BYTES", 2 * _launch_plans.ENTRY_BYTES + 500)
    carried, plans = Carried(3), launch_plans()
    first, second = carried.find(plans, 0), carried.find(plans, 1)
    assert carried.find(plans, 0) is first
    carried.find(plans, 2)
    assert carried.find(plans, 0) is first
    assert carried.find(plans, 1) is not second


def test_a_plan_is_read_in_the_same_time_however_many_are_kept() -> None:
    few, many = Carried(500), Carried(5000)
    assert not grows_beyond(20, few.find_all, many.find_all)
