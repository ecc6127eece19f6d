"""The tree of a running execution."""

from __future__ import annotations

import io
from collections.abc import Iterable
from itertools import islice

from rich.console import Console, RenderableType

from propeller.cli._progress import Lines
from propeller.cli._status import as_data
from propeller.cli._tree import tree
from propeller.clock import SYSTEM_CLOCK
from propeller.status import SHORT_MESSAGE_CHARACTERS
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    Effect,
    EffectFailed,
    Execution,
    Failure,
    InputsWritten,
    Launch,
    NodeEvent,
    Refusals,
    Refused,
    WriteInputs,
)
from tests.unit.workflow.drive import Driver, execution, graph, plan, task


def text(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(renderable)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def mapped(size: int, *, failing: int | None = None) -> Execution:
    """A map task of that many items, of which one may fail for good."""

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, WriteInputs):
            return (InputsWritten(size),)
        if isinstance(effect, Launch) and failing is not None and of.view(effect.node).item == failing:
            return (
                AttemptObserved(
                    effect.attempt, AttemptPhase.FAILED, failure=Failure("E", "first line\nwhat went wrong")
                ),
            )
        return None

    root = graph(task("a"), {"id": "n1", "kind": "array", "array": {"SubNodeSpec": task("item")}}, edges=[("a", "n1")])
    return Driver(execution(plan(root)), answer).run()


def test_a_tree_names_the_workflow_and_every_node() -> None:
    shown = text(tree(Driver(execution(plan(graph(task("a"), task("b"))))).run(), 1005.0))
    assert "✔ w  e" in shown
    assert "✔ a" in shown
    assert "✔ b" in shown
    assert "end-node" not in shown


def test_a_long_map_task_shows_some_items_and_counts_the_others() -> None:
    shown = text(tree(mapped(10), 1005.0))
    assert "[5]" in shown
    assert "[6]" not in shown
    assert "… 4 more: 4 succeeded" in shown


def test_a_failure_node_that_has_run_is_a_line_of_its_own() -> None:
    def fail(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch) and of.view(effect.node).spec.id == "a":
            return (EffectFailed(effect.attempt, Failure("E", "no")),)
        return None

    shown = text(tree(Driver(execution(plan(graph(task("a"), onFailure=task("clean")))), fail).run(), 1005.0))
    assert [line.split()[2] for line in shown.splitlines()[1:]] == ["a", "clean"]


def test_an_item_that_failed_is_shown_wherever_it_is() -> None:
    shown = text(tree(mapped(10, failing=8), 1005.0))
    assert "✘ [8]" in shown
    assert "what went wrong" not in shown, "the execution has failed with it, and says it once at its end"


def test_without_redrawing_each_change_is_a_line() -> None:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    lines = Lines(console, SYSTEM_CLOCK)
    done = Driver(execution(plan(graph(task("a"), task("b"))))).run()
    lines.changed(done)
    lines.changed(done)
    written = console.file
    assert isinstance(written, io.StringIO)
    assert len(written.getvalue().splitlines()) == 2


def test_a_node_whose_pod_is_refused_shows_reason_since_and_tries() -> None:
    """Regression: only the first words of the reason, and nothing at all while the create was tried again."""
    why = "pods is forbidden: exceeded what the \x1b]0;policy\x07 allows " + "at length " * 100
    refusals = iter([Refused(0, why, 600.0, Refusals(3, 1000.0, 1000.0, why))])

    def refuse_once(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        return tuple(islice(refusals, 1)) if isinstance(effect, Launch) else None

    waiting = Driver(execution(plan(graph(task("a"), task("b"), edges=[("a", "b")]))), refuse_once).run()
    shown = text(tree(waiting, 1005.0))
    assert "waits: pods is forbidden" in shown
    assert "since 1970-01-01T00:16:40Z, tried 3 times" in " ".join(shown.replace("│", " ").split())
    assert "\x1b" not in shown
    a, b = as_data(waiting)["nodes"]
    assert (a["waits"]["since"], a["waits"]["tries"]) == ("1970-01-01T00:16:40Z", 3)
    assert len(a["waits"]["reason"]) <= SHORT_MESSAGE_CHARACTERS
    assert b["waits"] is None
