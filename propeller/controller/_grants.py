"""From a claim that was granted to the attempt that has waited for it."""

from __future__ import annotations

from propeller.controller._executions import Executions
from propeller.controller._session import Running
from propeller.handlers import Holder
from propeller.workflow import BackingOff, Granted, Launching


def grant(executions: Executions, holder: Holder) -> bool:
    """Tell the attempt that it may be launched; false if it is not wanted any more, or not in memory."""
    session = executions.get(holder.execution)
    if not isinstance(session, Running) or session.uid != holder.uid:
        return False
    execution = session.execution
    state = execution.states.get(holder.node)
    is_wanted = isinstance(state, Launching | BackingOff) and state.attempt == holder.attempt
    if not is_wanted or execution.pod_name(holder.node, holder.attempt) != holder.name:
        return False
    executions.notify(session, holder.node, Granted(holder.attempt))
    return True
