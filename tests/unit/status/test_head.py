"""The readable part of a status."""

from __future__ import annotations

from typing import Any

from propeller.handlers import STEPS
from propeller.status import head
from propeller.workflow import Failure, begin
from tests.unit.workflow.drive import Driver, execution, graph, plan, task


def merged(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A merge patch of one level (RFC 7386), as the API server applies it."""
    return {key: value for key, value in (before | patch).items() if value is not None}


def test_a_later_head_forgets_the_counts_of_an_earlier_one() -> None:
    """A status is a merge patch: a phase that was left out stayed, and ended workflows had running nodes."""

    running = execution(plan(graph(task("a"), task("b"))))
    begin(running, STEPS, 1000.0)
    ended = Driver(execution(plan(graph(task("a"), task("b"))))).run()
    before = merged({}, head(running, 1001.0)["counts"])
    assert before == {"running": 2}
    assert merged(before, head(ended, 1002.0)["counts"]) == {"succeeded": 2}


def test_a_long_message_keeps_its_begin_and_its_end() -> None:
    failed = Driver(execution(plan(graph(task("a"))))).run()
    failed.failure = Failure("E", "begin " + "x" * 100_000 + " end")
    message = head(failed, 1001.0)["error"]["message"]
    assert len(message) < 10_000
    assert message.startswith("begin ")
    assert message.endswith(" end")
