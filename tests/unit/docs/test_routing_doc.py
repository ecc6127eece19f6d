"""What docs/routing.md shows is a table, and its commands do what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import pytest

from propeller.cli.__main__ import main
from propeller.config import Settings
from propeller.routing import routing_table_crd
from propeller.routing._checks import MAX_CLUSTERS, MAX_POOLS, MAX_RULES
from propeller.routing._declared import Cluster, Match, State
from propeller.routing._definition import MAX_FALLBACKS
from propeller.routing._parse import MAX_SPEC_BYTES, parse_table
from propeller.routing._yaml import MAX_BYTES
from tests.unit.cli.conftest import logs_as_before

__all__ = ["logs_as_before"]

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "routing.md").read_text()
COMMANDS = [
    line
    for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in text.splitlines()
    if "examples/" in line
]


def test_the_table_of_the_page_is_one() -> None:
    (text,) = re.findall(r"```yaml\n(# routes.yaml\n.*?)```", PAGE, re.DOTALL)
    assert list(parse_table(text.encode()).clusters) == ["home", "eu-1", "gpu-1"]


def test_the_settings_of_the_page_are_settings() -> None:
    (text,) = re.findall(r"```yaml\n(# propeller.yaml\n.*?)```", PAGE, re.DOTALL)
    assert msgspec.yaml.decode(text, type=Settings).routing.table == "default"


def test_every_field_and_state_is_on_the_page() -> None:
    fields = [field.encode_name for type_ in (Cluster, Match) for field in msgspec.structs.fields(type_)]
    for name in [*fields, *(state.value for state in State)]:
        assert f"`{name}`" in PAGE, name


def test_the_columns_of_the_page_are_those_of_the_type() -> None:
    (shown,) = re.findall(r"^(NAME +ACCEPTED.*)$", PAGE, re.MULTILINE)
    (version,) = routing_table_crd()["spec"]["versions"]
    columns = [one["name"].upper() for one in version["additionalPrinterColumns"] if not one.get("priority")]
    assert shown.split() == ["NAME", *columns]


def test_the_bounds_of_the_page_are_those_of_the_code() -> None:
    assert f"{MAX_CLUSTERS} clusters, {MAX_POOLS} pools and {MAX_RULES:,} rules" in PAGE
    assert f"{MAX_SPEC_BYTES >> 10} KiB, and {MAX_FALLBACKS} fallbacks in a rule; a file {MAX_BYTES >> 20} MiB" in PAGE


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs_as_it_stands(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 5
