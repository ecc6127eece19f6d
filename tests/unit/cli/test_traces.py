"""A failure's message as its author reads it."""

from __future__ import annotations

from propeller.cli._traces import is_folded, readable, summary

OWN = '  File "/home/me/flow.py", line 3, in t\n    return inner()\n           ^^^^^^^\n'
OF_FLYTEKIT = '  File "/x/site-packages/flytekit/core/base_task.py", line 7, in execute\n    return self.run()\n'


def reported(frames: str, message: str = "ValueError: first\nsecond") -> str:
    """As flytekit writes an exception."""
    trace = f"Traceback (most recent call last):\n{frames}{message}\n"
    indented = ["".join(f"    {line}" for line in text.splitlines(keepends=True)) for text in (trace, message)]
    return "Trace:\n\n{}\nMessage:\n\n{}".format(*indented)


def test_flytekits_frames_are_counted_and_the_message_is_there_once() -> None:
    assert readable(reported(OF_FLYTEKIT * 2 + OWN)) == (
        f"Traceback (most recent call last):\n  ... 2 frames of flytekit\n{OWN}ValueError: first\nsecond"
    )


def test_frames_behind_the_last_own_one_are_counted_too() -> None:
    assert readable(reported(OWN + OF_FLYTEKIT)).endswith(
        "^^^^^^^\n  ... 1 frame of flytekit\nValueError: first\nsecond"
    )


def test_the_error_of_a_launch_plans_execution_is_read_as_any_other_below_the_names_of_the_executions() -> None:
    message = f"execution e-n0-0 failed: execution e-n0-0-n1-0 failed: {reported(OF_FLYTEKIT + OWN)}"
    assert is_folded(message)
    assert readable(message) == (
        "execution e-n0-0 failed:\nexecution e-n0-0-n1-0 failed:\n"
        f"Traceback (most recent call last):\n  ... 1 frame of flytekit\n{OWN}ValueError: first\nsecond"
    )
    assert summary(message) == "ValueError: first"


def test_the_error_of_a_map_task_is_read_below_the_numbers_of_its_items() -> None:
    message = f"item 3 of 5 failed: 2 of 4 items failed (0-1), and 3 have to succeed; item 0: {reported(OF_FLYTEKIT)}"
    assert is_folded(message)
    assert readable(message).startswith(
        "item 3 of 5 failed:\n2 of 4 items failed (0-1), and 3 have to succeed; item 0:\nTraceback (most recent call"
    )
    assert summary(message) == "ValueError: first"


def test_frames_of_exception_groups_are_counted_too() -> None:
    within = "".join(f"  | {line}" for line in (OF_FLYTEKIT + OWN).splitlines(keepends=True))
    message = f"  + Exception Group Traceback (most recent call last):\n{within}  | ExceptionGroup: both (2)\n"
    assert is_folded(message)
    own = "".join(f"  | {line}" for line in OWN.splitlines(keepends=True))
    assert f"(most recent call last):\n  |   ... 1 frame of flytekit\n{own}  | ExceptionGroup" in readable(message)


def test_the_whole_trace_is_there_if_it_is_asked_for() -> None:
    message = reported(OF_FLYTEKIT + OWN)
    assert is_folded(message)
    assert readable(message, whole=True) == (
        f"Traceback (most recent call last):\n{OF_FLYTEKIT}{OWN}ValueError: first\nsecond"
    )


def test_a_trace_of_own_frames_and_any_other_message_stay_as_they_are() -> None:
    assert not is_folded(reported(OWN))
    assert readable("\nexit code (143)\n") == "exit code (143)"


def test_truncated_reports_and_tracebacks_in_logs_are_folded_too() -> None:
    cut = reported(OF_FLYTEKIT + OWN).partition("\nMessage:")[0] + "\n... 900 characters left out ..."
    for message in (cut, f"exit code (1)\nTraceback (most recent call last):\n{OF_FLYTEKIT}{OWN}ValueError: no"):
        assert is_folded(message)
        assert f"  ... 1 frame of flytekit\n{OWN}" in readable(message)
        assert "base_task.py" in readable(message, whole=True)


def test_the_summary_is_the_exceptions_first_line_or_the_last_one_of_another_message() -> None:
    assert summary(reported(OWN)) == "ValueError: first"
    assert summary("a\nb\n") == "b"
