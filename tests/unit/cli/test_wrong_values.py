"""Values of options that cannot work are refused before anything begins, by commands without `--output json` too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from propeller.cli.__main__ import main

FLOW = (
    "from flytekit import task, workflow\n@task\ndef t(n: int) -> int:\n    return n\n"
    "@workflow\ndef wf(n: int) -> int:\n    return t(n=n)\n"
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("flow.py").write_text(FLOW)


WF = ["compile", "flow.py", "wf", "--n", "1", "--python", sys.executable]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["controller", "--metrics-port", "70000", "--kubeconfig", "nowhere"], "'--metrics-port': 70000 is not in"),
        (["controller", "--namespace", "", "--kubeconfig", "nowhere"], "it is empty: leave the option out"),
        (["cluster", "--port", "70000"], "'--port': 70000 is not in"),
        (["compile", "flow.py", "--explain", "text"], "--explain is for one ENTITY of the FILE: name it"),
        (["compile", "flow.py", "--name", "x"], "--name is for one ENTITY of the FILE: name it"),
        (["compile", "flow.py", "--format", "yaml", "--out", "o"], "--format is for one ENTITY of the FILE: name it"),
        (["compile", "flow.py", "--config", "nowhere.toml"], "--config nowhere.toml cannot be read"),
        (["compile", "flow.py", "--image", "trainer="], "--image 'trainer=': write IMAGE, or NAME=IMAGE"),
        (["compile", "flow.py", "--image", "=x"], "--image '=x': write IMAGE, or NAME=IMAGE"),
        ([*WF, "--name", "Not a name"], "--name 'Not a name' is no name in Kubernetes: write 253 small letters"),
        ([*WF, "--namespace", "a.b"], "--namespace 'a.b' is no name in Kubernetes: write 63 small letters"),
        ([*WF, "--project", "A B"], "--namespace 'A B-development' is no name in Kubernetes"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["propeller", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capfd.readouterr()
    assert ended.value.code == 2, captured.err
    assert says in captured.err
    assert not captured.out


def test_a_directory_that_is_named_as_a_file_of_python_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Regression: it ended `propeller compile DIR` with a traceback, and so did a link to nothing."""
    Path("flows", "package.py").mkdir(parents=True)
    Path("flows", "gone.py").symlink_to("nowhere")
    Path("flows", "flow.py").write_text(FLOW)
    monkeypatch.setattr(sys, "argv", ["propeller", "compile", "flows", "--python", sys.executable])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capfd.readouterr()
    assert ended.value.code == 0, captured.err
    assert "1 workflows compile, 0 do not" in captured.out


@pytest.mark.parametrize("output", ["text", "json"])
def test_output_that_cannot_be_written_is_one_message_and_no_failed_workflow(output: str) -> None:
    """Regression: a traceback, and with JSON the exit code of a workflow that has failed."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "propeller.cli", "settings", "--output", output],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"
