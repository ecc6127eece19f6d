"""An item of a map task costs the same, and about what a task costs, however many there are; memory is bounded."""

from __future__ import annotations

import tracemalloc

from propeller.workflow import WorkflowPhase
from tests.unit.growth import grows_beyond
from tests.unit.workflow.drive import Driver, execution, graph, plan, task
from tests.unit.workflow.test_map_tasks import array, of_size

FEW, MANY, VERY_MANY = 1_000, 10_000, 100_000


def run(items: int) -> Driver:
    driver = Driver(execution(plan(graph(array(Parallelism=50)))), of_size(items))
    assert driver.run().phase is WorkflowPhase.SUCCEEDED
    return driver


def test_deciding_about_an_item_does_not_cost_more_among_ten_times_as_many() -> None:
    assert not grows_beyond(1.5 * MANY / FEW, lambda: run(FEW), lambda: run(MANY))


def test_deciding_about_an_item_costs_no_more_than_twice_a_task() -> None:
    tasks = plan(graph(*(task(f"t{number}") for number in range(FEW))))

    def run_tasks() -> None:
        Driver(execution(tasks)).run()

    assert not grows_beyond(2.0, run_tasks, lambda: run(FEW))


def test_a_map_task_over_100_000_items_takes_less_than_50_mb() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        driver = run(VERY_MANY)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(driver.launched) == VERY_MANY
    assert peak < 50e6
