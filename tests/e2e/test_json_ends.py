"""`--output json` prints a JSON document for ends that a process has: a failed task, a silent cluster, a signal."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Ended, Propeller

OF_CLUSTERS = ("status", "recover", "relaunch")

FLOW = (
    "from flytekit import task, workflow\n@task\ndef t(n: int) -> int:\n    return 1 // n\n"
    "@workflow\ndef wf(n: int = 0) -> int:\n    return t(n=n)\n"
)


@pytest.fixture
def propeller(propeller: Propeller) -> Propeller:
    (propeller.home / "flow.py").write_text(FLOW)
    return propeller


def error_of(ended: Ended, code: int) -> dict[str, Any]:
    """The one document on standard output: the error that the exit code stands for."""
    assert ended.code == code, ended.err
    document = json.loads(ended.out)
    assert set(document) == {"error"}
    error = document["error"]
    assert set(error) == {"code", "kind", "message", "node", "task", "attempt"}
    assert error["message"]
    assert error["kind"] in {"USER", "SYSTEM"}
    return dict(error)


def test_a_task_that_fails_is_an_error_document_and_what_a_file_has_and_takes_is_one_too(propeller: Propeller) -> None:
    assert error_of(propeller.run("flow.py", "wf", "--output", "json"), 1)["task"] == "t"
    listed = propeller("run", "flow.py", "--output", "json").json
    assert [entity["name"] for entity in listed["entities"]] == ["t", "wf"]
    taken = propeller("run", "flow.py", "wf", "--output", "json", "--help").json
    assert [(one["name"], one["required"], one["default"]) for one in taken["inputs"]] == [("n", False, "0")]


@pytest.fixture
def silent(propeller: Propeller) -> Iterator[Path]:
    """A kubeconfig whose server takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        path = propeller.home / "kubeconfig"
        path.write_text(
            "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n"
            f"clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{listener.getsockname()[1]}'}}}}]\n"
        )
        yield path


@pytest.mark.parametrize("name", OF_CLUSTERS)
def test_a_cluster_that_does_not_answer_is_an_error_document(propeller: Propeller, silent: Path, name: str) -> None:
    assert error_of(propeller(name, "e", "--kubeconfig", silent, "--output", "json"), 3)["kind"] == "SYSTEM"


@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_interrupted_while_it_reads_or_runs_is_an_error_document(
    propeller: Propeller, end: signal.Signals, code: int
) -> None:
    wait = "open(os.path.join({}, 'begun'), 'w').close()\n{}time.sleep(600)\n"
    head = "import os, time\nfrom flytekit import task\n"
    home = repr(str(propeller.home))
    for text in (
        f"{head}{wait.format(home, '')}",
        f"{head}@task\ndef t() -> int:\n    {wait.format(home, '    ')}    return 1\n",
    ):
        (propeller.home / "slow.py").write_text(text)
        (propeller.home / "begun").unlink(missing_ok=True)
        process = propeller.start("run", "slow.py", "t", "--output", "json")
        until = time.monotonic() + 60
        while not (propeller.home / "begun").exists():
            assert time.monotonic() < until, "it did not begin"
            time.sleep(0.05)
        process.send_signal(end)
        out, err = process.communicate(timeout=60)
        error_of(Ended(process.returncode, out, err), code)


def test_output_that_nobody_reads_any_more_is_no_defect(propeller: Propeller) -> None:
    process = propeller.start("install", "--print")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
