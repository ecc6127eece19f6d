"""Settings from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from propeller.cli._settings import load_settings
from propeller.config import Settings
from propeller.errors import Invalid


def test_without_a_file_everything_has_its_default() -> None:
    assert load_settings(None) == Settings()


@pytest.mark.parametrize(
    ("name", "text"), [("s.toml", "[checkpoint]\nmax_lag = 2.5\n"), ("s.yaml", "checkpoint: {max_lag: 2.5}")]
)
def test_a_file_changes_what_it_names(tmp_path: Path, name: str, text: str) -> None:
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
        ("s.ini", "", "must end with .toml, .yaml or .yml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid, match=says):
        load_settings(str(tmp_path / name))


def test_an_option_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[storage]\nmetadata_prefix = 'file:///a'\n")
    settings = load_settings(str(tmp_path / "s.toml"), metadata_prefix="file:///b")
    assert settings.storage.metadata_prefix == "file:///b"
