"""Train a classifier: make data, split it, fit, evaluate. Logistic regression in plain Python, so nothing to install.

propeller run examples/training.py train --rows 400 --epochs 30
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass

from flytekit import task, workflow
from flytekit.types.file import FlyteFile


@dataclass
class Model:
    weights: list[float]
    bias: float


@dataclass
class Report:
    accuracy: float
    rows: int


@task
def make_data(rows: int, seed: int) -> FlyteFile:
    """Two noisy clouds of points, one for each class, as a file of JSON lines."""
    rng = random.Random(seed)
    path = "data.jsonl"
    with open(path, "w") as file:
        for _ in range(rows):
            label = rng.randrange(2)
            x, y = rng.gauss(2.0 * label, 1.0), rng.gauss(-1.5 * label, 1.0)
            file.write(json.dumps([x, y, float(label)]) + "\n")
    return FlyteFile(path)


@task
def split(data: FlyteFile, test_share: float, seed: int) -> tuple[list[list[float]], list[list[float]]]:
    """Shuffle and cut into a training and a test set."""
    with open(data) as file:
        rows = [json.loads(line) for line in file]
    random.Random(seed).shuffle(rows)
    cut = round(len(rows) * (1 - test_share))
    return rows[:cut], rows[cut:]


@task
def fit(rows: list[list[float]], epochs: int, rate: float) -> Model:
    """Stochastic gradient descent on the logistic loss."""
    weights, bias = [0.0, 0.0], 0.0
    for _ in range(epochs):
        for x, y, label in rows:
            error = _probability(weights, bias, x, y) - label
            weights = [weights[0] - rate * error * x, weights[1] - rate * error * y]
            bias -= rate * error
    return Model(weights=[round(w, 6) for w in weights], bias=round(bias, 6))


@task
def evaluate(model: Model, rows: list[list[float]]) -> Report:
    """The share of rows whose class the model guesses right."""
    right = sum((_probability(model.weights, model.bias, x, y) > 0.5) == bool(label) for x, y, label in rows)
    return Report(accuracy=round(right / len(rows), 4), rows=len(rows))


def _probability(weights: list[float], bias: float, x: float, y: float) -> float:
    return 1 / (1 + math.exp(-(weights[0] * x + weights[1] * y + bias)))


@workflow
def train(rows: int = 300, epochs: int = 20, rate: float = 0.1, seed: int = 7) -> tuple[Model, Report]:
    """Split, fit and evaluate a classifier on made-up data."""
    data = make_data(rows=rows, seed=seed)
    training, test = split(data=data, test_share=0.25, seed=seed)
    model = fit(rows=training, epochs=epochs, rate=rate)
    return model, evaluate(model=model, rows=test)
