"""The directory of its own in which a program starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from propeller.embedded.kubelet import _workdir
from propeller.embedded.kubelet._workdir import populate


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    for name in ("flow.py", "data/small.csv", ".git/HEAD", "venv/pyvenv.cfg", "env/pyvenv.cfg", "__pycache__/flow.pyc"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def test_small_files_are_copies_and_other_files_are_links(project: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    populate(str(project), str(workdir))
    assert {path.name: path.is_symlink() for path in workdir.iterdir()} == {
        "flow.py": False,
        "data": False,
        ".git": True,
        "venv": True,
        "env": True,
    }
    (workdir / "data" / "small.csv").write_text("mine")
    assert (project / "data" / "small.csv").read_text() == "data/small.csv"


@pytest.mark.parametrize("limit", ["COPIED_FILES", "COPIED_BYTES"])
def test_files_over_the_limits_are_links(
    project: Path, tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_workdir, limit, 0)
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    populate(str(project), str(workdir))
    assert (workdir / "flow.py").is_symlink()
    assert (workdir / "flow.py").read_text() == "flow.py"


def test_a_working_directory_within_the_project_is_not_copied_into_itself(project: Path) -> None:
    workdir = project / "tmp" / "pod" / "work"
    workdir.mkdir(parents=True)
    populate(str(project), str(workdir))
    assert (workdir / "flow.py").is_file()
    assert not (workdir / "tmp").exists()


def test_a_used_working_directory_is_not_changed(project: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    (workdir / "of an earlier start").touch()
    populate(str(project), str(workdir))
    assert [path.name for path in workdir.iterdir()] == ["of an earlier start"]


def test_a_link_within_the_project_leads_to_the_copy_and_one_out_of_it_to_where_it_did(
    project: Path, tmp_path: Path
) -> None:
    (project / "latest.csv").symlink_to("data/small.csv")
    (project / "data" / "up").symlink_to(project / "flow.py")
    (project / "outside").symlink_to(tmp_path / "elsewhere")
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    populate(str(project), str(workdir))
    assert (workdir / "latest.csv").resolve() == workdir / "data" / "small.csv"
    assert (workdir / "data" / "up").resolve() == workdir / "flow.py"
    assert (workdir / "outside").resolve() == tmp_path / "elsewhere"


def test_a_directory_with_too_many_files_is_one_link(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the files beyond the limit were not there at all."""
    monkeypatch.setattr(_workdir, "ENTRIES", 10)
    (project / "many").mkdir()
    for number in range(20):
        (project / "many" / str(number)).touch()
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    assert populate(str(project), str(workdir)) == [str(workdir / "many")]
    assert len(list((workdir / "many").iterdir())) == 20


WRITES = """
import os, shutil, sys
from pathlib import Path
sys.path.insert(0, {kubelet!r})
import _overlay, _workdir
_workdir.COPIED_BYTES, _workdir.ENTRIES = 1000, 50
os.chdir({workdir!r})
_overlay.write_to_copies(_workdir.populate({project!r}, {workdir!r}))
{body}
"""


@pytest.mark.parametrize(
    "body",
    [
        "open('large', 'a').write('!')",
        "open('large', 'r+').write('!')",
        "open('large', 'w').write('!')",
        "Path('large').write_text('!')",
        "os.truncate('large', 3)",
        "os.chmod('large', 0o600)",
        "os.utime('large', (1, 1))",
        "os.rename('large', 'other')",
        "os.remove('large')",
        "open('many/0', 'a').write('!')",
        "open('many/deep/0', 'w').write('!')",
        "open('many/new', 'w').write('!')",
        "open(os.path.abspath('many/new'), 'w').write('!')",
        "os.mkdir('many/new')",
        "os.remove('many/0')",
        "os.rename('many/0', 'many/new')",
        "os.replace('flow.py', 'many/deep/0')",
        "shutil.rmtree('many/deep')",
        "shutil.rmtree('many')",
        "shutil.copy('flow.py', 'many/deep/0')",
        "os.chdir('many'); open('0', 'w').write('!')",
        "os.chdir('many/deep'); open('../new', 'w').write('!')",
    ],
)
def test_python_writes_through_a_link_do_not_change_the_project(project: Path, tmp_path: Path, body: str) -> None:
    (project / "large").write_text("l" * 2000)
    (project / "many" / "deep").mkdir(parents=True)
    for number in range(60):
        (project / "many" / str(number)).write_text("many")
        (project / "many" / "deep" / str(number)).write_text("deep")
    before = state_of(project)
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    kubelet = str(Path(_workdir.__file__).parent)
    check = "\nassert any(p.is_file() and '!' in p.read_text() for p in Path().rglob('*'))" if "'!'" in body else ""
    if body.startswith("os.chdir"):
        check = check.replace("Path()", f"Path({str(workdir)!r})")
    script = WRITES.format(kubelet=kubelet, workdir=str(workdir), project=str(project), body=body + check)
    subprocess.run([sys.executable, "-c", script], check=True)
    assert state_of(project) == before


def state_of(directory: Path) -> dict[str, tuple[object, ...]]:
    """Everything about its files and directories, but for when they were read."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [directory, *directory.rglob("*")]:
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (stat.st_mode, stat.st_mtime_ns, stat.st_ino, content)
    return found


def test_a_copy_that_is_appended_to_begins_with_the_projects_content(project: Path, tmp_path: Path) -> None:
    (project / "large").write_text("l" * 2000)
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    body = "open('large', 'a').write('!'); assert open('large').read() == 'l' * 2000 + '!'"
    kubelet = str(Path(_workdir.__file__).parent)
    script = WRITES.format(kubelet=kubelet, workdir=str(workdir), project=str(project), body=body)
    subprocess.run([sys.executable, "-c", script], check=True)
