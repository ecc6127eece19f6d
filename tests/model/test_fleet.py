"""Shards and placements keep their promises in every state that is searched, and each planted defect breaks one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.fleet import defects
from tests.model.fleet.catalogue import CONFIGURATIONS, PLANTED
from tests.model.fleet.configurations import Fleet
from tests.model.fleet.model import Model
from tests.model.search import search


@pytest.mark.timeout(240)
@pytest.mark.parametrize("plan", CONFIGURATIONS, ids=lambda plan: plan.name)
def test_no_reachable_state_breaks_a_promise(plan: Fleet) -> None:
    result = search(Model(plan), not_promised=plan.not_promised, limit=100_000)
    assert result.finding is None, "\n".join([str(result.finding.broken), *result.finding.trace])
    assert result.known.keys() == plan.not_promised, "what is said not to hold does hold, or cannot be shown here"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("defect", PLANTED)
def test_a_planted_defect_is_found(defect: str) -> None:
    plan, invariant = PLANTED[defect]
    result = search(Model(replace(plan, planted=frozenset({defect}))), not_promised=plan.not_promised, limit=100_000)
    assert result.finding is not None
    assert result.finding.broken.name == invariant


def test_every_defect_is_planted() -> None:
    assert PLANTED.keys() == {value for name, value in vars(defects).items() if name.isupper()}
