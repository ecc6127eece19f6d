"""Run a command that prints credentials.

Guarantees
    A command that is given up is ended with all its children, also while it is being started. Its output is read up to
    OUTPUT_BYTES, and of its messages the last OVERLAP bytes are kept.
Caveats
    An interactive command shares our terminal, so it stays in our session: given up, it is killed, its children are
    not.
Errors
    CommandError. OSError if the command cannot be started.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import IO

from propeller.redaction import redact
from propeller.text import OVERLAP, bounded, one_line

OUTPUT_BYTES = 1024 * 1024
"""Of standard output: a token and a chain of certificates take kilobytes."""

REASON_CHARACTERS = 1024
"""Characters of a command's last line in messages."""


class CommandError(Exception):
    """The command failed; the text says how."""


class Transcript:
    """The standard error of a command, while it runs and afterwards."""

    def __init__(self) -> None:
        self._tail = b""

    def add(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-OVERLAP:]

    @property
    def last_line(self) -> str:
        """For people, "" if nothing was said. Redacted as a whole: the last line of a key has no known form."""
        said = redact(self._tail.decode(errors="replace")).strip()
        return bounded(one_line(said.splitlines()[-1]), REASON_CHARACTERS) if said else ""


async def output_of(
    command: Sequence[str], environment: Mapping[str, str], transcript: Transcript, *, interactive: bool = False
) -> bytes:
    """The standard output of a command. An interactive one has our standard input and error."""
    async with _pipe() as (printed, to_output), _pipe() as (said, to_errors):
        starting = asyncio.create_task(
            asyncio.create_subprocess_exec(
                *command,
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=to_output,
                stderr=None if interactive else to_errors,
                env=environment,
                start_new_session=not interactive,  # so that its children can be ended with it
            )
        )
        try:
            # asyncio, cancelled while it starts a process, kills that process only and then waits for its children
            process = await asyncio.shield(starting)
            to_output.close()
            to_errors.close()
            async with asyncio.TaskGroup() as group:
                output = group.create_task(_all_of(printed))
                group.create_task(_follow(said, transcript))
                code = await process.wait()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            with contextlib.suppress(OSError):  # it never started
                await _end(await starting, whole_session=not interactive)
    if code:
        last = transcript.last_line
        raise CommandError(f"{_ending(code)}: {last}" if last else _ending(code))
    return output.result()


@contextlib.asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, IO[bytes]]]:
    """Our end of a pipe, and the other, which is to be closed once the command has it. With a pipe of asyncio's own a
    process cannot be waited for while a child holds the pipe, or its output is not read.
    """
    ours, theirs = (os.fdopen(end, mode, buffering=0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), ours
    )
    try:
        yield stream, theirs
    finally:
        transport.close()
        theirs.close()


async def _all_of(stream: asyncio.StreamReader) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await stream.read(64 * 1024):
        pieces.append(piece)
        size += len(piece)
        if size > OUTPUT_BYTES:
            raise CommandError(f"it prints more than {OUTPUT_BYTES} bytes")
    return b"".join(pieces)


async def _follow(stream: asyncio.StreamReader, transcript: Transcript) -> None:
    while piece := await stream.read(64 * 1024):
        transcript.add(piece)


async def _end(process: asyncio.subprocess.Process, *, whole_session: bool) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        if whole_session:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await process.wait()


def _ending(code: int) -> str:
    return f"it ended with exit code {code}" if code > 0 else f"it was ended by {signal.Signals(-code).name}"
