"""One container's work: download and end; or wait for the end of the program, upload, and end.

How the uploader knows that the program has ended (docs/raw-containers.md says why so)
    1. SIGTERM. The kubelet sends it to a native sidecar once all other containers have ended, and waits for the pod's
       grace period.
    2. If a container that a webhook added never ends, 1 does not happen. Then the controller, which watches the pod,
       writes an annotation, and the kubelet shows it in a file (a downwardAPI volume).
    A mark in a directory that both containers share lets the program begin only when the uploader hears SIGTERM: a
    signal that the first process of a container has no handler for is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

import msgspec
from flyteidl.core import interface_pb2, tasks_pb2

from propeller.dataloader._download import download
from propeller.dataloader._limits import Limits
from propeller.dataloader._patience import UPLOAD_PATIENCE, insist
from propeller.dataloader._texts import error_document
from propeller.dataloader._upload import ProgramFailed, upload
from propeller.errors import CorruptBlob, Invalid, StorageError, TooLarge
from propeller.storage import Storage
from propeller.text import bounded

_log = logging.getLogger(__name__)

READY, DONE = "ready", "uploaded"
"""Marks in the directory of marks: the uploader hears SIGTERM; it has uploaded."""

_POLL = 0.25
"""Seconds between two looks at a file: the kubelet writes it seconds after the controller's request."""

_READY_SECONDS = 300.0
"""Seconds that the uploader may take to start: its image is the downloader's, so it is there."""

PROGRAM_FAILED = 4
"""Exit code of the uploader of a program that has written `_ERROR`, whose text it prints, and puts into error.pb."""

UPLOAD_FAILED = "OutputUploadFailed"
"""FlyteCopilot's code of a failed upload."""


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """What the init container does. `marks` is empty if no uploader is to be waited for, `inputs` if there are none."""

    inputs: str
    directory: Path
    form: tasks_pb2.DataLoadingConfig.LiteralMapFormat
    limits: Limits
    timeout: float
    marks: Path | None


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """What the native sidecar does. `ended` is a file that has content once the program is known to have ended."""

    outputs: interface_pb2.VariableMap
    directory: Path
    prefix: str
    raw: str
    limits: Limits
    timeout: float
    marks: Path | None
    ended: Path | None


async def run_download(work: Download, storage: Storage) -> None:
    """Raises Invalid for what the task's author has to mend, StorageError for the rest."""
    try:
        async with asyncio.timeout(work.timeout):
            if work.inputs:
                size = await download(storage, work.inputs, work.directory, work.form, work.limits)
                _log.info("inputs are in %s: %d bytes of files", work.directory, size)
    except TimeoutError as error:
        raise StorageError(
            f"inputs were not downloaded within {work.timeout:g} s (raw_containers.download_timeout)"
        ) from error
    except CorruptBlob as error:
        raise Invalid(str(error)) from error
    if work.marks is not None:
        await _until(work.marks / READY)


async def run_upload(work: Upload, storage: Storage) -> None:
    """Upload what the program wrote, once it has ended; what is wrong with it goes into error.pb. Raises StorageError
    if nothing could be uploaded; ProgramFailed, after all is done, if the program says by `_ERROR` that it failed.
    """
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    if work.marks is not None:
        (work.marks / READY).touch()
        if (work.marks / DONE).exists():  # it was started again, as its pod goes on
            await told.wait()
            return
    await _program_ended(told, work.ended)
    try:
        async with asyncio.timeout(work.timeout):
            failed = await _upload(work, storage)
    except TimeoutError as error:
        raise StorageError(
            f"outputs were not uploaded within {work.timeout:g} s of the program's end (raw_containers.upload_timeout)"
        ) from error
    if work.marks is not None:
        (work.marks / DONE).touch()
    if failed is not None:
        raise failed


async def _upload(work: Upload, storage: Storage) -> ProgramFailed | None:
    """Return what the program says by `_ERROR`, None if it has written none."""
    try:
        size = await upload(storage, work.outputs.variables, work.directory, work.prefix, work.raw, work.limits)
        _log.info("outputs are uploaded: %d bytes of files", size)
    except (Invalid, CorruptBlob, TooLarge) as error:
        document = error_document(bounded(str(error)), UPLOAD_FAILED, system=False, recoverable=True)
        data = document.SerializeToString()
        await insist(lambda: storage.write(f"{work.prefix}/error.pb", data), UPLOAD_PATIENCE)
        if isinstance(error, ProgramFailed):
            return error
        _log.warning("%s", error)
    return None


async def _program_ended(told: asyncio.Event, shown: Path | None) -> None:
    """Wait for SIGTERM, or for content in the file `shown`."""
    while not told.is_set():
        if shown is not None and await asyncio.to_thread(_has_content, shown):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL if shown is not None else None):
                await told.wait()


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


async def _until(mark: Path) -> None:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not await asyncio.to_thread(mark.exists):  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(_POLL / 5)
    except TimeoutError as error:
        raise StorageError(f"the uploader has not begun within {_READY_SECONDS:g} s") from error
