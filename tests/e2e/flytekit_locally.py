"""Run a workflow by flytekit alone, in this process, and print its outputs as JSON: what every other way must equal.

python flytekit_locally.py FILE WORKFLOW INPUTS_AS_JSON. flytekit runs container tasks in Docker; here their command
runs as a process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import flytekit


def run_command(self: flytekit.ContainerTask, **inputs: Any) -> None:
    words = [word.replace("{{.inputs.", "{").replace("}}", "}") if "{{" in word else word for word in self._cmd]
    subprocess.run([word.format(**inputs) if "{" in word else word for word in words], check=True, stdout=sys.stderr)


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def main() -> None:
    file, name, inputs = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    sys.path.insert(0, str(file.parent))
    flytekit.ContainerTask.execute = run_command
    with contextlib.redirect_stdout(sys.stderr):
        workflow = getattr(importlib.import_module(file.stem), name)
        result = workflow(**inputs)
    names = list(workflow.python_interface.outputs)
    values = result if len(names) > 1 else (result,)
    print(json.dumps({name: plain(value) for name, value in zip(names, values, strict=True)} if names else {}))


if __name__ == "__main__":
    main()
