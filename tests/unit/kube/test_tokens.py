"""Bearer tokens: files that are rotated, plugins that are run, and what happens when they fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from propeller.errors import Denied
from propeller.kube import _tokens, load_connection
from propeller.kube._tokens import FileToken, ObtainedToken, _Obtained
from tests.unit.pace import most_tries


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


async def test_a_token_file_is_read_again_after_a_minute(file: Path, clock: SetClock) -> None:
    source = FileToken(str(file), clock)
    assert await source.token() == "first"
    file.write_text("second")
    clock.time += 59
    assert await source.token() == "first"
    clock.time += 2
    assert await source.token() == "second"


async def test_a_token_file_is_read_again_at_once_when_the_token_is_refused(file: Path, clock: SetClock) -> None:
    source = FileToken(str(file), clock)
    refused = await source.token()
    file.write_text("second")
    source.expired("another")
    assert await source.token() == "first"
    source.expired(refused)
    assert await source.token() == "second"


async def test_a_token_file_that_is_away_for_a_moment_does_no_harm(file: Path, clock: SetClock) -> None:
    source = FileToken(str(file), clock)
    await source.token()
    file.unlink()
    clock.time += 61
    assert await source.token() == "first"


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff\xfe", "it is no text")])
async def test_a_token_file_that_cannot_be_read_is_named(
    file: Path, clock: SetClock, content: bytes | None, reason: str
) -> None:
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(Denied, match=f"the token file {file} cannot be read: {reason}"):
        await FileToken(str(file), clock).token()


COUNTING = """
import json, pathlib, sys
runs = pathlib.Path(sys.argv[1])
count = int(runs.read_text() or 0) + 1 if runs.exists() else 1
runs.write_text(str(count))
print(json.dumps({"token": f"token {count}", "expires": LIFE and 1_000_000.0 + LIFE}))
"""


def obtain_by(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run `script` in the place of what obtains tokens; it is given kubeconfig and context."""
    monkeypatch.setattr(_tokens, "OBTAIN", (sys.executable, "-S", "-E", "-c", script))


@pytest.mark.parametrize(("life", "renewed_after"), [(3600, 3540), (100, 50)])
async def test_an_obtained_token_is_renewed_before_it_expires(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch, life: int, renewed_after: int
) -> None:
    obtain_by(monkeypatch, COUNTING.replace("LIFE", str(life)))
    source = ObtainedToken(str(tmp_path / "runs"), "context", clock)
    assert await source.token() == "token 1"
    clock.time += renewed_after - 1
    assert await source.token() == "token 1"
    clock.time += 1
    assert await source.token() == "token 2"


async def test_an_obtained_token_that_does_not_expire_is_kept_until_it_is_refused(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    obtain_by(monkeypatch, COUNTING.replace("LIFE", "None"))
    source = ObtainedToken(str(tmp_path / "runs"), "context", clock)
    first = await source.token()
    clock.time += 1e6
    assert await source.token() == first
    source.expired("an older one")
    assert await source.token() == first
    source.expired(first)
    assert await source.token() == "token 2"


async def test_requests_that_need_a_token_at_once_have_it_obtained_once(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    obtain_by(monkeypatch, COUNTING.replace("LIFE", "None"))
    source = ObtainedToken(str(tmp_path / "runs"), "context", clock)
    assert set(await asyncio.gather(*(source.token() for _ in range(20)))) == {"token 1"}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "import sys; sys.exit('first line\\nlog in with: cloud login')",
            "obtained: log in with: cloud login",
        ),
        ("import sys; sys.exit(3)", "could be obtained: no reason given"),
        ("print('hello')", "what was obtained is no token"),
        ("print('{}')", "what was obtained is no token"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "what was obtained is no token"),
    ],
)
async def test_a_plugin_that_fails_denies_with_its_reason(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    obtain_by(monkeypatch, script)
    with pytest.raises(Denied, match=f"context 'prod' of /etc/kubeconfig: .*{reason}"):
        await ObtainedToken("/etc/kubeconfig", "prod", clock).token()


SLOW = """
import pathlib, subprocess, sys, time
subprocess.Popen([sys.executable, "-S", "-E", "-c", "import time; time.sleep(1000)", MARK])
pathlib.Path(MARK).touch()
time.sleep(1000)
"""


async def test_a_plugin_that_is_given_up_leaves_no_process(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    obtain_by(monkeypatch, SLOW.replace("MARK", repr(str(started))))
    task = asyncio.create_task(ObtainedToken("kubeconfig", "context", clock).token())
    while not started.exists():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await no_process_with(str(started))


async def test_a_plugin_that_is_given_up_while_it_is_started_leaves_no_process(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Regression: on a busy machine the plugin ran before asyncio had taken note of it, and its child was left."""
    started, go_on = tmp_path / "started", asyncio.Event()
    obtain_by(monkeypatch, SLOW.replace("MARK", repr(str(started))))
    create = asyncio.create_subprocess_exec

    async def create_slowly(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await create(*arguments, **options)
        await go_on.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", create_slowly)
    task = asyncio.create_task(ObtainedToken("kubeconfig", "context", clock).token())
    while not started.exists():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await no_process_with(str(started))


async def no_process_with(mark: str) -> None:
    """Wait until no process has `mark` in its command line: the kernel takes a moment to end what was killed."""
    while any(mark in line for line in command_lines()):
        await asyncio.sleep(0.01)


def command_lines() -> list[str]:
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(file.read_bytes().decode(errors="replace"))
    return lines


def kubeconfig_with_plugin(directory: Path, answer: object) -> Path:
    """A kubeconfig whose user runs a real plugin that prints `answer`."""
    plugin = directory / "plugin"
    plugin.write_text(
        f"#!/bin/sh\n[ -n \"$KUBERNETES_EXEC_INFO\" ] || exit 9\ncat <<'END'\n{json.dumps(answer)}\nEND\n"
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    exec_ = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    path = directory / "config"
    document = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": "https://here"}}],
        "users": [{"name": "u", "user": {"exec": exec_}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def test_a_real_exec_plugin_gives_its_token_and_when_it_expires(tmp_path: Path, clock: SetClock) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from the plugin", "expirationTimestamp": "2100-01-01T00:00:00Z"},
    }
    connection = load_connection(str(kubeconfig_with_plugin(tmp_path, credential)))
    assert connection.obtain is not None
    source = ObtainedToken(*connection.obtain, clock)
    assert await source.token() == "from the plugin"
    assert source._renew_at == 4102444800 - 60


class Plugin:
    """Counts its runs; `answer` gives each run's token and life in seconds, or raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: SetClock, answer: Callable[[int], _Obtained]) -> None:
        self.runs = 0
        self._answer = answer
        self._clock = clock

        async def obtain(source: ObtainedToken) -> _Obtained:
            self.runs += 1
            return answer(self.runs)

        monkeypatch.setattr(ObtainedToken, "_obtain", obtain)

    async def ask(self, source: ObtainedToken, seconds: int, *, refused: bool) -> None:
        """A hundred requests a second, each answered with 401 where `refused`."""
        for _ in range(seconds * 100):
            with contextlib.suppress(Denied):
                token = await source.token()
                if refused:
                    source.expired(token)
            self._clock.time += 0.01


def deny(run: int) -> _Obtained:
    raise Denied("log in first")


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (lambda run: _Obtained(f"token {run}"), True),
        (lambda run: _Obtained("always the same"), True),
        (lambda run: _Obtained(f"token {run}", 1_000_000.0 - 50), False),
        (lambda run: _Obtained(f"token {run}", 0.0), True),
        (deny, False),
    ],
    ids=["new ones are refused", "one is refused", "expired when it comes", "expired for long", "it fails"],
)
@pytest.mark.parametrize("seconds", [60, 600])
async def test_a_plugin_is_run_with_pauses_however_many_requests_there_are(
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[int], _Obtained],
    refused: bool,
    seconds: int,
) -> None:
    """Regression: it was run for each request, two processes each."""
    plugin = Plugin(monkeypatch, clock, answer)
    await plugin.ask(ObtainedToken("kubeconfig", "context", clock), seconds, refused=refused)
    assert 2 <= plugin.runs <= most_tries(seconds, _tokens.FIRST_PAUSE, _tokens.LONGEST_PAUSE)


async def test_a_token_that_is_refused_after_a_while_is_replaced_at_once(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Plugin(monkeypatch, clock, lambda run: _Obtained(f"token {run}"))
    source = ObtainedToken("kubeconfig", "context", clock)
    for run in range(1, 5):
        assert await source.token() == f"token {run}"
        clock.time += 10 * _tokens.LONGEST_PAUSE
        source.expired(f"token {run}")


async def test_a_plugin_that_failed_is_not_run_again_for_those_who_wait(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin(monkeypatch, clock, deny)
    source = ObtainedToken("kubeconfig", "context", clock)
    ends = await asyncio.gather(*(source.token() for _ in range(20)), return_exceptions=True)
    assert {str(end) for end in ends} == {"log in first"}
    assert plugin.runs == 1
