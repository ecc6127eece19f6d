"""Compile everything in some files, and say of each workflow how it went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import orjson

from propeller.cli._exit_codes import BAD_CALL, SUCCEEDED
from propeller.cli._files import write_resource
from propeller.cli._output import say
from propeller.cli._registered import linked_with
from propeller.cli._workflow import closure_of, new_execution_name, refuse_eager, resource_of
from propeller.cli.flytekit_bridge import Versioned, list_entities, serialize
from propeller.compiler import CompileErrors, find_warnings
from propeller.errors import Invalid
from propeller.storage import StorageOptions
from propeller.text import one_line

_SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv"}


def files_of(path: Path) -> list[Path]:
    """The file, or every Python file below the directory that speaks of flytekit. Raises Invalid if there is none."""
    if not path.is_dir():
        return [path]
    found = [
        file
        for file in sorted(path.rglob("*.py"))
        if not any(part in _SKIPPED or part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
        and _speaks_of_flytekit(file)
    ]
    if not found:
        raise Invalid(f"{path} has no Python file that speaks of flytekit")
    return found


def _speaks_of_flytekit(file: Path) -> bool:
    try:
        return b"flytekit" in file.read_bytes()
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """How files are checked: resources are written to `out`, unless it is empty; what files refer to is looked up at
    the URI `registry`, whose object store is reached as `storage` says; a file is read in `limit` seconds, 0 for any
    time.
    """

    python: str
    versioned: Versioned
    out: str
    registry: str
    storage: StorageOptions
    limit: int


async def check_files(files: Sequence[Path], by: Check) -> int:
    """Report on standard output. Returns the exit code."""
    compiled, refused = 0, 0
    for file in files:
        try:
            found = await list_entities(by.python, file, limit=by.limit)
            entities = [entity for entity in found if entity.kind == "workflow"]
        except Invalid as error:
            say(f"✘ {error}")
            refused += 1
            continue
        for entity in entities:
            if await _check(file, entity.name, by):
                compiled += 1
            else:
                refused += 1
    say(f"{compiled} workflows compile, {refused} do not")
    return BAD_CALL if refused else SUCCEEDED


async def _check(file: Path, name: str, by: Check) -> bool:
    """One workflow: whether it compiles."""
    versioned, out = by.versioned, by.out
    try:
        serialized = await serialize(by.python, file, name, (), versioned, "/dev/null", limit=by.limit)
        linked = await linked_with(serialized, by.registry, by.storage)
        found, plans = linked.serialized, linked.plans
        refuse_eager(found)
        warnings = find_warnings(found.workflow.template, found.workflow.sub_workflows)
        if out and not found.missing:
            namespace = f"{versioned.project}-{versioned.domain}"
            resource = resource_of(found, versioned, name=new_execution_name(), namespace=namespace, registered=plans)
            write_resource(Path(out), f"{file.stem}.{name}.json", orjson.dumps(resource), "--out")
        else:
            closure_of(found, plans)
    except CompileErrors as error:
        say(f"✘ {file} {name}: {error.report()}")
        return False
    except Invalid as error:
        say(one_line(f"✘ {file} {name}: {error}"))
        return False
    needs = ", ".join(parameter.name for parameter in found.missing)
    say(one_line(f"✔ {file} {name}" + (f"  (not written: needs {needs})" if out and needs else "")))
    for warning in warnings:
        say(f"  warning: {one_line(warning)}")
    return True
