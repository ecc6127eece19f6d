"""The readable part of a status."""

from __future__ import annotations

from typing import Any

import msgspec

from propeller.handlers import TRANSITIONS
from propeller.status import head
from propeller.workflow import BackingOff, Failure, begin
from tests.unit.workflow.drive import Driver, execution, graph, plan, task


def merged(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A merge patch of one level (RFC 7386), as the API server applies it."""
    return {key: value for key, value in (before | patch).items() if value is not None}


def test_a_later_head_forgets_the_counts_of_an_earlier_one() -> None:
    """A status is a merge patch: a phase that was left out stayed, and ended workflows had running nodes."""

    running = execution(plan(graph(task("a"), task("b"))))
    begin(running, TRANSITIONS, 1000.0)
    ended = Driver(execution(plan(graph(task("a"), task("b"))))).run()
    before = merged({}, head(running, 1001.0)["counts"])
    assert before == {"running": 2}
    assert merged(before, head(ended, 1002.0)["counts"]) == {"succeeded": 2}


def test_a_long_message_keeps_its_begin_and_its_end() -> None:
    failed = Driver(execution(plan(graph(task("a"))))).run()
    failed.failure = Failure("E", "begin " + "x" * 100_000 + " end")
    message = head(failed, 1001.0)["error"]["message"]
    assert len(message) < 10_000
    assert message.startswith("begin ")
    assert message.endswith(" end")


def test_a_failure_is_bounded_however_it_came() -> None:
    """Untrusted text: a task's error.pb, a pod's message, or a status written by another client."""
    long = "begin " + "x" * 1_000_000 + " end"
    for failure in (
        Failure(long, long, node=long),
        msgspec.structs.replace(Failure("E", "m"), code=long, message=long, node=long),
        msgspec.msgpack.decode(msgspec.msgpack.encode({"code": long, "message": long, "node": long}), type=Failure),
    ):
        assert len(failure.message) <= 16 * 1024
        assert failure.message.startswith("begin ")
        assert failure.message.endswith(" end")
        assert len(failure.code) < 1000
        assert len(failure.node) < 1000


def test_the_reason_of_a_wait_is_bounded() -> None:
    assert len(BackingOff(0, 1.0, 0.0, "x" * 1_000_000).reason) <= 1024


def test_untrusted_text_is_escaped_and_shows_no_credential() -> None:
    failed = Driver(execution(plan(graph(task("a"))))).run()
    failed.failure = Failure("\x1b[31mE", "\x1b]0;title\x07 \u202e https://me:hunter2@host\nnext", node="n\x1b[2J\n")
    found = head(failed, 1001.0)
    text = str(found["error"]["code"]) + found["error"]["message"] + found["message"]
    assert not set("\x1b\x07\u202e") & set(text)
    assert "hunter2" not in text
    assert found["message"].startswith("n\\x1b[2J\\n: \\x1b]0;title")
    assert found["message"].endswith("\nnext")
