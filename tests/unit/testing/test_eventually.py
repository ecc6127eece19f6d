"""Waiting for effects: what counts as success, and what is raised at the deadline."""

from __future__ import annotations

from typing import Any

import pytest

from propeller.errors import Invalid, NotFound
from propeller.testing import eventually, now


def outcomes(*found: Any) -> Any:
    """A check with these results, one after the other; exceptions are raised, and the last one stays."""
    left = list(found)

    def check() -> Any:
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, Exception):
            raise result
        return result

    return check


@pytest.mark.parametrize("success", [0, "", "yes", [1]], ids=repr)
async def test_any_result_but_none_and_false_is_success(success: object) -> None:
    assert await eventually(outcomes(None, False, success), interval=2.0) == success
    assert now() == 4.0


async def test_a_coroutine_function_can_check() -> None:
    check = outcomes(False, 7)

    async def checked() -> Any:
        return check()

    assert await eventually(checked) == 7


@pytest.mark.parametrize("error", [AssertionError("not yet"), NotFound("no pod"), Invalid("no")], ids=repr)
async def test_failed_assertions_and_errors_of_ours_are_retried_until_the_deadline(error: Exception) -> None:
    assert await eventually(outcomes(error, 1)) == 1
    with pytest.raises(type(error), match=str(error)):
        await eventually(outcomes(error), deadline=10.0, interval=1.0)
    assert now() == pytest.approx(10.05)


async def test_a_check_that_is_never_true_times_out_by_its_name() -> None:
    def has_gone() -> bool:
        return False

    with pytest.raises(TimeoutError, match="has_gone was not true within 5 s"):
        await eventually(has_gone, deadline=5.0)


async def test_a_defect_of_the_check_is_raised_at_once() -> None:
    with pytest.raises(ZeroDivisionError):
        await eventually(outcomes(ZeroDivisionError(), 1))
    assert now() == 0.0
