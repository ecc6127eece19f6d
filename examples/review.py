"""A report that waits for people: for a title, for approval, and for a moment before it goes out.

propeller run examples/review.py review --words 300
propeller signal EXECUTION title "A better title"       in another terminal; the run shows both commands in full
propeller approve EXECUTION publish                     or with --reject, which fails the run
"""

from __future__ import annotations

from datetime import timedelta

from flytekit import approve, sleep, task, wait_for_input, workflow


@task
def draft(words: int) -> str:
    return f"a report of {words} words"


@task
def entitle(title: str, text: str) -> str:
    return f"{title}: {text}"


@task
def publish(report: str) -> str:
    return f"published {report!r}"


@workflow
def review(words: int = 300) -> str:
    """Draft, ask for a title, ask for approval, wait a moment, publish."""
    text = draft(words=words)
    title = wait_for_input("title", timeout=timedelta(hours=1), expected_type=str)
    report = entitle(title=title, text=text)
    approved = approve(report, "publish", timeout=timedelta(hours=2))
    pause = sleep(timedelta(seconds=1))
    published = publish(report=approved)
    approved >> pause
    pause >> published
    return published
