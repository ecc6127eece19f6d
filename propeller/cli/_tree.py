"""An execution as a tree that people watch: nodes, states, times; long map tasks in one line.

Pure: an execution and a time in, a rich renderable out.
"""

from __future__ import annotations

import re

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text
from rich.tree import Tree

from propeller.cli._traces import summary
from propeller.status import said_of, wait_of
from propeller.text import one_line
from propeller.workflow import (
    ENDED,
    AtGate,
    BackingOff,
    CacheStatus,
    Execution,
    Frame,
    NodeKind,
    NodePhase,
    Running,
    State,
    WorkflowPhase,
)

MAX_REASON_CHARACTERS = 80
"""Characters of why a node waits: its line has more to say."""

NAME_KEPT = 12
"""Characters of a name that stay on a narrow terminal, its ellipsis included: enough to know it by."""

MAX_ITEMS = 6
"""Items of a map task that are shown on their own lines; the others are counted."""

_MAP_TASK = re.compile(r"map_(.+)_[0-9a-f]{32}(?:-arraynode)?")
_MARKS = {
    NodePhase.NOT_STARTED: ("·", "dim"),
    NodePhase.QUEUED: ("◌", "yellow"),
    NodePhase.RUNNING: ("●", "cyan"),
    NodePhase.SUCCEEDED: ("✔", "green"),
    NodePhase.FAILED: ("✘", "bold red"),
    NodePhase.SKIPPED: ("-", "dim"),
    NodePhase.ABORTED: ("■", "red"),
}
_WORKFLOW_MARKS = {
    WorkflowPhase.SUCCEEDED: ("✔", "green"),
    WorkflowPhase.FAILED: ("✘", "bold red"),
    WorkflowPhase.ABORTED: ("■", "red"),
}


class Line:
    """A line of the tree. If it is too long, its names are shortened first, so that times stay to be seen."""

    def __init__(self, mark: Text, name: Text, ident: str, time: str, notes: Text | None = None) -> None:
        self._mark, self._name, self._notes = mark, name, notes or Text()
        self._ident, self._time = Text(ident, "dim"), Text(f"  {time}" if time else "", "dim")

    def whole(self) -> Text:
        return Text.assemble(self._mark, self._name, self._gap, self._ident, self._time, self._notes)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.overflow == "ignore":  # lines stay whole
            yield self.whole()
            return
        room = options.max_width - self._mark.cell_len - len(self._gap) - self._time.cell_len
        ident = _shortened(self._ident, room // 3)
        name = _shortened(self._name, room - ident.cell_len)
        yield Text.assemble(self._mark, name, self._gap, ident, self._time, self._notes)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.whole())

    @property
    def _gap(self) -> str:
        return "  " if self._ident else ""


def _shortened(name: Text, cells: int) -> Text:
    short = name.copy()
    short.truncate(max(cells, NAME_KEPT), overflow="ellipsis")
    return short


def tree(execution: Execution, now: float) -> Tree:
    """The execution at `now` epoch seconds."""
    mark, style = _WORKFLOW_MARKS.get(execution.phase, ("●", "cyan"))
    end = execution.ended_at if execution.ended_at is not None else now
    label = Line(
        Text(f"{mark} ", style),
        Text(one_line(execution.plan.root.id.rpartition(":")[2]), "bold"),
        one_line(execution.info.name),
        _elapsed(end - execution.created_at),
    )
    root = Tree(label, guide_style="dim")
    inside = {frame.parent: frame for frame in execution.frames}  # of several attempts the last
    todo: list[tuple[Tree, Frame]] = [(root, inside[-1])] if inside else []
    while todo:
        branch, frame = todo.pop()
        shown = _shown(execution, frame)
        for number in shown:
            child = branch.add(_label(execution, frame, number, now))
            if (inner := inside.get(frame.base + number)) is not None:
                todo.append((child, inner))
        if hidden := len(set(_user_numbers(frame)).difference(shown)):
            branch.add(Text(f"… {hidden} more: {_summary(execution, frame, set(shown))}", style="dim"))
    return root


def node_line(execution: Execution, node: int, now: float) -> Text:
    """Format one node on one line with its unique id, for output that cannot be redrawn."""
    frame = execution.frame_of(node)
    line = _label(execution, frame, node - frame.base, now).whole()
    return Text.assemble((f"{one_line(execution.unique_id(node))}  ", "dim"), line) if frame.parent >= 0 else line


def _user_numbers(frame: Frame) -> list[int]:
    return [
        number
        for number, node in enumerate(frame.graph.nodes)
        if node.kind is not NodeKind.END and number != frame.graph.failure
    ]


def _shown(execution: Execution, frame: Frame) -> list[int]:
    numbers = _user_numbers(frame)
    failure = frame.graph.failure
    if failure is not None and execution.phases[frame.base + failure] != NodePhase.NOT_STARTED:
        numbers.append(failure)
    if not frame.items or len(numbers) <= MAX_ITEMS:
        return numbers
    failed = [n for n in numbers if execution.phases[frame.base + n] == NodePhase.FAILED]
    running = [n for n in numbers if execution.phases[frame.base + n] == NodePhase.RUNNING]
    return sorted((failed + running + numbers)[:MAX_ITEMS]) if failed or running else numbers[:MAX_ITEMS]


def _summary(execution: Execution, frame: Frame, shown: set[int]) -> str:
    counts: dict[str, int] = {}
    for number in _user_numbers(frame):
        if number not in shown:
            word = NodePhase(execution.phases[frame.base + number]).name.lower().replace("_", " ")
            counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def _label(execution: Execution, frame: Frame, number: int, now: float) -> Line:
    node = frame.base + number
    spec = frame.graph.nodes[number]
    phase = NodePhase(execution.phases[node])
    mark, style = _MARKS[phase]
    state = execution.states.get(node)
    if (isinstance(state, Running) and not state.started) or isinstance(state, BackingOff):
        mark, style = _MARKS[NodePhase.QUEUED]
    name = f"[{number}]" if frame.items else one_line(short_name(spec.name or spec.id))
    time = ""
    if phase is not NodePhase.NOT_STARTED and phase is not NodePhase.SKIPPED:
        end = execution.ended[node] if phase in ENDED else now - execution.created_at
        time = _elapsed(end - execution.started[node])
    return Line(
        Text(f"{mark} ", style),
        Text(name, style if phase in {NodePhase.FAILED, NodePhase.SKIPPED} else ""),
        "" if frame.items else one_line(frame.graph.node_id(number)),
        time,
        _notes(execution, node, state),
    )


def _notes(execution: Execution, node: int, state: State | None) -> Text:
    """Format notes beside a node's state: attempts, what it waits for, why it failed."""
    notes = Text()
    if execution.attempts[node]:
        notes.append(f"  attempt {execution.attempts[node] + 1}", style="yellow")
    if execution.cache.of(node) in _CACHE_NOTES:
        notes.append(f"  {_CACHE_NOTES[execution.cache.of(node)]}", style="cyan")
    if isinstance(state, AtGate) and (wait := wait_of(execution, node)) is not None:
        notes.append(f"  {said_of(wait)}", style="yellow")
    elif (wait := wait_of(execution, node, MAX_REASON_CHARACTERS)) is not None:
        notes.append("  waits: {reason}, since {since}, tried {tries} times".format_map(wait), style="yellow")
    elif isinstance(state, BackingOff):
        notes.append(f"  {_first_line(state.reason)[:MAX_REASON_CHARACTERS]}" if state.reason else "", style="yellow")
    failure, whole = execution.failures.get(node), execution.failure
    # What a failed item says is the end of what its map says, and is said once, at the end.
    if failure is not None and (whole is None or not whole.message.endswith(failure.message)):
        notes.append(f"  {one_line(summary(failure.message))[:100]}", style="red")
    return notes


_CACHE_NOTES = {
    CacheStatus.HIT: "cached",
    CacheStatus.SKIPPED: "cache skipped",
    CacheStatus.LOOKUP_FAILURE: "cache not readable",
    CacheStatus.PUT_FAILURE: "outputs not cached",
}
"""What people are told: that outputs were looked for or cached as usual goes without saying."""


def _first_line(text: str) -> str:
    return one_line(text.partition("\n")[0])


def short_name(name: str) -> str:
    """`my.module.my_task` is `my_task` to its author; flytekit names a map task for its task and a hash."""
    name = name.rpartition(".")[2]
    mapped = _MAP_TASK.fullmatch(name)
    return f"map {mapped[1]}" if mapped else name


def _elapsed(seconds: float) -> str:
    if seconds < 10:
        return f"{max(seconds, 0):.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
