"""Log files under their cap."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.kubelet._logs import open_log, read_log, rotate, tail_bytes, tail_lines
from propeller.embedded.kubelet._volumes import PodDirectory


async def _read(path: Path, tail: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in read_log(path, tail=tail, follow=lambda: False)])


async def test_a_log_over_its_cap_keeps_its_end_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = open_log(path)
    os.write(log, b"a" * 10 + b"b" * 10)
    rotate(path, 10)
    os.write(log, b"c")
    os.close(log)
    assert path.read_bytes() == b"c"
    assert await _read(path) == b"b" * 10 + b"c"


async def test_a_log_under_its_cap_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10)
    rotate(path, 10)
    assert path.read_bytes() == b"x" * 10


async def test_a_follower_reads_on_after_the_log_was_started_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 20)
    steps = iter([True, False])

    def follow() -> bool:
        rotate(path, 10)
        with path.open("ab") as file:
            file.write(b"new")
        return next(steps)

    chunks = [chunk async for chunk in read_log(path, tail=0, follow=follow)]
    assert b"".join(chunks) == b"newnew"


@given(st.lists(st.text(alphabet="ab", max_size=5), max_size=20), st.integers(1, 10))
def test_the_tail_is_the_last_lines(lines: list[str], count: int) -> None:
    text = "".join(f"{line}\n" for line in lines)
    with tempfile.TemporaryDirectory() as directory:  # each example its own, which tmp_path is not
        path = Path(directory, "log")
        path.write_text(text)
        assert tail_lines(path, count, 10_000) == "".join(text.splitlines(keepends=True)[-count:])


def _put(kind: str, path: Path, target: Path = Path("/dev/null")) -> None:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(target)
        case "directory":
            path.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "link", "directory"])
async def test_what_a_task_puts_in_the_place_of_its_files_is_neither_followed_nor_waited_for(
    tmp_path: Path, kind: str
) -> None:
    secret, path = tmp_path / "secret", tmp_path / "log"
    secret.write_text("secret")
    _put(kind, path, secret)
    assert tail_bytes(path, 100) == b""
    assert [chunk async for chunk in read_log(path, tail=None, follow=lambda: False)] == []
    rotate(path, 1)
    assert secret.read_text() == "secret"
    with pytest.raises(OSError, match=r"No such device|Too many levels|Is a directory"):
        open_log(path)


def test_a_termination_message_begins_empty_whatever_was_there(tmp_path: Path) -> None:
    directory = PodDirectory(tmp_path)
    directory.create()
    path = directory.message("main")
    for kind in ("pipe", "directory", "link"):
        _put(kind, path)
        directory.clear_message("main")
        assert path.is_file()
        assert not path.is_symlink()
        assert path.read_bytes() == b""
        path.unlink()
