"""From a claim that was granted to the attempt that has waited for it.

Guarantees
    A grant is lost only if the attempt is over. If its execution is being loaded, as somebody has written its status,
    the grant waits for it; the claim keeps its tokens meanwhile.
"""

from __future__ import annotations

from propeller.controller._executions import Executions
from propeller.controller._session import Running
from propeller.handlers import Holder
from propeller.workflow import ENDED, Execution, Granted


class Grants:
    """See the module's text."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._kept: dict[str, dict[str, Holder]] = {}
        """Grants for executions that are not in memory: by uid, and by the name of the attempt's resource."""

    def grant(self, holder: Holder) -> bool:
        """Tell the attempt that it may be launched, or may ask again; false if it is over."""
        session = self._executions.get(holder.execution)
        if not isinstance(session, Running) or not session.begun:
            if session is not None and session.uid != holder.uid:
                return False
            self._kept.setdefault(holder.uid, {})[holder.name] = holder
            return True
        if session.uid != holder.uid or not _is_current(session.execution, holder):
            return False
        self._executions.notify(session, holder.node, Granted(holder.attempt))
        return True

    def begun(self, session: Running) -> None:
        """Tell an execution that was loaded what has been granted meanwhile. Tokens of attempts that are over come back
        as those that nobody uses do.
        """
        for holder in self._kept.pop(session.uid, {}).values():
            if _is_current(session.execution, holder):
                self._executions.notify(session, holder.node, Granted(holder.attempt))

    def forget(self, uid: str) -> None:
        """The execution has ended or is gone."""
        self._kept.pop(uid, None)


def _is_current(execution: Execution, holder: Holder) -> bool:
    """Whether the attempt is not over. It may have to begin anew: a status that was loaded may be older."""
    node = holder.node
    if node >= len(execution.phases):
        return True  # of a subgraph that is made anew
    return (
        execution.phases[node] not in ENDED
        and execution.attempts[node] <= holder.attempt
        and execution.pod_name(node, holder.attempt) == holder.name
    )
