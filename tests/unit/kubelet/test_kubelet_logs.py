"""Log files under their cap."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from propeller.embedded.kubelet._logs import open_log, read_log, rotate, tail_lines


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
