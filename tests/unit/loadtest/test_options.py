"""The command line of the load tests: what can be chosen, and what is refused."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner

from loadtest import __main__ as command
from loadtest._line import Line
from loadtest._scenarios import scenarios
from propeller.errors import Invalid


def ran(*arguments: str, measure: Any = None) -> Any:
    """The result of the command; `measure` stands in for that of every module."""
    module = mock.Mock(measure=measure or mock.Mock(return_value=iter(())))
    with mock.patch("loadtest.__main__.importlib.import_module", return_value=module):
        return CliRunner().invoke(command.main, arguments)


@pytest.mark.parametrize("name", command.MEASUREMENTS)
def test_a_measurement_takes_exactly_the_options_of_its_command(name: str) -> None:
    module = importlib.import_module(f"loadtest.{command.MEASUREMENTS[name].module}")
    wanted = {parameter.name for parameter in command.COMMANDS[name].params} - {"output"}
    assert set(inspect.signature(module.measure).parameters) == wanted


@pytest.mark.parametrize("name", command.MEASUREMENTS)
def test_the_help_of_a_measurement_says_what_it_measures_and_what_each_option_does(name: str) -> None:
    result = ran(name, "--help")
    assert result.exit_code == 0
    assert " ".join(command.MEASUREMENTS[name].text.split()[:4]) in result.output
    for parameter in command.COMMANDS[name].params:
        assert parameter.opts[0] in result.output


def test_without_a_name_all_but_the_long_ones_are_measured() -> None:
    result = ran()
    assert result.exit_code == 0, result.output
    measured = [line.split(":")[0] for line in result.output.splitlines()]
    assert measured == [name for name, measurement in command.MEASUREMENTS.items() if not measurement.long]


@pytest.mark.parametrize("arguments", [("--output", "json", "queue"), ("queue", "--output", "json")])
def test_json_can_be_asked_for_before_and_after_the_name(arguments: tuple[str, ...]) -> None:
    def measure() -> Iterator[Line]:
        yield Line(name="a", value=1.0, unit="ms")

    line = '{"name":"a","value":1.0,"unit":"ms","budget":null,"at_least":null}\n'
    assert ran(*arguments, measure=measure).stdout == line


def test_sizes_are_numbers_with_commas_between() -> None:
    measure = mock.Mock(return_value=iter(()))
    result = ran("scale", "--fan-outs", "10,5000", "--concurrent", "", measure=measure)
    assert result.exit_code == 0, result.output
    assert (measure.call_args.kwargs["fan_outs"], measure.call_args.kwargs["concurrent"]) == ((10, 5000), ())
    assert measure.call_args.kwargs["embedded_fan_outs"] is None


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nothing",), "No such command 'nothing'"),
        (("queue", "--scale", "2"), "No such option"),
        (("scenarios", "--scale", "0"), "0.0 is not in the range x>0"),
        (("scenarios", "--crd", "mine"), "'mine' is not one of"),
        (("beside",), "Missing option '--peer'"),
        (("scale", "--concurrent", "many"), "'many' is not a list of numbers"),
        (("scale", "--concurrent", "0"), "has a size below 1"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_measured_is_refused(arguments: tuple[str, ...], why: str) -> None:
    result = ran(*arguments)
    assert result.exit_code == 2
    assert why in result.output


def test_scenarios_are_chosen_by_the_beginnings_of_their_names() -> None:
    assert {scenario.tasks for scenario in scenarios(0.1, ["one-pod", "fan-out"])} == {1, 50}
    with pytest.raises(Invalid, match="no scenario begins with 'two'; there are 'one-pod workflows', "):
        scenarios(1.0, ["two"])


def test_an_error_of_ours_is_shown_without_a_traceback() -> None:
    result = ran("scenarios", measure=mock.Mock(side_effect=Invalid("the field is wrong")))
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "Error: the field is wrong")
