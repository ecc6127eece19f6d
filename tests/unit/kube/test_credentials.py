"""Credentials: files that are rotated, plugins that are run, and their failures."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from propeller.errors import Denied
from propeller.kube import _auth_provider, _credentials
from propeller.kube._auth_provider import AuthProvider
from propeller.kube._command import Transcript
from propeller.kube._credentials import FileToken, ObtainedCredential
from propeller.kube._transport import Credential
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
    assert await token_of(source) == "first"
    file.write_text("second")
    clock.time += 59
    assert await token_of(source) == "first"
    clock.time += 2
    assert await token_of(source) == "second"


async def test_a_token_file_is_read_again_at_once_when_the_token_is_refused(file: Path, clock: SetClock) -> None:
    source = FileToken(str(file), clock)
    refused = await source.current()
    file.write_text("second")
    source.refused(Credential(token="another"))
    assert await token_of(source) == "first"
    source.refused(refused)
    assert await token_of(source) == "second"


async def test_a_token_file_that_is_away_for_a_moment_does_no_harm(file: Path, clock: SetClock) -> None:
    source = FileToken(str(file), clock)
    await source.current()
    file.unlink()
    clock.time += 61
    assert await token_of(source) == "first"


async def test_a_token_beside_a_token_file_is_used_while_the_file_cannot_be_read(file: Path, clock: SetClock) -> None:
    source = FileToken(str(file), clock, "beside")
    assert await token_of(source) == "first"
    file.unlink()
    assert await token_of(FileToken(str(file), clock, "beside")) == "beside"


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff\xfe", "it is no text")])
async def test_a_token_file_that_cannot_be_read_is_named(
    file: Path, clock: SetClock, content: bytes | None, reason: str
) -> None:
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(Denied, match=f"the token file {file} cannot be read: {reason}"):
        await FileToken(str(file), clock).current()


async def token_of(source: FileToken | ObtainedCredential) -> str:
    return (await source.current()).token


def context_of(kubeconfig: str | Path, context: str = "context") -> AuthProvider:
    return AuthProvider(kubeconfig=str(kubeconfig), context=context)


COUNTING = """
import json, pathlib, sys
runs = pathlib.Path(sys.argv[1])
count = int(runs.read_text() or 0) + 1 if runs.exists() else 1
runs.write_text(str(count))
print(json.dumps({"token": f"token {count}"}))
"""


def obtain_by(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Run `script` as the plugin that obtains tokens, with kubeconfig and context as arguments."""
    monkeypatch.setattr(_auth_provider, "OBTAIN", (sys.executable, "-S", "-E", "-c", script))


@pytest.mark.parametrize(("life", "renewed_after"), [(3600, 3540), (100, 50)])
async def test_obtained_credentials_are_renewed_before_they_expire(
    clock: SetClock, life: int, renewed_after: int
) -> None:
    source = ObtainedCredential(Plugin(clock, lambda run: valid(f"token {run}", clock.time + life)), clock)
    assert await token_of(source) == "token 1"
    clock.time += renewed_after - 1
    assert await token_of(source) == "token 1"
    clock.time += 1
    assert await token_of(source) == "token 2"


async def test_valid_credentials_stay_in_use_while_their_renewal_fails(clock: SetClock) -> None:
    def answer(run: int) -> Credential:
        return valid("first", clock.time + 3600) if run == 1 else deny(run)

    source = ObtainedCredential(Plugin(clock, answer), clock)
    await source.current()
    clock.time += 3590
    assert await token_of(source) == "first"
    clock.time += 11
    with pytest.raises(Denied, match="log in first"):
        await source.current()


async def test_an_obtained_token_that_does_not_expire_is_kept_until_it_is_refused(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    obtain_by(monkeypatch, COUNTING)
    source = ObtainedCredential(context_of(tmp_path / "runs"), clock)
    first = await source.current()
    clock.time += 1e6
    assert await source.current() == first
    source.refused(Credential(token="an older one"))
    assert await source.current() == first
    source.refused(first)
    assert await token_of(source) == "token 2"


async def test_requests_that_need_a_token_at_once_have_it_obtained_once(
    tmp_path: Path, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    obtain_by(monkeypatch, COUNTING)
    source = ObtainedCredential(context_of(tmp_path / "runs"), clock)
    assert set(await asyncio.gather(*(token_of(source) for _ in range(20)))) == {"token 1"}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "import sys; sys.exit('first line\\nlog in with: cloud login')",
            "log in with: cloud login",
        ),
        ("import sys; sys.exit(3)", "it ended with exit code 3"),
        ("print('hello')", "gave what is no token"),
        ("print('{}')", "gave what is no token"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "gave what is no token"),
    ],
)
async def test_a_plugin_that_fails_denies_with_its_reason(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    obtain_by(monkeypatch, script)
    with pytest.raises(Denied, match=f"context 'prod' of /etc/kubeconfig .*{reason}"):
        await ObtainedCredential(context_of("/etc/kubeconfig", "prod"), clock).current()


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
    task = asyncio.create_task(ObtainedCredential(context_of("kubeconfig"), clock).current())
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
    task = asyncio.create_task(ObtainedCredential(context_of("kubeconfig"), clock).current())
    while not started.exists():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await no_process_with(str(started))


async def no_process_with(mark: str) -> None:
    """Wait until no process has `mark` in its command line: the kernel takes a moment to end killed ones."""
    while any(mark in line for line in command_lines()):
        await asyncio.sleep(0.01)


def command_lines() -> list[str]:
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(file.read_bytes().decode(errors="replace"))
    return lines


class Plugin:
    """Counts its runs; `answer` gives what each run gives, or raises."""

    where = "plugin"

    def __init__(self, clock: SetClock, answer: Callable[[int], Credential]) -> None:
        self.runs = 0
        self._answer = answer
        self._clock = clock

    async def obtain(self, transcript: Transcript) -> Credential:
        self.runs += 1
        return self._answer(self.runs)

    async def ask(self, source: ObtainedCredential, seconds: int, *, refused: bool) -> None:
        """A hundred requests a second, each answered with 401 if `refused`."""
        for _ in range(seconds * 100):
            with contextlib.suppress(Denied):
                credential = await source.current()
                if refused:
                    source.refused(credential)
            self._clock.time += 0.01


def valid(token: str, expires: float | None = None) -> Credential:
    return Credential(token=token, expires=expires)


def deny(run: int) -> Credential:
    raise Denied("log in first")


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (lambda run: valid(f"token {run}"), True),
        (lambda run: valid("always the same"), True),
        (lambda run: valid(f"token {run}", 1_000_000.0 - 50), False),
        (lambda run: valid(f"token {run}", 0.0), True),
        (deny, False),
    ],
    ids=["new ones are refused", "one is refused", "expired when it comes", "expired for long", "it fails"],
)
@pytest.mark.parametrize("seconds", [60, 600])
async def test_a_plugin_is_run_with_pauses_however_many_requests_there_are(
    clock: SetClock,
    answer: Callable[[int], Credential],
    refused: bool,
    seconds: int,
) -> None:
    """Regression: it was run for each request, two processes each."""
    plugin = Plugin(clock, answer)
    await plugin.ask(ObtainedCredential(plugin, clock), seconds, refused=refused)
    assert 2 <= plugin.runs <= most_tries(seconds, _credentials.FIRST_PAUSE, _credentials.MAX_PAUSE)


async def test_a_token_that_is_refused_after_a_while_is_replaced_at_once(clock: SetClock) -> None:
    source = ObtainedCredential(Plugin(clock, lambda run: valid(f"token {run}")), clock)
    for run in range(1, 5):
        assert await token_of(source) == f"token {run}"
        clock.time += 10 * _credentials.MAX_PAUSE
        source.refused(valid(f"token {run}"))


async def test_a_failed_plugin_is_not_run_again_for_waiting_requests(clock: SetClock) -> None:
    plugin = Plugin(clock, deny)
    source = ObtainedCredential(plugin, clock)
    ends = await asyncio.gather(*(source.current() for _ in range(20)), return_exceptions=True)
    assert {str(end) for end in ends} == {"log in first"}
    assert plugin.runs == 1
