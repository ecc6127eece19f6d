"""`propeller dataloader` as the kubelet runs it: by signals, files, exit codes and the last line of its log."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from flyteidl.core import errors_pb2, execution_pb2, interface_pb2, literals_pb2, types_pb2

from tests.unit.storage.values import literal

PATIENCE = 30.0
"""Seconds until something that happens within one has not happened."""


def interface(**kinds: int) -> str:
    variables = {name: interface_pb2.Variable(type=types_pb2.LiteralType(simple=kind)) for name, kind in kinds.items()}  # type: ignore[arg-type]
    return base64.b64encode(interface_pb2.VariableMap(variables=variables).SerializeToString()).decode()


class Pod:
    """What the containers of a pod share, in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("outputs", "marks", "podinfo"):
            (path / name).mkdir()

    def upload(self, **kinds: int) -> list[str]:
        return [
            *("upload", "--from-local-dir", f"{self.path}/outputs", "--interface", interface(**kinds)),
            *("--to-output-prefix", f"file://{self.path}/metadata", "--to-raw-output", f"{self.path}/raw"),
            *("--marks", f"{self.path}/marks", "--ended-file", f"{self.path}/podinfo/ended"),
        ]

    def download(self, *more: str) -> list[str]:
        inputs = f"file://{self.path}/inputs.pb"
        return ["download", "--from-remote", inputs, "--to-local-dir", f"{self.path}/inputs", *more]

    async def appears(self, path: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not (self.path / path).exists():
                await asyncio.sleep(0.02)

    def outputs(self) -> dict[str, literals_pb2.Literal]:
        return dict(literals_pb2.LiteralMap.FromString((self.path / "metadata/outputs.pb").read_bytes()).literals)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@asynccontextmanager
async def container(*words: str, env: Mapping[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "propeller.cli", "dataloader", *words, stderr=asyncio.subprocess.PIPE, env=env
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def end(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(PATIENCE):
        _, log = await process.communicate()
    assert process.returncode is not None
    return process.returncode, log.decode()


async def test_the_uploader_waits_for_sigterm_and_uploads(pod: Pod) -> None:
    async with container(*pod.upload(x=types_pb2.INTEGER)) as process:
        await pod.appears("marks/ready")
        (pod.path / "outputs/x").write_text("5")
        assert not (pod.path / "metadata").exists()
        process.send_signal(signal.SIGTERM)
        assert (await end(process))[0] == 0
    assert pod.outputs() == {"x": literal(5)}
    assert (pod.path / "marks/uploaded").exists()


async def test_the_uploader_is_told_by_the_file_if_no_signal_comes_and_uploads_once(pod: Pod) -> None:
    (pod.path / "outputs/x").write_text("5")
    async with container(*pod.upload(x=types_pb2.INTEGER)) as process:
        await pod.appears("marks/ready")
        (pod.path / "podinfo/ended").write_text("")  # the annotation is not set
        (pod.path / "podinfo/ended").write_text("0")
        assert (await end(process))[0] == 0
    (pod.path / "metadata/outputs.pb").unlink()
    (pod.path / "marks/ready").unlink()
    async with container(*pod.upload(x=types_pb2.INTEGER)) as again:  # by the kubelet, as the pod goes on
        await pod.appears("marks/ready")  # it heeds signals from now on
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await again.wait()
        again.send_signal(signal.SIGTERM)
        assert (await end(again))[0] == 0
    assert not (pod.path / "metadata/outputs.pb").exists()


async def test_what_is_wrong_with_outputs_is_the_users_error(pod: Pod) -> None:
    (pod.path / "outputs/x").write_text("five")
    async with container(*pod.upload(x=types_pb2.INTEGER)) as process:
        await pod.appears("marks/ready")
        process.send_signal(signal.SIGTERM)
        assert (await end(process))[0] == 0
    error = errors_pb2.ErrorDocument.FromString((pod.path / "metadata/error.pb").read_bytes()).error
    assert (error.code, error.origin) == ("OutputUploadFailed", execution_pb2.ExecutionError.USER)
    assert error.kind == errors_pb2.ContainerError.RECOVERABLE
    assert error.message == "output 'x': 'five' is no integer of 64 bits"


async def test_a_store_that_does_not_answer_within_the_time_is_the_platforms_failure(pod: Pod) -> None:
    (pod.path / "outputs/x").write_text("5")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = ("--s3-endpoint", f"http://127.0.0.1:{silent.getsockname()[1]}", "--to-output-prefix", "s3://bucket/0")
        credentials = {"FLYTE_AWS_ACCESS_KEY_ID": "key", "FLYTE_AWS_SECRET_ACCESS_KEY": "secret"}
        words = (*pod.upload(x=types_pb2.INTEGER), *store, "--timeout", "0.5")
        async with container(*words, env={**os.environ, **credentials}) as process:
            await pod.appears("marks/ready")
            process.send_signal(signal.SIGTERM)
            code, log = await end(process)
    assert code == 3
    assert log.splitlines()[-1].startswith("error: outputs were not uploaded within 0.5 s of the program's end")
    assert not (pod.path / "marks/uploaded").exists()


async def test_the_downloader_waits_for_the_uploader(pod: Pod) -> None:
    (pod.path / "inputs.pb").write_bytes(literals_pb2.LiteralMap(literals={"x": literal(1)}).SerializeToString())
    async with container(*pod.download("--marks", f"{pod.path}/marks")) as process:
        await pod.appears("inputs/inputs.json")
        assert process.returncode is None
        (pod.path / "marks/ready").touch()
        assert (await end(process))[0] == 0
    assert (pod.path / "inputs/x").read_text() == "1"


async def test_inputs_that_cannot_be_files_end_the_downloader_with_the_users_code(pod: Pod) -> None:
    (pod.path / "inputs.pb").write_bytes(literals_pb2.LiteralMap(literals={"../x": literal(1)}).SerializeToString())
    async with container(*pod.download()) as process:
        code, log = await end(process)
    assert code == 2
    assert log.splitlines()[-1].startswith("error: an input is named '../x'")
    assert not (pod.path / "x").exists()


async def test_inputs_that_are_gone_end_the_downloader_with_the_platforms_code(pod: Pod) -> None:
    async with container(*pod.download()) as process:
        code, log = await end(process)
    assert code == 3
    assert log.splitlines()[-1].startswith("error: nothing is stored at file://")


async def test_an_interface_that_is_none_is_a_bad_call(pod: Pod) -> None:
    async with container("upload", "--interface", "?", "--to-output-prefix", "x", "--to-raw-output", "y") as process:
        code, log = await end(process)
    assert code == 2
    assert "--interface" in log
