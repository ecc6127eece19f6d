"""Log files under their cap, and what is read of them: by lines, by time, by run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.kubelet._log_index import MAX_MARKS, LogIndex
from propeller.embedded.kubelet._log_reader import LogQuery, read_log
from propeller.embedded.kubelet._logs import note_growth, open_log, rotate, tail_bytes, tail_lines
from propeller.embedded.kubelet._volumes import PodDirectory

NOW = 2_000_000_000.0


class Log:
    """A log that a container writes, and the kubelet looks at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = LogIndex()
        self.index.begin_run()

    def write(self, text: bytes, at: float) -> None:
        """Written and looked at, at that time."""
        with self.path.open("ab") as file:
            file.write(text)
        os.utime(self.path, (at, at))
        note_growth(self.path, self.index, NOW)

    def rotate(self, cap: int) -> None:
        rotate(self.path, cap, self.index, NOW)

    async def read(self, follow: Callable[[], bool] = lambda: False, **query: Any) -> bytes:
        asked = LogQuery(**{"bounds": self.index.last_run(), **query})
        chunks = read_log(self.path, self.index, asked, follow=follow, now=lambda: NOW)
        return b"".join([chunk async for chunk in chunks])


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


async def test_a_log_over_its_cap_keeps_its_end_and_goes_on(log: Log) -> None:
    log.write(b"a" * 10 + b"b" * 10, 1.0)
    log.rotate(10)
    log.write(b"c", 2.0)
    assert log.path.read_bytes() == b"c"
    assert await log.read() == b"b" * 10 + b"c"


async def test_a_log_under_its_cap_is_left_alone(log: Log) -> None:
    log.write(b"x" * 10, 1.0)
    log.rotate(10)
    assert log.path.read_bytes() == b"x" * 10


async def test_a_follower_reads_on_after_the_log_was_begun_again(log: Log) -> None:
    log.write(b"x" * 20, 1.0)
    steps = iter([True, True, False])

    def follow() -> bool:
        log.write(b"new", 2.0)  # which the follower has not read when the log is begun again
        log.rotate(10)
        return next(steps)

    assert await log.read(follow, tail=0) == b"newnewnew"


async def test_lines_are_counted_from_the_end(log: Log) -> None:
    log.write(b"one\rstill one\ntwo\nthree", 1.0)
    assert await log.read(tail=1) == b"three"
    assert await log.read(tail=2) == b"two\nthree"
    assert await log.read(tail=3) == await log.read(tail=4) == await log.read() == b"one\rstill one\ntwo\nthree"
    assert await log.read(tail=0) == b""


async def test_each_line_has_the_time_at_which_it_was_written(log: Log) -> None:
    log.write(b"one\ntwo\nth", 1_000.25)
    log.write(b"ree\n", 1_001.0)
    assert await log.read(timestamps=True) == (
        b"1970-01-01T00:16:40.250000000Z one\n"
        b"1970-01-01T00:16:40.250000000Z two\n"
        b"1970-01-01T00:16:40.250000000Z three\n"
    )


async def test_lines_before_a_time_are_left_out(log: Log) -> None:
    log.write(b"one\n", 1.0)
    log.write(b"two\nthr", 2.0)
    log.write(b"ee\nfour\n", 3.0)
    assert await log.read(since=0.5) == b"one\ntwo\nthree\nfour\n"
    assert await log.read(since=2.0) == b"two\nthree\nfour\n"
    assert await log.read(since=2.5) == b"four\n"
    assert await log.read(since=2.0, tail=2) == b"three\nfour\n"
    assert await log.read(since=3.5) == b""


async def test_times_are_kept_when_the_log_is_begun_again(log: Log) -> None:
    log.write(b"aaaa\n", 1.0)
    log.write(b"bbbb\n", 2.0)
    log.rotate(5)
    log.write(b"cccc\n", 3.0)
    log.write(b"dddd\n", 4.0)
    log.rotate(9)
    log.write(b"eeee\n", 5.0)
    assert await log.read(since=4.0) == b"dddd\neeee\n"
    assert (await log.read(timestamps=True)).endswith(b"1970-01-01T00:00:05.000000000Z eeee\n")


async def test_followed_lines_have_timestamps_too(log: Log) -> None:
    log.write(b"one\ntw", 1.0)
    steps = iter([True, True, False])

    def follow() -> bool:
        log.write(b"o\n", 2.0)
        return next(steps)

    stamps = [line.partition(b" ")[::2] for line in (await log.read(follow, timestamps=True)).splitlines()]
    assert [text for _, text in stamps] == [b"one", b"two", b"o", b"o"]
    assert [time[17:21] for time, _ in stamps] == [b"01.0", b"01.0", b"02.0", b"02.0"]


async def test_each_run_has_its_own_part_of_the_log(log: Log) -> None:
    log.write(b"first\n", 1.0)
    log.index.begin_run()
    log.write(b"second\n", 2.0)
    log.index.begin_run()
    log.write(b"third\n", 3.0)
    assert await log.read() == b"third\n"
    assert await log.read(bounds=log.index.run_before()) == b"second\n"
    log.rotate(8)
    assert await log.read() == b"third\n"
    assert await log.read(bounds=log.index.run_before()) == b"d\n"


async def test_a_time_that_a_task_has_set_on_its_log_is_not_believed(log: Log) -> None:
    log.write(b"one\n", 100.0)
    log.write(b"two\n", 50.0)
    log.write(b"three\n", NOW + 1e9)
    stamps = [line.split()[0] for line in (await log.read(timestamps=True)).splitlines()]
    assert stamps == sorted(stamps)
    assert stamps[-1].startswith(b"2033-05-18")


async def test_a_log_that_a_task_has_emptied_is_read_on(log: Log) -> None:
    log.write(b"a long first line\n", 1.0)
    os.truncate(log.path, 0)
    log.write(b"new\n", 2.0)
    assert await log.read() == b"new\n"
    assert await log.read(since=2.0) == b"new\n"


async def test_the_times_of_a_long_log_are_bounded(log: Log) -> None:
    for second in range(3 * MAX_MARKS):
        log.index.note(second + 1, float(second), NOW)
    assert len(log.index._marks) <= MAX_MARKS
    assert log.index.first_since(3 * MAX_MARKS - 10.0) == 3 * MAX_MARKS - 10
    assert abs(log.index.first_since(100.0) - 100) <= 100


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
async def test_replacements_of_a_tasks_files_are_neither_followed_nor_block(tmp_path: Path, kind: str) -> None:
    secret, path = tmp_path / "secret", tmp_path / "log"
    secret.write_text("secret")
    _put(kind, path, secret)
    assert tail_bytes(path, 100) == b""
    log = Log(path)
    assert await log.read() == b""
    log.rotate(1)
    assert secret.read_text() == "secret"
    with pytest.raises(OSError, match=r"No such device|Too many levels|Is a directory"):
        open_log(path)


def test_a_termination_message_begins_empty_whatever_was_there(tmp_path: Path) -> None:
    directory = PodDirectory(tmp_path, tmp_path / "tmp")
    directory.create()
    path = directory.message("main")
    for kind in ("pipe", "directory", "link"):
        _put(kind, path)
        directory.clear_message("main")
        assert path.is_file()
        assert not path.is_symlink()
        assert path.read_bytes() == b""
        path.unlink()
