"""What is read from the notes of processes that were killed while they held tokens."""

from __future__ import annotations

from pathlib import Path

from loadtest._killed_tokens import _read

SECOND = 10**9


def read(path: Path, *steps: tuple[float, str, str, str], killed: dict[str, float]) -> tuple[int, int, float]:
    notes = path / "notes"
    notes.write_text("".join(f"{round(at * SECOND)} {what} {name} {token}\n" for at, what, name, token in steps))
    return _read(notes, {name: round(at * SECOND) for name, at in killed.items()})


def test_what_a_killed_process_held_is_held_until_it_died(tmp_path: Path) -> None:
    steps = (1, "begins", "p0", "a"), (2, "begins", "p0", "b"), (4, "begins", "p1", "c"), (5, "ends", "p1", "c")
    assert read(tmp_path, *steps, killed={"p0": 3, "p1": 9}) == (2, 3, 2.0)
    assert read(tmp_path, *steps, killed={"p0": 4.5, "p1": 9}) == (3, 3, 2.0)


def test_a_token_that_is_given_back_and_taken_at_one_instant_is_held_once(tmp_path: Path) -> None:
    steps = (1, "begins", "p0", "a"), (2, "begins", "p1", "b"), (2, "ends", "p0", "a"), (3, "ends", "p1", "b")
    assert read(tmp_path, *steps, killed={}) == (1, 2, 1.0)
