"""Cost grows with size: ratios within one run, never an absolute time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import orjson
import pytest

from propeller.cli._plan_text import explain
from propeller.compiler import build_resource, compile_workflow
from propeller.workflow import parse_plan
from tests.unit.compiler import shapes
from tests.unit.growth import grows_beyond

SMALL, LARGE = 500, 8_000
SLACK = 3.0
"""How many times more than its share a size may cost: caches, the collector, a busy machine."""

TASKS = [shapes.add_task()]


def _document(length: int) -> bytes:
    return orjson.dumps(build_resource(compile_workflow(shapes.chain(length), [], TASKS), None, None, ""))


def _compile(length: int) -> Callable[[], object]:
    made = shapes.chain(length)
    return lambda: compile_workflow(made, [], TASKS)


def _build(length: int) -> Callable[[], object]:
    closure = compile_workflow(shapes.chain(length), [], TASKS)
    return lambda: build_resource(closure, None, None, "")


def _parse(length: int) -> Callable[[], object]:
    document = _document(length)
    return lambda: parse_plan(document, "digest")


def _explain(length: int) -> Callable[[], object]:
    plan = parse_plan(_document(length), "digest")
    return lambda: explain(plan)


def _refuse(length: int) -> Callable[[], object]:
    """One sub-workflow that is wrong, called by every node."""
    broken = shapes.chain(length)
    broken.id.name = "s"
    del broken.nodes[0].inputs[:]
    caller = shapes.calling(["s"] * length)

    def attempt() -> None:
        with pytest.raises(Exception, match="not bound"):
            compile_workflow(caller, [broken], TASKS)

    return attempt


@pytest.mark.parametrize("prepare", [_compile, _build, _parse, _explain, _refuse])
def test_time_grows_no_faster_than_the_workflow(prepare: Callable[[int], Callable[[], object]]) -> None:
    assert not grows_beyond(SLACK * LARGE / SMALL, prepare(SMALL), prepare(LARGE))


def test_layered_graphs_cost_in_proportion_to_their_edges() -> None:
    shallow, deep = shapes.layers(10, 10), shapes.layers(80, 10)
    small, large = (lambda: compile_workflow(shallow, [], TASKS)), (lambda: compile_workflow(deep, [], TASKS))
    assert not grows_beyond(SLACK * 8, small, large)


def test_a_plan_holds_less_than_the_document_that_it_was_read_from() -> None:
    document = _document(LARGE)
    tracemalloc.start()
    plan = parse_plan(document, "digest")
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert plan.node_count > LARGE
    assert held < 2 * len(document)
