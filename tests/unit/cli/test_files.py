"""Files that commands write: what is there stays, and what holds a token is private."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from propeller.cli import _local_run
from propeller.cli.__main__ import main
from propeller.cli._exit_codes import BAD_CALL
from propeller.cli._files import private_kubeconfig, write_resource
from propeller.cli._workflow import new_execution_name
from propeller.errors import Invalid

CONFIG = {"users": [{"user": {"token": "hunter2"}}]}
WORKFLOW = orjson.dumps({"kind": "FlyteWorkflow"})


def test_a_kubeconfig_is_private_from_its_first_byte_and_gone_with_its_block(tmp_path: Path) -> None:
    path, before = tmp_path / "k", os.umask(0)
    try:
        with private_kubeconfig(path, CONFIG, "--serve"):
            assert path.stat().st_mode & 0o777 == 0o600
            assert yaml.safe_load(path.read_text()) == CONFIG
    finally:
        os.umask(before)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_that_is_there_is_neither_written_nor_deleted(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k"
    path.write_text("precious")
    path.chmod(mode)
    with pytest.raises(Invalid, match=r"--serve .*k exists, and is not overwritten"):
        private_kubeconfig(path, CONFIG, "--serve").__enter__()
    assert path.read_text() == "precious"
    assert path.stat().st_mode & 0o777 == mode


def test_no_link_is_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "k"
    for content in (None, "precious"):
        if content is not None:
            target.write_text(content)
        path.symlink_to(target)
        with pytest.raises(Invalid, match="exists"):
            private_kubeconfig(path, CONFIG, "--serve").__enter__()
        assert path.is_symlink()
        assert content is None or target.read_text() == content
        path.unlink()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "k")
    with pytest.raises(Invalid, match="exists"):
        private_kubeconfig(tmp_path / "k", CONFIG, "--serve").__enter__()


def test_a_file_that_replaced_the_kubeconfig_stays(tmp_path: Path) -> None:
    path, other = tmp_path / "k", tmp_path / "other"
    with private_kubeconfig(path, CONFIG, "--serve"):
        other.write_text("precious")
        other.replace(path)
    assert path.read_text() == "precious"


def test_a_killed_processs_file_is_replaced_and_a_live_ones_is_not(tmp_path: Path) -> None:
    path = tmp_path / "k"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path.write_text(f"# Written by propeller, for as long as process {ended.pid} runs.\nold")
    with private_kubeconfig(path, CONFIG, "--serve"):
        assert yaml.safe_load(path.read_text()) == CONFIG
        with pytest.raises(Invalid, match="exists"):
            private_kubeconfig(path, CONFIG, "--serve").__enter__()


def test_cluster_refuses_a_file_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "k"
    path.write_text("precious")
    monkeypatch.setattr(sys, "argv", ["propeller", "cluster", "--no-controller", "--kubeconfig", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == BAD_CALL
    assert f"--kubeconfig {path} exists, and is not overwritten" in capsys.readouterr().err
    assert path.read_text() == "precious"


def test_a_resource_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    write_resource(tmp_path / "out", "a.json", b'{"kind":"FlyteWorkflow","old":1}', "--out")
    write_resource(tmp_path / "out", "a.json", WORKFLOW, "--out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json"]
    assert (tmp_path / "out" / "a.json").read_bytes() == WORKFLOW
    (tmp_path / "link.json").symlink_to(tmp_path / "out" / "a.json")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "text.json").write_text("precious")
    (tmp_path / "dir.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("link.json", "list.json", "text.json", "dir.json", "pipe.json"):
        with pytest.raises(Invalid, match="exists and is no FlyteWorkflow"):
            write_resource(tmp_path, name, b"new", "--out")
    assert (tmp_path / "out" / "a.json").read_bytes() == WORKFLOW


@pytest.mark.parametrize("name", ["../a.json", "/etc/a.json", "..", ""])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="is no name of a file"):
        write_resource(tmp_path / "out", name, WORKFLOW, "--out")
    assert not (tmp_path / "a.json").exists()


def test_old_runs_are_removed_and_other_directories_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    runs = tmp_path / "propeller" / "runs"
    (runs / "my notes").mkdir(parents=True)
    for number in range(_local_run.MAX_KEPT_RUNS + 5):
        run = _local_run._directory_of(new_execution_name())
        assert run.stat().st_mode & 0o777 == 0o700
        os.utime(run, (number, number))
    assert (runs / "my notes").exists()
    assert len(list(runs.iterdir())) == _local_run.MAX_KEPT_RUNS + 1
