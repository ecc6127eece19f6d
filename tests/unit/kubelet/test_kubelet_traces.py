"""Traces that a program has left in its process are found, and removed ones are not reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from propeller.embedded.kubelet import _traces

MODULE = """
import collections, dataclasses, datetime, enum, functools, logging, re, typing
COUNT, TEXT, NOTHING, WORDS = 0, "a", None, re.compile("a+")
SEEN, STATE, NESTED, LAST = [], {"n": 0}, {"a": [1, {"b": 2}]}, collections.deque([1])
Row = collections.namedtuple("Row", "a b")
T = typing.TypeVar("T")
log = logging.getLogger("mine")

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Model:
    kinds = []
    loaded: typing.Any = None
    def load(self):
        self.loaded = 1

class Slots:
    __slots__ = ("a",)

MODEL, SLOTS = Model(), Slots()
ROWS = (Row(1, MODEL), datetime.date(2024, 2, 29))

def cached(x, known={}):
    known[x] = 1

@functools.lru_cache
def remembered(x):
    return x

def counter():
    n = [0]
    def count():
        n[0] += 1
    return count

COUNTER = counter()
PARTIAL = functools.partial(cached, known={})
"""

SCRIPT = """
import builtins, os, signal, sys, threading, time, warnings, weakref
sys.path[:0] = [{kubelet!r}, {home!r}]
import mine, _traces
weakref.finalize(_traces.Traces, len, ()).detach()  # the first one registers an exit handler
traces = _traces.Traces(_traces.Objects("mine"))
def run():
    {body}
run()
print(traces.left() or "nothing", file=sys.__stdout__)
"""


def left(home: Path, body: str, module: str = MODULE) -> str:
    (home / "mine.py").write_text(module)
    (home / "other.py").touch()
    script = SCRIPT.format(kubelet=str(Path(_traces.__file__).parent), home=str(home), body=body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "body",
    [
        "mine.COUNT += 1",
        "mine.TEXT = 'b'",
        "mine.NOTHING = open",
        "mine.NEW = 1",
        "del mine.SEEN",
        "mine.SEEN.append(1)",
        "mine.STATE['n'] += 1",
        "mine.NESTED['a'][1]['b'] = 3",
        "mine.LAST.append(2)",
        "mine.MODEL.load()",
        "mine.MODEL.other = 1",
        "mine.Model.kinds.append(1)",
        "mine.Model.name = 1",
        "mine.Model.load = len",
        "mine.SLOTS.a = 1",
        "mine.cached(1)",
        "mine.cached.attribute = 1",
        "mine.remembered(1)",
        "mine.COUNTER()",
        "mine.PARTIAL(1)",
        "mine.SEEN.append(x for x in ())",
        "import other",
        "sys.modules['mine'] = sys",
    ],
)
def test_a_change_of_a_module_of_the_project_is_found(tmp_path: Path, body: str) -> None:
    assert left(tmp_path, body) != "nothing"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("threading.Thread(target=time.sleep, args=(1,), daemon=True).start()", "thread"),
        ("import subprocess; subprocess.Popen(['sleep', '1'])", "a child process"),
        ("if os.fork() == 0: time.sleep(1); os._exit(0)", "a child process"),
        ("sys.kept = open('/proc/self/stat')", "an open file"),
        ("sys.kept = [os.pipe() for _ in range(10)]", "an open file"),
        ("signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "signal handlers"),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])", "blocked signals"),
        ("signal.setitimer(signal.ITIMER_REAL, 100)", "a timer"),
        ("import atexit; atexit.register(len, ())", "an exit handler"),
        ("sys.settrace(lambda *_: None)", "hooks"),
        ("import io; sys.stdout = io.StringIO()", "streams"),
        ("sys.meta_path.append(object())", "importers"),
        ("builtins.zip = len", "names of builtins"),
        ("warnings.simplefilter('error')", "filters of warnings"),
        ("import logging; logging.getLogger().setLevel(10)", "logging"),
        ("sys.setrecursionlimit(2000)", "a setting"),
        ("os.umask(0o007)", "limits"),
        ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))", "limits"),
        ("sys.modules['torch'] = sys", "a library with a state of its own"),
    ],
)
def test_a_change_of_the_process_is_found(tmp_path: Path, body: str, says: str) -> None:
    assert left(tmp_path, body).startswith(says)


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "[mine.Row(1, 2), mine.Model().load(), mine.Colour.RED, mine.counter()()]",
        "import subprocess; subprocess.run(['true'])",
        "open(os.devnull).close()",
        "thread = threading.Thread(target=len, args=((),)); thread.start(); thread.join()",
        "import decimal, json, tempfile; tempfile.TemporaryDirectory().cleanup()",
        "mine.log.warning('said')",
        "os.environ['A'] = 'b'; os.chdir('/'); sys.argv.append('c'); sys.path.append('d')",
    ],
)
def test_changes_that_the_next_program_cannot_notice_do_not_count(tmp_path: Path, body: str) -> None:
    assert left(tmp_path, body) == "nothing"


@pytest.mark.parametrize("value", ["itertools.count()", "(n for n in ())", "threading.Lock()", "random.Random(1)"])
def test_a_module_with_opaque_objects_is_not_taken_for_clean(tmp_path: Path, value: str) -> None:
    module = f"import itertools, random, threading\nVALUE = {{'a': [{value}]}}\n"
    (tmp_path / "mine.py").write_text(module)
    script = SCRIPT.format(kubelet=str(Path(_traces.__file__).parent), home=str(tmp_path), body="pass")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "Opaque: an object of type" in done.stderr
