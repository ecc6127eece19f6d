"""Show the output of a run's tasks while they run, marked by task, and keep it in files.

Guarantees
    Each line that a task has printed is shown once, in order, marked with its task; lines of concurrent tasks alternate
    as whole lines. The files stay after the pods are gone; empty ones are removed.
Caveats
    If a file grows by more than `MAX_POLL_BYTES` between two polls, only the beginning is shown, and a line says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from propeller.beside import beside
from propeller.cli._progress import Progress
from propeller.cli._tree import short_name
from propeller.workflow import Execution

POLL_SECONDS = 0.15
"""Seconds between two polls of the files: people read no faster."""

MAX_POLL_BYTES = 256 * 1024
"""Bytes shown of one task per poll: some thousand lines."""

GREETING = b"\n"
"""Output of flytekit's entry point before a task begins."""


class TaskOutput:
    """Shows new content of the files in `directory`; use `show_output`."""

    def __init__(self, directory: Path, progress: Progress) -> None:
        self._directory = directory
        self._progress = progress
        self._shown: dict[Path, int] = {}
        self._executions: dict[str, Execution] = {}
        """By key: the one that is run, and those that it starts by launch plans."""
        self._labels: dict[str, str] = {}

    def changed(self, execution: Execution) -> None:
        self._executions[execution.key] = execution

    def poll(self, *, last: bool = False) -> None:
        """Show new complete lines; the last poll also shows an incomplete one."""
        for path in sorted(self._directory.glob("*.log"), key=lambda path: path.stat().st_mtime_ns):
            size, shown = path.stat().st_size, self._shown.get(path, 0)
            if size < shown:
                shown = 0  # the kubelet has started the file again
            if size > shown:
                self._shown[path] = self._show(path, shown, size, last=last)
            if last and _is_empty(path):
                path.unlink()

    def _show(self, path: Path, begin: int, size: int, *, last: bool) -> int:
        """Show the bytes between two positions; return the position up to which everything is shown."""
        with path.open("rb") as file:
            file.seek(begin)
            text = file.read(min(size - begin, MAX_POLL_BYTES))
        if begin == 0 and text.startswith(GREETING):
            begin, text = len(GREETING), text.removeprefix(GREETING)
        label = self._label(path.stem)
        if len(text) == MAX_POLL_BYTES:
            self._progress.printed(label, _lines(text))
            self._progress.printed(label, [f"... {size - begin - len(text)} bytes more in {path}"])
            return size
        if not last:
            text = text[: text.rfind(b"\n") + 1]
        if text:
            self._progress.printed(label, _lines(text))
        return begin + len(text)

    def _label(self, pod: str) -> str:
        pod = pod.partition(".")[0]
        if pod not in self._labels:
            for execution in self._executions.values():
                self._labels.update(labels_of(execution))
        return self._labels.get(pod, pod)


def _is_empty(path: Path) -> bool:
    return path.stat().st_size <= len(GREETING) and path.read_bytes() in {b"", GREETING}


def _lines(text: bytes) -> list[str]:
    """Split into lines. A line that a progress bar rewrites is shown in its final state."""
    return [line.rstrip("\r").rpartition("\r")[2] for line in text.decode(errors="replace").rstrip("\n").split("\n")]


def labels_of(execution: Execution) -> dict[str, str]:
    """Return labels for an execution's pods by pod name: the task's name, and the item of a map task."""
    labels = {}
    for node in execution.user_nodes():
        view = execution.view(node)
        is_item = bool(view.frame.items)
        spec = execution.view(view.frame.parent).spec if is_item else view.spec
        name = short_name(spec.name or spec.id)
        item = f"[{view.item}]" if view.item is not None else ""
        for attempt in range(execution.attempts[node] + 1):
            again = f" (attempt {attempt + 1})" if attempt else ""
            labels[execution.pod_name(node, attempt)] = f"{name.removeprefix('map ') if is_item else name}{item}{again}"
    return labels


@asynccontextmanager
async def show_output(directory: Path, progress: Progress) -> AsyncIterator[TaskOutput]:
    """Poll the directory until the block is left, and once more then."""
    printed = TaskOutput(directory, progress)

    async def poll_repeatedly() -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            printed.poll()

    try:
        async with beside(poll_repeatedly(), "printed"):
            yield printed
    finally:
        printed.poll(last=True)
