"""The protocol keeps its promises in every state of the small configurations, and each planted defect breaks one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.model import defects
from tests.model.catalogue import AT_ODDS, CONFIGURATIONS, PLANTED
from tests.model.configurations import Configuration
from tests.model.invariants import RESULT_KEPT
from tests.model.protocol import Protocol
from tests.model.search import STUCK, Broken, Step, TooLarge, search


@pytest.mark.timeout(240)
@pytest.mark.parametrize("plan", CONFIGURATIONS, ids=lambda plan: plan.name)
def test_no_reachable_state_breaks_a_promise(plan: Configuration) -> None:
    result = search(Protocol(plan), not_promised=plan.not_promised, limit=200_000)
    assert result.finding is None, "\n".join([str(result.finding.broken), *result.finding.trace])
    assert result.known.keys() == plan.not_promised, "what is said not to hold does hold, or cannot be shown here"


@pytest.mark.parametrize("defect", PLANTED)
def test_a_planted_defect_is_found(defect: str) -> None:
    plan, invariant = PLANTED[defect]
    result = search(Protocol(replace(plan, planted=frozenset({defect}))), limit=200_000)
    assert result.finding is not None
    assert result.finding.broken.name == invariant
    assert len(result.finding.trace) >= result.depth


def test_every_defect_is_planted() -> None:
    named = {value for value in vars(defects).values() if isinstance(value, str) and value in PLANTED}
    assert named == PLANTED.keys()
    assert PLANTED.keys() >= defects.UNFENCED


def test_two_controllers_may_differ_about_a_time_out() -> None:
    finding = search(Protocol(AT_ODDS), not_promised=AT_ODDS.not_promised).finding
    assert finding is not None
    assert finding.broken.name == RESULT_KEPT


def test_a_trace_is_the_same_each_time() -> None:
    plan, _ = PLANTED[defects.END_FORGOTTEN]
    model = Protocol(replace(plan, planted=frozenset({defects.END_FORGOTTEN})))
    assert search(model).finding == search(model).finding


class Stairs:
    """From 0 upwards by one or two; `trap` leads nowhere, `hole` breaks."""

    def __init__(self, *, top: int = 9, trap: int = -1, hole: int = -1) -> None:
        self.top = top
        self.trap = trap
        self.hole = hole

    def initial(self) -> int:
        return 0

    def steps(self, state: int) -> Iterator[Step[int]]:
        for more in (1, 2):
            if state != self.trap and state + more <= self.top:
                broken = Broken("no hole", "fell") if state + more == self.hole else None
                yield Step(f"+{more}", state + more, broken=broken)
        if state == self.trap:
            yield Step("luck", self.top, fault=True)

    def quiet(self, state: int) -> Broken | None:
        return None

    def ended(self, state: int) -> bool:
        return state == self.top


def test_a_search_sees_every_state() -> None:
    result = search(Stairs())
    assert (result.states, result.steps, result.depth, result.finding) == (10, 17, 5, None)


def test_what_is_broken_is_reached_the_shortest_way() -> None:
    finding = search(Stairs(hole=6)).finding
    assert finding is not None
    assert finding.trace == ["+2", "+2", "+2"]


def test_a_state_that_faults_alone_lead_out_of_is_stuck() -> None:
    finding = search(Stairs(trap=4)).finding
    assert finding is not None
    assert (finding.broken.name, finding.trace) == (STUCK, ["+2", "+2"])


def test_what_is_not_promised_is_told_and_the_search_goes_on() -> None:
    result = search(Stairs(hole=6), not_promised=frozenset({"no hole"}))
    assert (result.states, result.finding) == (10, None)
    assert result.known["no hole"].trace == ["+2", "+2", "+2"]


def test_a_space_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        search(Stairs(), limit=5)
