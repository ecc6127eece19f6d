"""Settings from files and the environment, and their origins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from click.testing import CliRunner

from propeller.cli._settings import Origin, load, load_settings, variable
from propeller.cli.commands._settings import command
from propeller.config import Settings
from propeller.errors import Invalid


def test_without_a_file_everything_has_its_default() -> None:
    assert load_settings(None) == Settings()


@pytest.mark.parametrize(
    ("name", "text"), [("s.toml", "[checkpoint]\nmax_lag = 2.5\n"), ("s.yaml", "checkpoint: {max_lag: 2.5}")]
)
def test_a_file_overrides_the_settings_that_it_names(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    settings = load_settings(str(tmp_path / name))
    assert settings.checkpoint.max_lag == 2.5
    assert settings.checkpoint.budget == Settings().checkpoint.budget


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("s.toml", "[checkpoint]\nmax_lagg = 2.5\n", "max_lagg"),
        ("s.toml", "[checkpoint]\nmax_lag = 'soon'\n", "checkpoint.max_lag"),
        ("s.toml", "[checkpoint]\nprogress_rate = 0\n", "progress_rate must be over 0"),
        ("s.toml", "[checkpoint\n", "does not parse"),
        ("s.toml", f"a = {'[' * 100_000}", "does not parse"),
        ("s.yaml", f"a: {'[' * 100_000}", "does not parse"),
        ("s.yaml", "[]", "Expected `object`, got `array`"),
        ("s.ini", "", "must end with .toml, .yaml or .yml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=says):
        load_settings(str(tmp_path / name))


@pytest.mark.parametrize("name", ["s.toml", "s.yaml"])
def test_a_file_that_is_no_text_is_a_mistake(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\x00\x80")
    with pytest.raises(Invalid, match=f"--config .*{name} does not parse"):
        load_settings(str(tmp_path / name))


@pytest.mark.parametrize("name", ["s.toml", "s.yaml"])
def test_a_file_may_have_comments_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("# checkpoint: {max_lag: 2.5}\n")
    assert load_settings(str(tmp_path / name)) == Settings()


def numbers() -> Iterator[tuple[str, str]]:
    for section in msgspec.structs.fields(Settings):
        types = get_type_hints(section.type)
        yield from ((section.name, name) for name, found in types.items() if found in (int, float))


BELOW_ZERO = {("attempts", "interruptible_failures"), ("raw_containers", "user"), ("resources", "generation")}
"""Settings for which a number below zero means something, and versions."""


@pytest.mark.parametrize(("section", "field"), sorted({*numbers()} - BELOW_ZERO))
@pytest.mark.parametrize("text", ["-1", "nan"])
def test_a_number_that_cannot_work_is_refused_by_name(section: str, field: str, text: str) -> None:
    """Regression: times, sizes and counts below zero were taken, and failed later or never, in some other place."""
    if (section, field, text) == ("resources", "max_bypass", "-1"):
        pytest.skip("it is checked with the limits of FairQueues, by the controller")
    with pytest.raises(Invalid, match=f"^{variable(section, field)}\\b.* in the environment: "):
        load(None, {variable(section, field): text})


@pytest.mark.parametrize("field", ["workers", "round_deadline"])
def test_a_number_that_would_stop_everything_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "s.toml").write_text(f"[queue]\n{field} = 0\n")
    with pytest.raises(Invalid, match=rf"Expected `\w+` >=? .* - at `\$.queue.{field}`"):
        load_settings(str(tmp_path / "s.toml"))


def test_an_option_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[storage]\nmetadata_prefix = 'file:///a'\n")
    settings = load_settings(str(tmp_path / "s.toml"), metadata_prefix="file:///b")
    assert settings.storage.metadata_prefix == "file:///b"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PROPELLER_CHECKPOINT__MAX_LAG", "5", 5.0),
        ("PROPELLER_CLIENT__PAGE_SIZE", "20", 20),
        ("PROPELLER_PODS__PRIVILEGED", "true", True),
        ("PROPELLER_STORAGE__METADATA_PREFIX", "s3://b/5", "s3://b/5"),
        ("PROPELLER_PODS__HOST_PATHS", "/a, /b", ("/a", "/b")),
        ("PROPELLER_PODS__HOST_PATHS", '["/a,b", "/c"]', ("/a,b", "/c")),
        ("PROPELLER_PODS__SECRETS", "", ()),
    ],
)
def test_a_variable_of_the_environment_is_read_as_its_setting(name: str, text: str, value: object) -> None:
    section, field = name.removeprefix("PROPELLER_").lower().split("__")
    loaded = load(None, {name: text})
    assert getattr(getattr(loaded.settings, section), field) == value
    assert loaded.origins == {(section, field): Origin("environment", name)}


def test_the_environment_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[checkpoint]\nmax_lag = 2.5\nbudget = 1000\n")
    loaded = load(str(tmp_path / "s.toml"), {"PROPELLER_CHECKPOINT__MAX_LAG": "5"})
    checkpoint = loaded.settings.checkpoint
    assert (checkpoint.max_lag, checkpoint.budget) == (5.0, 1000)
    assert checkpoint.progress_rate == Settings().checkpoint.progress_rate


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("PROPELLER_CHECKPOINT__MAX_LAGG", "5", "is no setting: did you mean PROPELLER_CHECKPOINT__MAX_LAG?"),
        ("PROPELLER_CHECKPOINTS__MAX_LAG", "5", "did you mean PROPELLER_CHECKPOINT__MAX_LAG?"),
        ("PROPELLER_NOTHING__OF_THE_KIND", "5", "is no setting: .*propeller settings prints all of them"),
        ("PROPELLER_CHECKPOINT_MAX_LAG", "5", "it is written PROPELLER_CHECKPOINT__MAX_LAG"),
        ("propeller_checkpoint__max_lag", "5", "it is written PROPELLER_CHECKPOINT__MAX_LAG"),
        ("PROPELLER_CHECKPOINT__MAX_LAG", "soon", "PROPELLER_CHECKPOINT__MAX_LAG='soon' .* it takes a number"),
        ("PROPELLER_CLIENT__PAGE_SIZE", "2.5", "it takes an integer"),
        ("PROPELLER_PODS__PRIVILEGED", "maybe", "it takes true or false"),
        ("PROPELLER_PODS__HOST_PATHS", "[5]", "it takes text, several separated by commas, or a list in JSON"),
        ("PROPELLER_PODS__HOST_PATHS", "[", "or a list in JSON"),
        (
            "PROPELLER_CLIENT__WRITES_AT_ONCE",
            "0",
            "PROPELLER_CLIENT__WRITES_AT_ONCE in the environment: writes_at_once",
        ),
    ],
)
def test_an_invalid_variable_is_named_with_the_expected_value(name: str, text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        load(None, {name: text})


@pytest.mark.parametrize("text", ["{", "[", "[[", '{"a": [1, {}]}', "\udcff", "[" * 100_000, "9" * 5_000])
@pytest.mark.parametrize("with_a_list", [False, True])
def test_no_text_of_a_variable_is_a_defect(text: str, *, with_a_list: bool) -> None:
    """Regression: settings that are tables of tables, or lists of them, raised KeyError in place of the message."""
    refused = []
    for section, field in every_setting():
        try:
            load(None, {variable(section, field): f"[{text}]" if with_a_list else text})
        except Invalid as error:
            refused.append(str(error))
    assert refused
    assert not [said for said in refused if "typing." in said or len(said) > 1_200]


def test_what_a_setting_takes_is_said_in_words() -> None:
    for (section, field), words in {
        ("redis", "lost"): "it takes one of slice, stop",
        ("operators", "enabled"): "it takes one of dask, .*, several separated by commas, or a list in JSON",
        ("pod_defaults", "tolerations"): "it takes a list of tables in JSON",
        ("pod_defaults", "affinity"): "it takes a table in JSON$",
        ("pod_defaults", "labels"): "it takes a table in JSON, of text by name",
    }.items():
        with pytest.raises(Invalid, match=words):
            load(None, {variable(section, field): "{["})


def test_a_table_that_is_not_understood_is_not_quoted() -> None:
    with pytest.raises(Invalid) as raised:
        load(None, {"PROPELLER_POD_DEFAULTS__ENVIRONMENT": '{"DB_PASSWORD": "sesame"'})
    assert "sesame" not in str(raised.value)


def test_unrelated_variables_are_ignored() -> None:
    others = {
        "PROPELLER_PORT": "tcp://10.0.0.1:443",  # Kubernetes makes these for a Service with the name propeller
        "PROPELLER_SERVICE_HOST": "10.0.0.1",
        "PROPELLER_ASSETS": "/somewhere",
        "MY_PROPELLER_A__B": "5",
    }
    assert load(None, others).origins == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", "# settings\n[checkpoint]\n\nmax_lag = 2.5\n"),
        ("s.toml", "# settings\n\n\ncheckpoint.max_lag = 2.5\n"),
        ("s.yaml", "# settings\ncheckpoint:\n\n  max_lag: 2.5\n"),
    ],
)
def test_a_value_of_a_file_has_its_line(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert load(str(path), {}).origins == {("checkpoint", "max_lag"): Origin("file", f"{path}:4")}


def test_a_value_that_is_written_in_another_way_has_its_file(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("checkpoint = { max_lag = 2.5 }\n")
    assert load(str(path), {}).origins == {("checkpoint", "max_lag"): Origin("file", str(path))}


def settings_command(*arguments: str, env: dict[str, str]) -> str:
    ended = CliRunner().invoke(command, arguments, env=env, catch_exceptions=False)
    assert ended.exit_code == 0
    return ended.output


def test_printed_settings_are_complete_and_load_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    gpu = "[pod_defaults.resource_tolerations]\n'nvidia.com/gpu' = [{key = 'gpu', operator = 'Exists'}]\n"
    path.write_text(f"[pods]\nhost_paths = ['/a']\n{gpu}")
    env = {"PROPELLER_CHECKPOINT__MAX_LAG": "5"}
    text = settings_command("--config", str(path), env=env)
    assert "\nmax_lag = 5.0  # environment: PROPELLER_CHECKPOINT__MAX_LAG\n" in text
    assert f'\nhost_paths = ["/a"]  # file: {path}:2\n' in text
    assert f"\nbudget = {Settings().checkpoint.budget}  # default\n" in text
    printed = tmp_path / "printed.toml"
    printed.write_text(text)
    assert load(str(printed), {}).settings == load(str(path), env).settings


@pytest.mark.parametrize("output", ["text", "json"])
def test_credentials_in_a_url_are_not_printed(tmp_path: Path, output: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[redis]\nurl = "redis://me:sesame@host:6379"\n')
    printed = CliRunner().invoke(command, ["--config", str(file), "--output", output]).output
    assert "sesame" not in printed
    assert "host:6379" in printed


@pytest.mark.parametrize("output", ["text", "json"])
def test_credentials_inside_of_tables_and_lists_are_not_printed(tmp_path: Path, output: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        "[pod_defaults.environment]\nDB_PASSWORD = 'sesame'\nREGION = 'eu'\n"
        "[storage]\nread_prefixes = ['s3://me:sesame@bucket/data']\n"
    )
    printed = settings_command("--config", str(file), "--output", output, env={})
    assert "sesame" not in printed
    assert "DB_PASSWORD" in printed
    assert "eu" in printed
    assert "bucket/data" in printed


def test_settings_that_are_lists_of_tables_are_printed_as_json(tmp_path: Path) -> None:
    """Regression: JSON was refused for them: "Type is not JSON serializable"."""
    file = tmp_path / "settings.toml"
    file.write_text("[[kueue.queues]]\nproject = 'ml'\nqueue = 'gpus'\n")
    printed = json.loads(settings_command("--config", str(file), "--output", "json", env={}))
    assert printed["kueue"]["queues"]["value"] == [{"project": "ml", "queue": "gpus"}]


def test_settings_as_json_have_every_setting(tmp_path: Path) -> None:
    printed = json.loads(settings_command("--output", "json", env={"PROPELLER_CHECKPOINT__MAX_LAG": "5"}))
    found = printed["checkpoint"]["max_lag"]
    assert found == {"value": 5.0, "source": "environment", "place": "PROPELLER_CHECKPOINT__MAX_LAG"}
    assert {(section, field) for section, fields in printed.items() for field in fields} == set(every_setting())


def every_setting() -> Iterator[tuple[str, str]]:
    for section in msgspec.structs.fields(Settings):
        yield from ((section.name, field.name) for field in msgspec.structs.fields(section.type))


@pytest.mark.parametrize(("section", "field"), list(every_setting()))
def test_every_setting_round_trips_through_its_variable(section: str, field: str) -> None:
    value = getattr(getattr(Settings(), section), field)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    loaded = load(None, {variable(section, field): text})
    assert loaded.settings == Settings()
    assert list(loaded.origins) == [(section, field)]
