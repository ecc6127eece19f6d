"""Refuse eager tasks that would wait for ever: on a cluster they have FlyteAdmin start what they call.

flytekit's `@eager` asks FlyteAdmin's API for an execution of each task that the function calls, and waits until
FlyteAdmin says that it has ended. It learns that from events of FlytePropeller, which are not sent here. Registered
eager workflows have a failure node that lists executions by the same API.
"""

from __future__ import annotations

from flyteidl.core import tasks_pb2

from propeller.workflow import EffectFailed, Failure, NodeView

EAGER = "EagerNeedsFlyteAdmin"
"""Error code, of kind USER: the author can write the task in another way."""

_CLEANUP = "eager_failure_handler_task"
"""Type of the failure node of eager workflows (flytekit's EagerFailureHandlerTask)."""


def refused_eager(node: NodeView, attempt: int, task: tasks_pb2.TaskTemplate) -> EffectFailed | None:
    """Return the failure of an eager task; None for any other, and if the settings let eager tasks run."""
    if not (task.metadata.is_eager or task.type == _CLEANUP) or node.execution.settings.run_eager:
        return None
    if task.type == _CLEANUP:
        why = "cleans up after an eager task by FlyteAdmin's API, which is not there; nothing was started"
    else:
        why = (
            "is eager: it needs FlyteAdmin's API to start what it calls, which is not there. Write it as @dynamic or "
            "@workflow, run it on one machine by `propeller run`, or set attempts.run_eager if another service answers "
            "for FlyteAdmin"
        )
    return EffectFailed(attempt, Failure(EAGER, f"task {task.id.name} {why} (see docs/differences.md)"))
