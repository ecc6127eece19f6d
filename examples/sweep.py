"""A hyperparameter sweep: one map task item for each learning rate, then the best one.

propeller run examples/sweep.py sweep --rates '[0.001, 0.03, 0.1, 0.9]'
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from flytekit import map_task, task, workflow


@dataclass
class Trial:
    rate: float
    loss: float


@task
def grid(lowest: float, count: int) -> list[float]:
    """`count` rates, each three times the one before."""
    return [round(lowest * 3**step, 6) for step in range(count)]


@task
def attempt(rate: float, steps: int) -> Trial:
    """Minimize (x - 3)^2 + 1 by gradient descent; the loss is where it got to."""
    x = 0.0
    for _ in range(steps):
        x -= rate * 2 * (x - 3)
    return Trial(rate=rate, loss=round((x - 3) ** 2 + 1, 6))


@task
def best(trials: list[Trial]) -> Trial:
    return min(trials, key=lambda trial: trial.loss)


@workflow
def sweep(lowest: float = 0.003, count: int = 6, steps: int = 25) -> tuple[Trial, list[Trial]]:
    """Try learning rates side by side, and keep the best."""
    rates = grid(lowest=lowest, count=count)
    trials = map_task(functools.partial(attempt, steps=steps), concurrency=4)(rate=rates)
    return best(trials=trials), trials
