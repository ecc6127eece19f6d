"""Run the workflows of a directory of flytekit examples with flytekit alone and with `propeller run`, and compare.

    python tools/compare_examples.py DIR [--report FILE] [--only WORD] [--package DIR] [--seconds N]

What is run: every workflow, of every Python file below DIR that imports with the packages that are installed, whose
inputs have defaults or are numbers, texts or short lists, and which flytekit runs in `--seconds`. Fetch the examples
yourself, for instance `git clone https://github.com/flyteorg/flytesnacks`; nothing of them is kept here. They run as
your user.

Each is run in a new copy of its directory, so that what one leaves behind is no input of the next. Outputs are equal if
their JSON is; of files, directories and ids that flytekit makes up, only that there is one is compared. `--package`
names another checkout of propeller, to count what was before. Exit code 0 if nothing differs or fails, else 1.
"""

from __future__ import annotations

import argparse
import base64
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from flyteidl.core import literals_pb2

from propeller.cli._values import to_json
from propeller.text import one_line

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_PLACE = re.compile(r"(?:file://|/|s3://|memory://)\S+")
_MADE_UP = re.compile(r"[0-9a-f]{32}")

_LIST = """
import importlib, json, os, sys, typing
VALUES = {
    str(int): 3, str(float): 0.5, str(str): "flyte", str(bool): True,
    str(typing.List[int]): [3, 1, 2], str(list[int]): [3, 1, 2],
    str(typing.List[str]): ["b", "a"], str(list[str]): ["b", "a"],
}
file = sys.argv[1]
root, parts = os.path.dirname(file), [os.path.splitext(os.path.basename(file))[0]]
while os.path.exists(os.path.join(root, "__init__.py")):
    parts.insert(0, os.path.basename(root))
    root = os.path.dirname(root)
import flytekit
from flytekit.core.workflow import WorkflowBase
sys.path.insert(0, root)
module = importlib.import_module(".".join(parts))
found = {}
for name, value in vars(module).items():
    if isinstance(value, WorkflowBase) and value.name.startswith(module.__name__):
        plan = flytekit.LaunchPlan.get_or_create(value)
        needed = [n for n, p in plan.parameters.parameters.items() if p.required]
        values = {n: VALUES.get(str(value.python_interface.inputs[n])) for n in needed}
        found[name] = None if None in values.values() else values
"""
"""Import a file as `pyflyte run` does, and find its workflows with values for the inputs that they need; null if there
are none.
"""

_WORKFLOWS = _LIST + "open(sys.argv[2], 'w').write(json.dumps(found))\n"

_LOCALLY = (
    _LIST
    + """
import base64
from flytekit import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import LiteralMap
workflow = getattr(module, sys.argv[3])
result = workflow(**found[sys.argv[3]])
types = workflow.python_interface.outputs
values = () if not types else (result,) if len(types) == 1 else tuple(result)
if len(types) == 1 and isinstance(result, tuple) and hasattr(result, "_fields"):
    values = tuple(result)
context = FlyteContextManager.current_context()
literals = {
    name: TypeEngine.to_literal(context, value, types[name], workflow.interface.outputs[name].type)
    for name, value in zip(types, values)
}
data = LiteralMap(literals).to_flyte_idl().SerializeToString()
open(sys.argv[2], "w").write(json.dumps(base64.b64encode(data).decode()))
"""
)


class Outcome(msgspec.Struct, frozen=True):
    """What came of one workflow, or of a file that has no more than that to tell."""

    file: str
    workflow: str
    verdict: str
    detail: str = ""


class Examples:
    """Runs what is below `root`."""

    def __init__(self, root: Path, *, package: Path | None, seconds: float) -> None:
        self.root = root
        self._seconds = seconds
        self._env = os.environ | ({"PYTHONPATH": str(package)} if package else {})

    def outcomes(self, only: str) -> Iterator[Outcome]:
        for file in files_of(self.root):
            if only in str(file):
                yield from self._of_file(file)

    def _of_file(self, file: Path) -> Iterator[Outcome]:
        name = str(file.relative_to(self.root))
        found, error = self._ask(_WORKFLOWS, file)
        if found is None:
            yield Outcome(name, "", "not imported", error)
            return
        for workflow, inputs in found.items():
            if inputs is None:
                yield Outcome(name, workflow, "needs inputs")
                continue
            here, error = self._ask(_LOCALLY, file, workflow)
            if here is None:
                yield Outcome(name, workflow, "flytekit fails", error)
                continue
            expected = to_json(literals_pb2.LiteralMap.FromString(base64.b64decode(here)))
            given = [
                f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in inputs.items()
            ]
            yield self._compared(file, name, workflow, given, expected)

    def _compared(
        self, file: Path, name: str, workflow: str, given: Sequence[str], expected: dict[str, Any]
    ) -> Outcome:
        with self._copy(file) as own:
            words = [sys.executable, "-m", "propeller.cli", "run", str(own), workflow, *given, "--output", "json"]
            code, out, err = self._run([*words, "--python", sys.executable], own.parent)
        if code != 0:
            return Outcome(name, workflow, "propeller fails", _last_line(out if '"error"' in out else err))
        got = json.loads(out)
        if comparable(got) == comparable(expected):
            return Outcome(name, workflow, "equal")
        return Outcome(name, workflow, "differs", f"flytekit {expected}, propeller {got}")

    def _ask(self, script: str, file: Path, *words: str) -> tuple[Any, str]:
        """What a script writes about the file; None and why, if it fails."""
        with self._copy(file) as own:
            answer = own.parent / ".answer.json"
            command = [sys.executable, "-c", script, str(own), str(answer), *words]
            code, out, err = self._run(command, own.parent)
            if code != 0 or not answer.exists():
                return None, _last_line(err or out)
            return json.loads(answer.read_bytes()), ""

    def _run(self, command: Sequence[str], directory: Path) -> tuple[int, str, str]:
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                env=self._env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, "", f"took longer than {self._seconds:g} s"
        return done.returncode, done.stdout, done.stderr

    def _copy(self, file: Path) -> _Copy:
        return _Copy(self.root, file)


class _Copy:
    """The file in a copy of its project, for the block."""

    def __init__(self, root: Path, file: Path) -> None:
        top = file.parent
        while top != root and (top / "__init__.py").exists():
            top = top.parent
        self._top, self._file = top, file
        self._directory = tempfile.TemporaryDirectory(prefix="example-", ignore_cleanup_errors=True)

    def __enter__(self) -> Path:
        target = Path(self._directory.name, "project")
        shutil.copytree(self._top, target, symlinks=True, ignore=shutil.ignore_patterns(".git", *_SKIPPED))
        return target / self._file.relative_to(self._top)

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()


def files_of(root: Path) -> list[Path]:
    """Python files below the directory that speak of workflows."""
    return [
        file
        for file in sorted(root.rglob("*.py"))
        if not any(part in _SKIPPED or part.startswith(".") for part in file.relative_to(root).parts)
        and b"workflow" in file.read_bytes()
    ]


def comparable(value: Any) -> Any:
    """The value with places of files, and ids that flytekit makes up, which no two runs share, as one word each."""
    if isinstance(value, dict):
        return {comparable(key): comparable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, str):
        return "PLACE" if _PLACE.fullmatch(value) else _MADE_UP.sub("ID", value)
    return value


def _last_line(text: str) -> str:
    return one_line((text.strip().splitlines() or ["no output"])[-1])[:300]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--report", type=Path, help="write each outcome there, a line of JSON each")
    parser.add_argument("--only", default="", help="run files whose path has this word")
    parser.add_argument("--package", type=Path, help="another checkout of propeller")
    parser.add_argument("--seconds", type=float, default=60.0, help="that one run may take")
    options = parser.parse_args()
    examples = Examples(options.directory.resolve(), package=options.package, seconds=options.seconds)
    counts: collections.Counter[str] = collections.Counter()
    with (options.report or Path(os.devnull)).open("w") as report:
        for outcome in examples.outcomes(options.only):
            counts[outcome.verdict] += 1
            report.write(msgspec.json.encode(outcome).decode() + "\n")
            report.flush()
            print(f"{outcome.verdict:<16} {outcome.file} {outcome.workflow} {outcome.detail}".rstrip(), flush=True)
    print("\n".join(f"{count:5}  {verdict}" for verdict, count in counts.most_common()))
    return int(bool(counts["differs"] or counts["propeller fails"]))


if __name__ == "__main__":
    sys.exit(main())
