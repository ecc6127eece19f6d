"""Small tasks of a module run one after another in a process, unless one leaves something that the next would see."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from propeller import config
from propeller.embedded.kubelet._commands import command_for
from propeller.embedded.kubelet._logs import open_log
from propeller.embedded.kubelet._processes import Exit, Process
from propeller.embedded.kubelet._servers import Servers

ENTRY = """#!{python}
import importlib, os, sys
print(os.getpid())
importlib.import_module(sys.argv[-1]).main()
"""


class Tasks:
    """Runs the function `main` of the module `flow`, as pyflyte-execute would run its task."""

    def __init__(self, servers: Servers, home: Path, lib: str = "lib") -> None:
        self.servers = servers
        self._home = home
        self._lib = home / lib
        self._lib.mkdir(exist_ok=True)
        self._count = 0

    def write(self, text: str) -> None:
        (self._lib / "flow.py").write_text(text)

    async def start(self, **env: str) -> tuple[Process, Path]:
        self._count += 1
        place = self._home / f"place{self._count}"
        place.mkdir()
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self._lib), **env}
        words = ("pyflyte-execute", "task-module", "flow")
        command = command_for(words, env=own, cwd=str(place), python=self.servers.python)
        path = self._home / f"log{self._count}"
        log = open_log(path)
        try:
            return await self.servers.start(command, log, preload=True), path
        finally:
            os.close(log)

    async def run(self, **env: str) -> tuple[int, list[str], Exit]:
        """Its process, what it has printed besides, and how it ended."""
        process, log = await self.start(**env)
        end = await process.wait()
        pid, *printed = log.read_text().splitlines()
        return int(pid), printed, end


@pytest.fixture
async def tasks(tmp_path: Path) -> AsyncIterator[Tasks]:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.symlink_to(sys.executable)
    entry = tmp_path / "bin" / "pyflyte-execute"
    entry.write_text(ENTRY.format(python=python))
    entry.chmod(0o700)
    settings = config.KubeletOptions(preload=("json.tool",), python=str(python))
    env = {"PATH": os.environ["PATH"]}
    async with Servers(settings, workdir=tmp_path / "servers", env=env) as servers:
        yield Tasks(servers, tmp_path)


async def test_tasks_that_leave_nothing_share_a_process_and_nothing_else(tasks: Tasks) -> None:
    tasks.write(
        "import os, random, tempfile\ndef main():\n"
        "    known = os.environ.get('FLYTE_K8S_ARRAY_INDEX'), os.environ.get('X')\n"
        "    print(os.path.basename(os.getcwd()), os.listdir(), *known)\n"
        "    print(random.random(), flush=True)\n    os.environ['X'] = 'set'\n    open('mine', 'w').write('x')\n"
        "    print(tempfile.gettempdir())\n"
    )
    runs = [await tasks.run(FLYTE_K8S_ARRAY_INDEX=str(number), TMPDIR="/tmp") for number in range(3)]
    assert len({pid for pid, _, _ in runs}) == 1
    assert [printed[0] for _, printed, _ in runs] == [f"place{n + 1} [] {n} None" for n in range(3)]
    assert len({printed[1] for _, printed, _ in runs}) == 3, "random numbers are drawn anew"


async def test_multiprocessing_makes_its_sockets_below_the_tmpdir_of_each_task(tasks: Tasks, tmp_path: Path) -> None:
    tasks.write(
        "import multiprocessing.util\nfrom multiprocessing.connection import Listener\n"
        "def main():\n    with Listener(family='AF_UNIX') as listener:\n        print(listener.address)\n"
    )
    with tempfile.TemporaryDirectory(dir="/tmp") as first, tempfile.TemporaryDirectory(dir="/tmp") as second:
        runs = [await tasks.run(TMPDIR=place) for place in (first, second)]
        assert len({pid for pid, _, _ in runs}) == 1
        assert [str(Path(path).parents[1]) for _, (path,), _ in runs] == [first, second]


@pytest.mark.parametrize(
    "main",
    [
        "globals()['COUNT'] += 1",
        "SEEN.append(1)",
        "import threading, time; threading.Thread(target=time.sleep, args=(0.2,), daemon=True).start()",
        "import subprocess; subprocess.Popen(['sleep', '0.2'])",
        "import signal; signal.signal(signal.SIGUSR2, signal.SIG_IGN)",
        "SEEN.append(open(__file__))",
        "import sys; sys.setrecursionlimit(3000)",
        "import os; os.umask(0o007)",
        "import time\n    while time.process_time() < 1.2: pass",
        "bytearray(100_000_000)[:] = bytes(range(256)) * 390_625; SEEN.append(bytearray(b'x' * 70_000_000))",
    ],
)
async def test_a_task_that_leaves_something_is_the_last_of_its_process(tasks: Tasks, main: str) -> None:
    tasks.write(f"COUNT, SEEN = 0, []\ndef main():\n    print(COUNT, SEEN)\n    {main}\n")
    runs = [await tasks.run() for _ in range(2)]
    assert len({pid for pid, _, _ in runs}) == 2
    assert [printed for _, printed, _ in runs] == [["0 []"]] * 2
    assert [end.code for _, _, end in runs] == [0, 0]


async def test_a_task_of_an_installed_package_that_leaves_something_is_the_last_of_its_process(
    tasks: Tasks, tmp_path: Path
) -> None:
    installed = Tasks(tasks.servers, tmp_path, "site-packages")
    installed.write("SEEN = []\ndef main():\n    print(SEEN)\n    SEEN.append(1)\n")
    runs = [await installed.run() for _ in range(2)]
    assert [printed for _, printed, _ in runs] == [["[]"]] * 2


async def test_a_module_that_holds_what_cannot_be_looked_at_has_a_process_for_each_task(tasks: Tasks) -> None:
    tasks.write("import itertools\nNUMBERS = itertools.count()\ndef main():\n    print(next(NUMBERS))\n")
    runs = [await tasks.run() for _ in range(2)]
    assert len({pid for pid, _, _ in runs}) == 2
    assert [printed for _, printed, _ in runs] == [["0"], ["0"]]


async def test_what_a_task_has_seen_of_an_object_store_is_listed_anew_for_the_next(tasks: Tasks) -> None:
    installed = str(Path(msgspec.__file__).parents[1])
    tasks.write(
        f"import sys\nsys.path.insert(0, {installed!r})\nimport s3fs, fsspec\n"
        "def main():\n    store = fsspec.filesystem('s3', anon=True)\n"
        "    print('bucket' in store.dircache)\n    store.dircache['bucket'] = []\n"
    )
    runs = [await tasks.run() for _ in range(2)]
    assert len({pid for pid, _, _ in runs}) == 1
    assert [printed for _, printed, _ in runs] == [["False"]] * 2


async def test_what_a_task_registers_for_its_end_is_done_at_its_end(tasks: Tasks) -> None:
    tasks.write("import atexit\ndef main():\n    atexit.register(print, 'bye')\n")
    assert [(await tasks.run())[1] for _ in range(2)] == [["bye"], ["bye"]]


async def test_what_a_task_leaves_running_ends_with_it(tasks: Tasks) -> None:
    tasks.write(
        "import subprocess\ndef main():\n"
        "    out = subprocess.run(['sh', '-c', 'sleep 600 >/dev/null 2>&1 & echo $!'], stdout=subprocess.PIPE).stdout\n"
        "    print(out.decode().strip())\n"
    )
    _, (left,), _ = await tasks.run()
    while Path("/proc", left).exists():
        await asyncio.sleep(0.01)


async def test_a_task_that_is_killed_is_reported_so_whatever_its_process_has_run_before(tasks: Tasks) -> None:
    tasks.write(
        "import os, time\ndef main():\n    print('up', flush=True)\n    time.sleep(float(os.environ['BATCH_JOB_X']))\n"
    )
    first, _, _ = await tasks.run(BATCH_JOB_X="0")
    process, log = await tasks.start(BATCH_JOB_X="600")
    while not process.pid or "up" not in log.read_text():
        await asyncio.sleep(0.01)
    assert process.pid == first
    process.kill(signal.SIGTERM)
    assert (await process.wait()).signal == signal.SIGTERM
    second, _, end = await tasks.run(BATCH_JOB_X="0")
    assert second != first
    assert end.code == 0


async def test_each_task_is_charged_for_its_own_time(tasks: Tasks) -> None:
    tasks.write(
        "import os, time\ndef main():\n    end = time.process_time() + float(os.environ['BATCH_JOB_X'])\n"
        "    while time.process_time() < end:\n        pass\n"
    )
    pid, _, busy = await tasks.run(BATCH_JOB_X="0.3")
    again, _, idle = await tasks.run(BATCH_JOB_X="0")
    assert pid == again
    assert busy.cpu_seconds > 2 * idle.cpu_seconds


async def test_a_process_that_nobody_needs_is_ended(tasks: Tasks) -> None:
    tasks.write("import _worker\n_worker.IDLE_SECONDS = 0.05\ndef main():\n    pass\n")
    pid, _, _ = await tasks.run()
    while Path("/proc", str(pid)).exists():
        await asyncio.sleep(0.01)
    assert (await tasks.run())[2].code == 0


async def test_a_process_for_each_task_can_be_asked_for(tasks: Tasks) -> None:
    tasks.servers._settings = msgspec.structs.replace(tasks.servers._settings, tasks_per_process=1)
    tasks.write("def main():\n    pass\n")
    assert len({(await tasks.run())[0] for _ in range(3)}) == 3


async def test_a_process_runs_so_many_tasks_and_no_more(tasks: Tasks) -> None:
    tasks.servers._settings = msgspec.structs.replace(tasks.servers._settings, tasks_per_process=2)
    tasks.write("def main():\n    pass\n")
    pids = [(await tasks.run())[0] for _ in range(4)]
    assert (pids[0], pids[2]) == (pids[1], pids[3])
    assert pids[0] != pids[2]
