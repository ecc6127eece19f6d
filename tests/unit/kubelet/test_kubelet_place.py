"""The directory of its own in which a program starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from propeller.embedded.kubelet import _place
from propeller.embedded.kubelet._place import furnish


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    for name in ("flow.py", "data/small.csv", ".git/HEAD", "venv/pyvenv.cfg", "env/pyvenv.cfg", "__pycache__/flow.pyc"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def test_small_files_are_copies_and_what_is_no_source_is_a_link(project: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    furnish(str(project), str(place))
    assert {path.name: path.is_symlink() for path in place.iterdir()} == {
        "flow.py": False,
        "data": False,
        ".git": True,
        "venv": True,
        "env": True,
    }
    (place / "data" / "small.csv").write_text("mine")
    assert (project / "data" / "small.csv").read_text() == "data/small.csv"


@pytest.mark.parametrize("limit", ["COPIED_FILES", "COPIED_BYTES"])
def test_what_is_over_the_limits_is_a_link(
    project: Path, tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_place, limit, 0)
    place = tmp_path / "place"
    place.mkdir()
    furnish(str(project), str(place))
    assert (place / "flow.py").is_symlink()
    assert (place / "flow.py").read_text() == "flow.py"


def test_a_place_within_the_project_is_not_copied_into_itself(project: Path) -> None:
    place = project / "tmp" / "pod" / "work"
    place.mkdir(parents=True)
    furnish(str(project), str(place))
    assert (place / "flow.py").is_file()
    assert not (place / "tmp").exists()


def test_a_place_that_was_used_before_stays_as_it_is(project: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "of an earlier start").touch()
    furnish(str(project), str(place))
    assert [path.name for path in place.iterdir()] == ["of an earlier start"]
