"""A Python program in a process that was forked: begun, run and ended as the interpreter would.

Part of the forking server (`_zygote.py`), which imports it by its bare name: nothing of propeller, Python 3.9.
"""

# pathlib would be one more import in every program; ending a process as the interpreter does takes names that atexit
# and threading keep to themselves, as multiprocessing's forks do.
# ruff: noqa: PTH123, SLF001

from __future__ import annotations

import atexit
import ctypes
import os
import random
import signal
import sys
import time
import types
from typing import Any

Message = dict[str, Any]

_libc = ctypes.CDLL(None)

UNFLUSHED = 120
"""The interpreter's exit code if its output could not be written."""


def set_environment(env: dict[str, str]) -> None:
    if dict(os.environ) != env:
        os.environ.clear()
        os.environ.update(env)
        time.tzset()


def enter(request: Message) -> None:
    """Make shared state of a fork its own: directory, environment, temporary names, random numbers."""
    os.chdir(request["cwd"])
    set_environment(request["env"])
    sys.argv[:] = request["entry"]["argv"]
    sys.orig_argv = list(request["argv"])
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None  # type: ignore[attr-defined]  # a ModuleType; the name is documented by tempfile
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None:
        processes.current_process()._config.pop("tempdir", None)  # of the program before, whose directory is gone
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    _forget_listings()


def _forget_listings() -> None:
    """Have object stores listed anew: fsspec keeps what an earlier program of the process has seen of them."""
    registry = sys.modules.get("fsspec.registry")
    if registry is None:
        return
    for kind in list(registry.registry.values()):
        for store in list(getattr(kind, "_cache", {}).values()):
            store.invalidate_cache()


def run(entry: Message) -> int:
    """Run the entry as `__main__` and return its exit code; `finish` is still to be done."""
    code = 0
    try:
        if entry["kind"] == "module":
            import runpy

            runpy.run_module(entry["target"], run_name="__main__", alter_sys=True)
        else:
            with open(entry["target"], "rb") as source:
                compiled = compile(source.read(), entry["target"], "exec")
            main = types.ModuleType("__main__")
            main.__file__ = entry["target"]
            main.__dict__["__builtins__"] = __builtins__
            sys.modules["__main__"] = main
            exec(compiled, main.__dict__)  # noqa: S102 - it is the user's program
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException as error:  # noqa: BLE001 - the interpreter's own last handler, done here
        trace = error.__traceback__.tb_next if error.__traceback__ else None  # without this frame
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        code = 1
        if isinstance(error, KeyboardInterrupt):
            finish()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    return code


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)  # noqa: T201 - as the interpreter does with a message for an exit code
    return 1


def finish() -> bool:
    """Do what the interpreter does at exit, in its order; return False if output could not be written (`UNFLUSHED`)."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.shutdown()
    return flush()


def flush() -> bool:
    """Flush the buffers of Python and C; return False if they could not be written."""
    _libc.fflush(None)
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except OSError:
        return False
    return True
