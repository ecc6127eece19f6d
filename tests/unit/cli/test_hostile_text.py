"""Names, messages, codes and outputs of an untrusted workflow cannot control the terminal in any command, and are not
taken for markup.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from rich.console import Console

from propeller.cli import _result, _status
from propeller.cli.__main__ import main
from propeller.cli._compile import encoded
from propeller.cli._exit_codes import report_error
from propeller.cli._output import say, say_defect, say_json
from propeller.cli._plan_dot import to_dot
from propeller.cli._plan_text import explain
from propeller.cli._progress import Lines, LiveTree
from propeller.cli._tree import node_line, tree
from propeller.cli.flytekit_bridge import FileFailed
from propeller.clock import SYSTEM_CLOCK
from propeller.config import Settings
from propeller.controller import FLYTE_WORKFLOWS, WORKFLOWS, Loader, workflow_crd
from propeller.embedded.server import ApiServer
from propeller.errors import PropellerError
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client
from propeller.status import encode_status
from propeller.storage import MemoryStore, Storage
from propeller.text import one_line
from propeller.workflow import (
    AttemptObserved,
    AttemptPhase,
    Effect,
    Execution,
    Failure,
    Launch,
    NodeEvent,
    Plan,
    WorkflowPhase,
)
from tests.unit.workflow.drive import TASK, Driver, execution, graph, plan, task

EVIL = "\x1b]0;t\x07\x1b]52;c;Zg==\x07\x1b[2J\x9b2J\x7f\u202e\u2066\u200b\u2028\r[bold red]x[/]:smile:"
ACTING = set("\x1b\x07\x9b\x7f\u202e\u2066\u200b\u2028\r")
FORGED = f"{EVIL}\nforged"


TRACE = (
    'Traceback (most recent call last):\n  File "/x/flytekit/core/base_task.py", line 7, in execute\n    return run()\n'
    '  File "/home/me/flow.py", line 3, in t\n    raise ValueError(text)\n'
)


def reported(message: str) -> str:
    """As flytekit writes an exception of that message, raised by the author's code."""
    shown = [f"{TRACE}ValueError: {message}\n", f"ValueError: {message}"]
    trace, end = ("".join(f"    {line}" for line in text.splitlines(keepends=True)) for text in shown)
    return f"Trace:\n\n{trace}\nMessage:\n\n{end}"


def hostile(of: Execution | None = None, message: str = f"first\n{EVIL} last") -> Execution:
    """A failed execution all of whose texts are hostile."""

    def answer(of: Execution, effect: Effect) -> Iterable[NodeEvent] | None:
        if isinstance(effect, Launch):
            failure = Failure(FORGED, message, attempt=effect.attempt)
            return (AttemptObserved(effect.attempt, AttemptPhase.FAILED, failure=failure),)
        return None

    return Driver(of or execution(hostile_plan()), answer).run()


def hostile_root() -> dict[str, Any]:
    node_id = f"n{FORGED}".replace("/", "|")  # an id with a "/" is refused
    root = graph(task(node_id, name=f"my.{FORGED}"), task("b"), edges=[(node_id, "b")])
    root["nodes"]["b"]["inputBindings"] = [
        {"var": FORGED, "binding": {"scalar": {"primitive": {"stringValue": EVIL}}}},
    ]
    return root | {"id": f"p:d:{FORGED}"}


def hostile_plan() -> Plan:
    return plan(hostile_root())


def assert_harmless(text: str) -> None:
    assert not set(text) & ACTING
    assert "forged" not in [line.strip() for line in text.splitlines()]
    if "smile" in text:
        assert "[bold red]x[/]:smile:" in text


def on_terminal() -> Console:
    """A console that writes no escape codes itself, so that every one found comes from the workflow."""
    return Console(file=io.StringIO(), width=10_000, color_system=None, soft_wrap=True)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_tree_and_its_lines_are_harmless() -> None:
    console, failed = on_terminal(), hostile()
    console.print(tree(failed, 1005.0))
    console.print(node_line(failed, 0, 1005.0))
    live = LiveTree(console, SYSTEM_CLOCK)
    live.note(EVIL)
    console.print(live._draw())
    lines = Lines(console, SYSTEM_CLOCK)
    lines.note(EVIL)
    lines.changed(failed)
    assert "smile" in written(console)
    assert_harmless(written(console))


def test_the_end_of_a_run_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    failed = hostile()
    assert failed.failure is not None
    _result.print_failure(failed, failed.failure)
    _result._print_outputs({EVIL: [EVIL]}, as_json=False)
    say_json({"error": _result.error_json(failed, failed.failure)})
    say_json(_status.as_data(failed), indented=True)
    captured = capsys.readouterr()
    assert_harmless(captured.out)
    assert_harmless(captured.err)
    assert json.loads(captured.out.splitlines()[0]) == {EVIL: [EVIL]}


def test_errors_of_every_kind_are_harmless(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    report_error(PropellerError(EVIL))
    report_error(FileFailed(EVIL, f"Traceback\n  {EVIL}\\"))
    say(EVIL)
    try:
        raise KeyError(EVIL) from ValueError(EVIL)
    except KeyError as error:
        say_defect(error)
    monkeypatch.setattr("propeller.cli.__main__.cli.main", _defect)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "hunter2" not in captured.err
    assert_harmless(captured.out)
    assert_harmless(captured.err)


def _defect(**options: object) -> None:
    raise RuntimeError(f"{EVIL} https://me:hunter2@host")


def test_the_output_of_compile_is_harmless() -> None:
    drawn = hostile_plan()
    assert_harmless(explain(drawn))
    assert_harmless(to_dot(drawn))
    resource = {"spec": hostile_root()}
    for form, load in (("json", orjson.loads), ("yaml", yaml.safe_load)):
        document = encoded(resource, form)
        assert not set(document.decode()) & ACTING
        assert load(document) == resource


async def show_status(path: Path, message: str, form: _status._Form, *, watch: bool = False) -> None:
    """Print the status of a hostile execution that a controller has stored with that message."""
    async with (
        ApiServer() as server,
        Storage(stores={"memory": MemoryStore()}) as storage,
        server.serve() as front,
    ):
        client = Client(server.transport())
        await client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
        await client.create(NAMESPACES, {"metadata": {"name": "ns"}})
        resource = {"metadata": {"name": "e"}, "spec": hostile_root(), "tasks": {"t": TASK}}
        await client.create(FLYTE_WORKFLOWS, resource, "ns")
        loader = Loader(client, storage, "memory://m")
        failed = hostile(await loader.show(await client.get(WORKFLOWS, "e", "ns"), 1000.0), message)
        status = await encode_status(failed, 1001.0, 1 << 20, storage)
        assert status["phase"] == WorkflowPhase.FAILED
        assert not set(str(status["message"])) & ACTING
        await client.patch(FLYTE_WORKFLOWS, "e", "ns", body={"status": status}, subresource="status")
        path.write_text(yaml.safe_dump(front.kubeconfig()))
        await _status._show("e", str(path), None, "ns", Settings(), form, watch=watch)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("watch", [False, True])
async def test_status_is_harmless_and_so_is_the_resource(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, as_json: bool, watch: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "4000")  # lines are not wrapped
    form = _status._Form(as_json=as_json, full_traceback=False)
    await show_status(tmp_path / "k", f"first\n{EVIL} last", form, watch=watch)
    captured = capsys.readouterr()
    assert one_line(EVIL)[:20].encode() in captured.out.encode() or as_json
    assert_harmless(captured.out + captured.err)
    if as_json:
        assert json.loads(captured.out.splitlines()[-1])["error"]["message"] == f"first\n{EVIL} last"


@pytest.mark.parametrize("whole", [False, True])
async def test_status_shows_the_authors_frames_of_a_failed_task_and_flytekits_if_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, whole: bool
) -> None:
    await show_status(tmp_path / "k", reported(EVIL), _status._Form(as_json=False, full_traceback=whole))
    shown = capsys.readouterr().err
    assert_harmless(shown)
    assert '  File "/home/me/flow.py", line 3, in t\n    raise ValueError(text)\n' in shown
    assert shown.count("ValueError: \\x1b]0;t") == 1
    assert ("base_task.py" in shown) == whole
    assert ("... 1 frame of flytekit" in shown) != whole


async def test_status_shows_a_log_that_ends_in_a_traceback_in_the_same_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = f"exit code (1)\n{TRACE}ValueError: {EVIL}"
    await show_status(tmp_path / "k", log, _status._Form(as_json=False, full_traceback=False))
    shown = capsys.readouterr().err
    assert_harmless(shown)
    assert "base_task.py" not in shown
    assert 'File "/home/me/flow.py", line 3, in t' in shown
