"""Several processes behind one port: options, sums, and processes that die."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import click
import pytest
from click.testing import CliRunner

from propeller.cli import _supervisor
from propeller.cli._controller import _with_shards
from propeller.cli._front import Front, summed
from propeller.cli._supervisor import Supervisor, fronted
from propeller.cli.commands._controller import command
from propeller.config import Settings, WorkflowShardOptions
from propeller.telemetry import Metrics, MetricsOptions, serve_metrics
from propeller.testing import eventually

CHILD = """
import http.server, os, signal, sys, threading
number, fd = sys.argv[sys.argv.index("--process") + 1], int(sys.argv[sys.argv.index("--report-to") + 1])
heard = open(sys.argv[sys.argv.index("controller") + 1] + "/" + number, "a")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"not today" if number == "2" else b"ok"
        if self.path == "/metrics":
            body = b"# TYPE a counter\\na_total 2\\n"
        self.send_response(503 if self.path == "/readyz" and number == "2" else 200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: (os.write(heard.fileno(), b"term\\n"), os._exit(0)))
os.write(fd, f"port {server.server_port}\\n".encode())
os.write(fd, f"member m{number}.{os.getpid()}\\n".encode())
for line in sys.stdin:
    print(line.strip(), file=heard, flush=True)
print("alone", file=heard, flush=True)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process in propeller's place, which writes down what it hears."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr("propeller.cli._supervisor.sys.executable", str(wrapper))
    monkeypatch.setattr(_supervisor, "PAUSE", 0.01)
    return tmp_path


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_processes_are_summed_replaced_and_ended_in_order(child: Path) -> None:
    async with fronted("127.0.0.1", 0, MetricsOptions()) as front:
        supervisor = Supervisor(["controller", str(child)], 2, front)
        running = asyncio.create_task(supervisor.run())
        try:
            await eventually(lambda: len(front.ports) == 2, deadline=30)
            text = (await front.text()).decode()
            assert "a_total 4.0" in text
            assert await front.live() is None
            assert await front.ready() == "process 2: not today"
            first = supervisor._children[0]
            await eventually(lambda: first.member != "", deadline=30)
            assert first.process is not None
            died = first.member
            first.process.kill()
            await eventually(lambda: f"dead {died}" in (child / "2").read_text(), deadline=30)
            await eventually(lambda: first.member not in {"", died}, deadline=30)
        finally:
            running.cancel()
            await asyncio.wait([running])
    assert "term" in (child / "1").read_text()
    assert "term" in (child / "2").read_text()
    heard = (child / "2").read_text().splitlines()
    assert [line for line in heard if line.startswith("dead")] == [f"dead {died}"], "not of one that is told to end"


async def test_a_process_hears_when_its_supervisor_is_gone(child: Path) -> None:
    async with fronted("127.0.0.1", 0, MetricsOptions()) as front:
        supervisor = Supervisor(["controller", str(child)], 1, front)
        running = asyncio.create_task(supervisor.run())
        await eventually(lambda: len(front.ports) == 1, deadline=30)
        process = supervisor._children[0].process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        await eventually(lambda: "alone" in (child / "1").read_text(), deadline=30)
        running.cancel()
        await asyncio.wait([running])


def test_sums_are_by_labels_and_some_gauges_have_the_largest() -> None:
    scrapes = []
    for lag, seconds in ((0.5, 1.0), (0.25, 3.0)):
        metrics = Metrics()
        metrics.watch_lag(lambda lag=lag: lag)  # type: ignore[misc]
        metrics.reconciles_of("workflows")("ok", seconds)
        metrics.watch_shards(lambda: 8)
        scrapes.append(metrics.text().decode())
    lines = summed(scrapes).decode().splitlines()
    assert 'propeller_rounds_total{controller="workflows",outcome="ok"} 2.0' in lines
    assert 'propeller_round_seconds_sum{controller="workflows"} 4.0' in lines
    assert 'propeller_round_seconds_count{controller="workflows"} 2.0' in lines
    assert "propeller_loop_lag_max_seconds 0.5" in lines
    assert "propeller_shards 16.0" in lines
    assert len([line for line in lines if line.startswith("# TYPE propeller_rounds")]) == 1


def test_several_processes_divide_shards_unless_the_settings_say_how_many() -> None:
    assert _with_shards(Settings(), None, 1, elect=True).shards.count == 0
    assert _with_shards(Settings(), None, 2, elect=True).shards.count == 16
    assert _with_shards(Settings(shards=WorkflowShardOptions(count=8)), None, 2, elect=True).shards.count == 8
    assert _with_shards(Settings(shards=WorkflowShardOptions(count=8)), 4, 1, elect=True).shards.count == 4


@pytest.mark.parametrize(
    ("shards", "processes", "elect", "mend"),
    [(None, 2, False, "leave out --no-elect"), (4, 1, False, "leave out --no-elect"), (2, 4, True, "raise --shards")],
)
def test_options_that_contradict_each_other_are_refused(
    shards: int | None, processes: int, elect: bool, mend: str
) -> None:
    with pytest.raises(click.UsageError, match=mend):
        _with_shards(Settings(), shards, processes, elect=elect)
    assert CliRunner().invoke(command, ["--shards", "33"]).exit_code == 2
    assert signal.Signals(9).name == _supervisor._named(-9)


def test_a_process_that_is_killed_by_a_signal_without_a_name_is_replaced_as_others() -> None:
    """Regression: the supervisor itself ended, by the name that a real-time signal does not have."""
    assert _supervisor._named(-40) == "signal 40"


async def test_a_process_that_ends_while_all_are_asked_leaves_the_answers_of_the_others() -> None:
    """Regression: the page of all was an internal error then."""
    async with serve_metrics(Metrics(), pages={}) as port, aiohttp.ClientSession() as session:
        front = Front(session)
        front.ports = {1: port, 2: port}
        asked = asyncio.create_task(front.text())
        await asyncio.sleep(0)  # both are about to be asked
        front.ports.clear()
        assert b"propeller_" in await asked
