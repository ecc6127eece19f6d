"""A decision: a model is released, sent to a person, or the run fails, by its accuracy.

propeller run examples/quality_gate.py gate --accuracy 0.97
propeller run examples/quality_gate.py gate --accuracy 0.4      fails, and says why
"""

from __future__ import annotations

from flytekit import conditional, task, workflow


@task
def release(accuracy: float) -> str:
    return f"released at {accuracy:.2f}"


@task
def ask_for_review(accuracy: float) -> str:
    return f"sent to review at {accuracy:.2f}"


@task
def announce(decision: str) -> str:
    return f"The model was {decision}."


@workflow
def gate(accuracy: float = 0.93) -> str:
    """Release, review, or fail."""
    decision = (
        conditional("quality")
        .if_(accuracy >= 0.9)
        .then(release(accuracy=accuracy))
        .elif_(accuracy >= 0.6)
        .then(ask_for_review(accuracy=accuracy))
        .else_()
        .fail("accuracy is below 0.6: this model must not go out")
    )
    return announce(decision=decision)
