"""Tasks of flytekit read what we write, and we read what they write: same places, same bytes, same literals."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from flyteidl.core import literals_pb2

from propeller.storage import (
    Storage,
    StorageOptions,
    promised_nodes,
    read_literals,
    read_offloaded,
    resolve,
    write_literals,
)
from propeller.testing import S3Server
from tests.unit.storage.values import literal, parsed, promise, python, wired

TASKS = """
from dataclasses import dataclass
from typing import Dict, List, Optional
from flytekit import task

@dataclass
class Model:
    name: str
    weights: List[float]
    layers: Dict[str, int]

@task
def train(n: int, tags: List[str], extra: Optional[int]) -> Model:
    return Model(name=tags[0], weights=[n / 2, float(extra)], layers={"a": n})
"""

pytestmark = [pytest.mark.needs("flytekit"), pytest.mark.timeout(180)]


async def train(storage: Storage, prefix: str, directory: Path, **environment: str) -> literals_pb2.LiteralMap:
    """Run the task as its pod would, with inputs and outputs below `prefix`; returns its outputs."""
    (directory / "tasks.py").write_text(TASKS)
    inputs = literals_pb2.LiteralMap()
    for name, value in {"n": 3, "tags": ["x", "y"], "extra": 4}.items():
        inputs.literals[name].CopyFrom(literal(value))
    await write_literals(storage, f"{prefix}/inputs.pb", inputs)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "pyflyte-execute"),
        *("--inputs", f"{prefix}/inputs.pb", "--output-prefix", f"{prefix}/0"),
        *("--raw-output-data-prefix", f"{prefix}/raw"),
        *("--resolver", "flytekit.core.python_auto_container.default_task_resolver"),
        *("--", "task-module", "tasks", "task-name", "train"),
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(directory)} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return await read_literals(storage, f"{prefix}/0/outputs.pb")


async def attribute(storage: Storage, outputs: literals_pb2.LiteralMap, *path: str | int) -> Any:
    """What a promise of the model's attribute resolves to."""
    binding = promise("n0", "o0", *path)
    assert list(promised_nodes(binding)) == ["n0"]
    return python(await resolve(binding, lambda node, variable: wired(outputs.literals[variable]), storage))


async def check(storage: Storage, outputs: literals_pb2.LiteralMap) -> None:
    assert await attribute(storage, outputs, "name") == "x"
    assert await attribute(storage, outputs, "weights", 0) == 1.5
    assert await attribute(storage, outputs, "weights") == [1.5, 4.0]
    assert await attribute(storage, outputs, "layers") == {"a": 3}


async def test_over_files_even_with_an_odd_prefix(tmp_path: Path) -> None:
    prefix = f"file://{tmp_path}/a b%20c+ü"
    async with Storage() as storage:
        outputs = await train(storage, prefix, tmp_path)
        await check(storage, outputs)
    assert (tmp_path / "a b%20c+ü" / "0" / "outputs.pb").exists()


async def test_over_s3(s3: S3Server, tmp_path: Path) -> None:
    async with Storage(s3.settings) as storage:
        await check(storage, await train(storage, f"s3://{s3.bucket()}/e/n0/data", tmp_path))


async def test_literals_that_a_task_offloads_for_their_size(tmp_path: Path) -> None:
    async with Storage(StorageOptions(metadata_prefix=f"file://{tmp_path}")) as storage:
        outputs = await train(storage, f"file://{tmp_path}/e", tmp_path, _F_L_MIN_SIZE_MB="0", _F_L_MAX_SIZE_MB="1000")
        away = outputs.literals["o0"]
        assert away.WhichOneof("value") == "offloaded_metadata"
        whole = await read_offloaded(storage, wired(away))
        assert parsed(whole).hash == away.hash
        await check(storage, outputs)
