"""Inputs that `pyflyte run` takes, and more of the types that tasks declare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Propeller

Flow = Callable[[str], Path]

pytestmark = pytest.mark.needs("embedded", "flytekit")


def outputs(propeller: Propeller, *words: str | Path) -> Any:
    return propeller.run(*words, "--output", "json").json


TYPES = """
import datetime
import typing_extensions
from dataclasses import dataclass
from flytekit.types.error.error import FlyteError
from flytekit.types.structured import StructuredDataset

@dataclass
class Range:
    low: int = 0

@dataclass
class Options:
    name: str

@task
def show(
    ratios: typing.List[float],
    weights: typing.Dict[str, float],
    ranges: typing.List[Range],
    named: typing.Optional[typing.Dict[str, Range]],
    pauses: typing.List[datetime.timedelta],
    tables: typing.List[StructuredDataset],
    options: Options,
    counts: typing_extensions.Annotated[typing.List[int], "each"],
    limit: typing.Optional[int] = 5,
    error: typing.Optional[FlyteError] = None,
) -> typing.List[str]:
    lows = (ranges[0].low, named["a"].low)
    shown = (ratios, weights, *lows, pauses[0], tables[0].literal.uri, options.name, counts, limit, error)
    return [str(one) for one in shown]
"""
VALUES: dict[str, Any] = {
    "ratios": [1, 0.5],
    "weights": {"a": 2},
    "ranges": [{"low": 3}],
    "named": {"a": {"low": 4}},
    "pauses": ["90 minutes"],
    "tables": ["s3://bucket/table.parquet"],
    "options": {"name": "fast"},
    "counts": [6],
    "limit": None,
}
SHOWN = [
    "[1.0, 0.5]", "{'a': 2.0}", "3", "4", "1:30:00", "s3://bucket/table.parquet", "fast", "[6]", "None", "None",
]  # fmt: skip
STEP = (
    "import datetime\n@task\ndef step(n: int, day: datetime.date, name: str, loud: bool = True) -> str:\n"
    "    return f'{n} {day} {name} {loud}'\n"
)
IN_YAML = "n: 3\nday: 2024-02-29\nname: '-'\nloud: false\n"


def test_items_of_lists_and_mappings_are_of_the_types_that_the_task_declares(propeller: Propeller, flow: Flow) -> None:
    words = [word for name, value in VALUES.items() for word in (f"--{name}", json.dumps(value))]
    assert outputs(propeller, flow(TYPES), "show", *words) == {"o0": SHOWN}


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_inputs_are_read_from_a_file_and_words_precede_it(propeller: Propeller, flow: Flow, suffix: str) -> None:
    file = flow(STEP)
    inputs = file.with_name(f"inputs.{suffix}")
    in_json = json.dumps({"n": 3, "day": "2024-02-29", "name": "-", "loud": False})
    inputs.write_text(in_json if suffix == "json" else IN_YAML)
    given = ("--inputs-file", str(inputs))
    assert outputs(propeller, file, "step", *given) == {"o0": "3 2024-02-29 - False"}
    assert outputs(propeller, file, "step", "--n", "4", *given) == {"o0": "4 2024-02-29 - False"}


def test_a_file_of_inputs_that_does_not_fit_is_refused_by_name(propeller: Propeller, flow: Flow) -> None:
    file = flow(STEP)
    inputs = file.with_name("inputs.yaml")
    inputs.write_text("m: 3\n")
    ended = propeller.run(file, "step", "--inputs-file", inputs)
    assert ended.code == 2
    assert "the file of inputs has 'm'; the inputs are: n, day, name, loud" in " ".join(ended.err.split())


def test_a_workflow_that_takes_an_error_compiles(propeller: Propeller, flow: Flow) -> None:
    text = (
        "from flytekit.types.error.error import FlyteError\n"
        "@task\ndef note(name: str, err: typing.Optional[FlyteError] = None):\n    print(name, err)\n"
        "@workflow\ndef clean(name: str, err: typing.Optional[FlyteError] = None):\n    note(name=name, err=err)\n"
        "@workflow(on_failure=clean)\ndef wf(name: str = 'ann'):\n    note(name=name)\n"
    )
    ended = propeller("compile", flow(text))
    assert (ended.code, "2 workflows compile, 0 do not" in ended.out) == (0, True)


def test_a_task_with_an_output_named_as_an_attribute_of_flytekits_nodes_runs(propeller: Propeller, flow: Flow) -> None:
    text = "@task\ndef both() -> typing.NamedTuple('Both', metadata=str, bindings=int):\n    return 'of a file', 2\n"
    assert outputs(propeller, flow(text), "both") == {"metadata": "of a file", "bindings": 2}
