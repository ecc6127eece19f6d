"""Python programs forked from a warm process behave as if they had been started."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from propeller import config
from propeller.embedded.kubelet import Kubelet
from propeller.embedded.kubelet._commands import command_for
from propeller.embedded.kubelet._logs import open_log
from propeller.embedded.kubelet._processes import Exit, Process
from propeller.embedded.kubelet._servers import Servers

if TYPE_CHECKING:
    from tests.integration.kubelet.conftest import Cluster

ENV = {"PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}


class Runner:
    """Runs commands in `home` under servers that have preloaded the module `library`, which is there too."""

    def __init__(self, servers: Servers, home: Path) -> None:
        self.servers = servers
        self.home = home
        self.env: dict[str, str] = ENV | {"PYTHONPATH": str(home / "lib")}

    async def start(self, *words: str, env: Mapping[str, str] | None = None, preload: bool = True) -> Process:
        command = command_for(words, env=self.env | dict(env or {}), cwd=str(self.home), python=self.servers.python)
        log = open_log(self.home / "log")
        try:
            return await self.servers.start(command, log, preload=preload)
        finally:
            os.close(log)

    async def run(self, *words: str, env: Mapping[str, str] | None = None, preload: bool = True) -> tuple[Exit, str]:
        (self.home / "log").unlink(missing_ok=True)
        end = await (await self.start(*words, env=env, preload=preload)).wait()
        return end, (self.home / "log").read_text()

    async def script(self, text: str, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[Exit, str]:
        (self.home / "script.py").write_text(text)
        return await self.run("python", "script.py", *arguments, env=env)


@pytest.fixture
async def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runner]:
    home = tmp_path / "home"
    (home / "lib").mkdir(parents=True)
    settings = config.KubeletOptions(preload=("json.tool", "random"))
    async with Servers(settings, workdir=tmp_path / "servers", env=ENV) as servers:
        yield Runner(servers, home)


IS_FORKED = "import sys\nprint('json.tool' in sys.modules)\n"


async def test_a_script_runs_in_a_fork_with_its_own_arguments(runner: Runner) -> None:
    end, output = await runner.script(IS_FORKED + "print(sys.argv, __name__, __file__)", "a", "b c")
    assert (end.code, output) == (0, f"True\n['script.py', 'a', 'b c'] __main__ {runner.home}/script.py\n")


@pytest.mark.parametrize(
    "ending",
    [
        "raise SystemExit",
        "raise SystemExit(7)",
        "raise SystemExit(256)",
        "raise SystemExit(-1)",
        "raise SystemExit('sorry')",
        "raise ValueError('no')",
        "raise KeyboardInterrupt",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import atexit; atexit.register(print, 'bye')",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(.1), print('joined'))).start()",
        "import os; os.abort()",
        "import sys; sys.stdout.close()",
    ],
)
async def test_a_fork_ends_as_the_interpreter_would(runner: Runner, ending: str) -> None:
    (runner.home / "script.py").write_text(ending)
    forked, output = await runner.run("python", "script.py")
    runner.servers._settings = msgspec.structs.replace(runner.servers._settings, zygote=False)
    executed, expected = await runner.run("python", "script.py")
    assert (forked.code, forked.signal) == (executed.code, executed.signal)
    assert output.splitlines()[-1:] == expected.splitlines()[-1:]


async def test_a_traceback_shows_the_programs_frames_only(runner: Runner) -> None:
    _, output = await runner.script("def f():\n    1 / 0\nf()\n")
    assert "_zygote" not in output
    assert output.startswith('Traceback (most recent call last):\n  File "')
    assert output.endswith("ZeroDivisionError: division by zero\n")


async def test_a_module_runs_by_name(runner: Runner) -> None:
    (runner.home / "lib" / "tool.py").write_text(IS_FORKED + "print(__name__, sys.argv[1:], sys.argv[0])")
    _, output = await runner.run("python3", "-m", "tool", "x")
    assert output == f"True\n__main__ ['x'] {runner.home}/lib/tool.py\n"


async def test_a_fork_sees_its_own_environment_and_no_other(runner: Runner) -> None:
    _, output = await runner.script("import os\nprint(sorted(os.environ))", env={"OWN": "1"})
    assert output == f"{sorted({**runner.env, 'OWN': '1'})}\n"


async def test_sys_path_is_what_the_interpreter_would_make_it(runner: Runner) -> None:
    text = "import sys\nprint(sys.path)"
    _, forked = await runner.script(text)
    runner.servers._settings = msgspec.structs.replace(runner.servers._settings, zygote=False)
    _, executed = await runner.script(text)
    assert forked == executed


async def test_forks_draw_different_random_numbers(runner: Runner) -> None:
    text = "import random\nprint(random.random())"
    assert (await runner.script(text))[1] != (await runner.script(text))[1]


async def test_options_of_the_interpreter_are_left_to_it(runner: Runner) -> None:
    _, output = await runner.run("python", "-c", IS_FORKED)
    assert output == "False\n"


async def test_a_program_whose_modules_shadow_loaded_ones_is_executed_instead(runner: Runner) -> None:
    (runner.home / "lib" / "json.py").write_text("mine = True")
    _, output = await runner.script("import json\nprint(json.mine)")
    assert output == "True\n"


async def test_libraries_that_cannot_be_imported_turn_forking_off_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lib").mkdir()
    settings = config.KubeletOptions(preload=("no_such_module",))
    async with Servers(settings, workdir=tmp_path / "servers", env=ENV) as servers:
        runner = Runner(servers, tmp_path)
        for _ in range(2):
            assert (await runner.script("print('fine')"))[1] == "fine\n"
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "No module named 'no_such_module'" in warnings[0]


@pytest.fixture
def entry_point(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A stand-in for pyflyte-execute that imports its task module and says whether that was loaded already."""
    bin_directory = runner.home / "bin"
    bin_directory.mkdir()
    (bin_directory / "python").symlink_to(sys.executable)
    (bin_directory / "pyflyte-execute").write_text(
        f"#!{bin_directory}/python\n"
        "import sys\nname = sys.argv[-1]\nprint(name in sys.modules)\n"
        "import importlib; print(importlib.import_module(name).VALUE)\n"
    )
    (bin_directory / "pyflyte-execute").chmod(0o700)
    runner.servers.python = str(bin_directory / "python")
    return ("pyflyte-execute", "task-module", "flow")


async def test_a_tasks_module_is_imported_once_for_many_tasks(runner: Runner, entry_point: tuple[str, ...]) -> None:
    (runner.home / "lib" / "flow.py").write_text("VALUE = 1")
    for attempt in range(2):
        _, output = await runner.run(*entry_point, env={"FLYTE_ATTEMPT_NUMBER": str(attempt), "HOSTNAME": str(attempt)})
        assert output == "True\n1\n"
    assert len(runner.servers._modules) == 1


async def test_an_edited_module_is_imported_anew(runner: Runner, entry_point: tuple[str, ...]) -> None:
    (runner.home / "lib" / "flow.py").write_text("VALUE = 1")
    await runner.run(*entry_point)
    (runner.home / "lib" / "flow.py").write_text("VALUE = 'new'")
    assert (await runner.run(*entry_point))[1] == "True\nnew\n"


async def test_a_module_sees_the_environment_of_its_own_pods(runner: Runner, entry_point: tuple[str, ...]) -> None:
    (runner.home / "lib" / "flow.py").write_text("import os\nVALUE = os.environ['MODEL']")
    assert (await runner.run(*entry_point, env={"MODEL": "small"}))[1] == "True\nsmall\n"
    assert (await runner.run(*entry_point, env={"MODEL": "large"}))[1] == "True\nlarge\n"


async def test_a_pod_may_refuse_a_preloaded_module(runner: Runner, entry_point: tuple[str, ...]) -> None:
    (runner.home / "lib" / "flow.py").write_text("VALUE = 1")
    assert (await runner.run(*entry_point, preload=False))[1] == "False\n1\n"


async def test_a_module_that_starts_threads_is_not_forked(runner: Runner, entry_point: tuple[str, ...]) -> None:
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\nVALUE = 1"
    (runner.home / "lib" / "flow.py").write_text(thread)
    assert (await runner.run(*entry_point))[1] == "False\n1\n"


async def test_a_module_that_fails_to_import_fails_in_the_task_itself(
    runner: Runner, entry_point: tuple[str, ...]
) -> None:
    (runner.home / "lib" / "flow.py").write_text("raise RuntimeError('broken')")
    end, output = await runner.run(*entry_point)
    assert (end.code, "RuntimeError: broken\n" in output) == (1, True)
    (runner.home / "lib" / "flow.py").write_text("VALUE = 'mended'")
    assert (await runner.run(*entry_point))[1] == "True\nmended\n"


async def test_only_so_many_processes_are_kept(runner: Runner, entry_point: tuple[str, ...]) -> None:
    runner.servers._settings = msgspec.structs.replace(runner.servers._settings, idle_processes=2)
    for number in range(4):
        (runner.home / "lib" / f"flow{number}.py").write_text(f"VALUE = {number}")
        assert (await runner.run(*entry_point[:2], f"flow{number}"))[1] == f"True\n{number}\n"
    assert len(runner.servers._modules) == 2


async def test_processes_of_a_server_that_dies_are_reported_killed(runner: Runner) -> None:
    (runner.home / "script.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(600)")
    process = await runner.start("python", "script.py")
    while "up" not in (runner.home / "log").read_text():
        await asyncio.sleep(0.01)
    server = process._server
    assert server._popen is not None
    server._popen.kill()
    assert (await process.wait()).signal == 9
    assert (await runner.script("print('fine')"))[1] == "fine\n"


async def test_a_flytekit_task_runs_in_a_pod(cluster: Cluster, tmp_path: Path) -> None:
    literals = pytest.importorskip("flyteidl.core.literals_pb2")
    (tmp_path / "flow.py").write_text(
        "from flytekit import task\n@task\ndef double(a: int) -> int:\n    print('doubling', a)\n    return 2 * a\n"
    )
    inputs = literals.LiteralMap()
    inputs.literals["a"].scalar.primitive.integer = 21
    (tmp_path / "inputs.pb").write_bytes(inputs.SerializeToString())
    paths = ["--inputs", f"{tmp_path}/inputs.pb", "--output-prefix", f"{tmp_path}/out"]
    resolver = ["--resolver", "flytekit.core.python_auto_container.default_task_resolver", "--"]
    words = ["pyflyte-execute", *paths, "--raw-output-data-prefix", f"{tmp_path}/raw", *resolver]
    async with Kubelet(cluster, workdir=tmp_path / "kubelet") as cluster.kubelet:
        env = [{"name": "PYTHONPATH", "value": str(tmp_path)}]
        await cluster.create("p", *words, "task-module", "flow", "task-name", "double", env=env)
        status = await cluster.until("p", lambda status: status["phase"] in ("Succeeded", "Failed"))
        assert "doubling 21" in await cluster.log("p"), status
    outputs = literals.LiteralMap.FromString((tmp_path / "out" / "outputs.pb").read_bytes())
    assert outputs.literals["o0"].scalar.primitive.integer == 42
