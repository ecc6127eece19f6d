"""`--output json` prints a JSON document for every end of every command, also for calls that are wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from propeller.cli.__main__ import _COMMANDS, main

ERROR = {"code", "kind", "message", "node", "task", "attempt"}

WRONG: dict[str, list[list[str]]] = {
    "run": [
        [],
        ["nowhere.py", "wf"],
        ["nowhere.txt", "wf"],
        ["broken.py", "wf"],
        ["flow.py", "wf", "--n", "x"],
        ["flow.py", "wf", "--config", "nowhere.toml"],
        ["flow.py", "wf", "--storage", "nowhere://x"],
        ["flow.py", "wf", "--python", "nowhere"],
        ["flow.py", "wf", "--serve", "/proc/nowhere/kubeconfig"],
        ["flow.py", "wf", "--config"],
    ],
    "compile": [[], ["nowhere.py"], ["nowhere.py", "wf"], ["broken.py", "wf"], ["flow.py", "wf", "--explain", "x"]],
    "register": [
        [],
        ["flow.py"],
        ["nowhere.py", "--registry", "memory://r"],
        ["broken.py", "--registry", "memory://r"],
        ["flow.py", "--registry", "nowhere://x"],
        ["flow.py", "--registry", "memory://r", "--image", "trainer="],
        ["flow.py", "--registry", "memory://r", "--image", ""],
        ["flow.py", "--registry", "memory://r", "--config", "nowhere.toml"],
    ],
    "status": [[], ["e", "--config", "nowhere.toml"], ["e", "--kubeconfig", "nowhere"], ["e", "f"]],
    "cache": [
        [],
        ["ls", "t", "more"],
        ["ls", "--prefix", "nowhere://x"],
        ["rm"],
        ["rm", "t", "--older-than", "soon"],
        ["explain"],
        ["explain", "e"],
        ["explain", "e", "n0", "--kubeconfig", "nowhere"],
        ["ls", "--config", "nowhere.toml"],
    ],
    "get": [
        [],
        ["e", "deck"],
        ["e", "n0", "n1", "n2"],
        ["e", "n0", "else"],
        ["e", "n0", "logs", "--attempt", "0"],
        ["e", "job"],
        ["e", "n0", "logs", "--lines", "0"],
        ["e", "n0", "metrics", "--last", "soon"],
        ["e", "n0", "metrics", "--last", "nan"],
        ["e", "outputs", "--attempt", "1"],
        ["e", "n0", "links", "--download", "d"],
        ["e", "n0", "logs", "--query", "q"],
        ["e", "n0", "--token", "t"],
        ["e", "--kubeconfig", "nowhere"],
        ["e", "--config", "nowhere.toml"],
    ],
    "lineage": [[], ["nowhere"], ["s3://b/k", "more"], ["s3://b/k", "--kubeconfig", "nowhere"]],
    "signal": [[], ["e"], ["e", "n0"], ["e", "n0", "5", "6"], ["e", "n0", "5", "--kubeconfig", "nowhere"]],
    "approve": [[], ["e"], ["e", "n0", "5"], ["e", "n0", "--kubeconfig", "nowhere"]],
    "recover": [[], ["e", "--kubeconfig", "nowhere"], ["e", "f"], ["e", "--config", "nowhere.toml"]],
    "relaunch": [[], ["e", "--kubeconfig", "nowhere"], ["e", "f"], ["e", "--config", "nowhere.toml"]],
    "controller": [["--kubeconfig", "nowhere"], ["--metrics-port", "x"], ["--lease", "x"], ["--log-level", "loud"]],
    "cluster": [["--port", "x"], ["--max-pods", "0"], ["--config", "nowhere.toml"]],
    "queue": [
        ["more"],
        ["--kubeconfig", "nowhere"],
        ["--url", "nowhere"],
        ["--lease", "x"],
        ["--tenant", "a//b"],
        ["--first", "0"],
        ["--watch", "--interval", "0"],
        ["--watch", "--interval", "nan"],
        ["--port", "0"],
        ["--port", "65536"],
    ],
    "tenants": [
        [],
        ["limit", "set"],
        ["limit", "set", "ml"],
        ["limit", "set", "ml", "hive"],
        ["limit", "set", "ml", "hive=-1"],
        ["limit", "set", "ml", "hive=1", "hive=2"],
        ["limit", "set", "ml", f"hive={'9' * 5000}"],
        ["limit", "set", "ml", "--weight", "nan"],
        ["limit", "set", "ml", "--weight", "0"],
        ["limit", "set", "ml", "hive=1", "--timeout", "-1"],
        ["limit", "set", "ml", "hive=1", "--kubeconfig", "nowhere"],
        ["list", "more"],
        ["sync"],
        ["sync", "nowhere.yaml"],
        ["sync", "nowhere.yaml", "--watch"],
    ],
    "routes": [
        ["explain"],
        ["explain", "nowhere.yaml"],
        ["explain", "flow.py"],
        ["explain", "flow.py", "--resource", "x"],
        ["check"],
        ["check", "nowhere.yaml", "more", "and more"],
        ["check", "routingtable/x", "--kubeconfig", "nowhere"],
        ["simulate", "nowhere.yaml"],
        ["simulate", "nowhere.yaml", "nowhere.yaml"],
    ],
    "clusters": [
        [],
        ["nowhere.yaml"],
        ["flow.py"],
        ["routingtable/x", "--kubeconfig", "nowhere"],
        ["--deadline", "0"],
        ["--deadline", "inf"],
    ],
    "rollout": [
        ["start", "more"],
        ["start", "--kubeconfig", "nowhere"],
        ["status", "--config", "nowhere.toml"],
        ["status", "--kubeconfig", "nowhere"],
        ["promote", "--kubeconfig", "nowhere"],
        ["abort", "--reason"],
        ["abort", "--reason", "x" * 501],
        ["start", "--to", "x" * 64],
        ["start", "--from", "2.0\n"],
    ],
    "install": [[], ["more"]],
    "dataloader": [
        ["upload", "--to-output-prefix", "x"],
        ["upload", "--interface", "?", "--to-output-prefix", "x", "--to-raw-output", "y"],
        ["download", "--format", "x"],
        ["download", "--timeout", "-1"],
    ],
    "settings": [["more"], ["--config", "nowhere.toml"], ["--config"]],
}
"""Calls of each command that are wrong in a way of their own; each takes the options that follow."""


FLOW = (
    "from flytekit import task, workflow\n@task\ndef t(n: int) -> int:\n    return 1 // n\n"
    "@workflow\ndef wf(n: int = 0) -> int:\n    return t(n=n)\n"
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("flow.py").write_text(FLOW)
    Path("broken.py").write_text("import no_such_module_anywhere\n")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nope"],
        ["--nope"],
        *([name, *words] for name in _COMMANDS for words in [["flow.py", "wf", "--no-such-option"], *WRONG[name]]),
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_a_wrong_call_is_an_error_document(
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["propeller", *words, *(["--output=json"] if len(words) % 2 else ["--output", "json"])]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capfd.readouterr()
    assert ended.value.code == 2, captured.err
    document = json.loads(captured.out)
    assert set(document) == {"error"}
    assert set(document["error"]) == ERROR
    assert document["error"]["message"]
    assert document["error"]["kind"] == "USER"
