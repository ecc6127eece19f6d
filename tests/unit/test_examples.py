"""Hypothesis tries few examples while somebody waits, and all of them in CI."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.examples import FULL, QUICK, examples, load_profile


@pytest.fixture(autouse=True)
def _profile_of_the_run() -> Iterator[None]:
    before = settings.get_current_profile_name()
    yield
    settings.load_profile(before)


@pytest.mark.parametrize(("ci", "default", "of_300"), [("true", FULL, 300), ("", QUICK, 60)])
def test_the_profile_scales_every_test(monkeypatch: pytest.MonkeyPatch, ci: str, default: int, of_300: int) -> None:
    monkeypatch.setenv("CI", ci)
    load_profile()
    assert settings().max_examples == default
    assert examples(300).max_examples == of_300
    assert examples(1).max_examples == 1


def test_no_test_waits_for_a_deadline_of_hypothesis() -> None:
    assert settings().deadline is None
    assert examples(10).deadline is None


def test_options_of_a_test_are_kept() -> None:
    assert examples(10, stateful_step_count=7).stateful_step_count == 7
