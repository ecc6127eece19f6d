"""The state of one running workflow: arrays for all nodes, objects only for those that are active.

A node's number is its frame's `base` plus its number in the frame's graph. A frame is opened when its graph starts: the
root, then one for each sub-workflow, dynamic workflow and map task that runs. A finished node costs 14 bytes, an active
node its state.

Assumptions
    One reconcile at a time owns an execution: `decide` takes it, changes it and returns it.
"""

from __future__ import annotations

import enum
import heapq
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import msgspec
from flyteidl.core import literals_pb2

from propeller.wire import Literals
from propeller.workflow._caching import CacheRecord
from propeller.workflow._events import Failure, NodeEvent
from propeller.workflow._failures import Failures
from propeller.workflow._item_window import ItemWindow
from propeller.workflow._job_record import Jobs
from propeller.workflow._names import PATH_LENGTH, pod_name, shortened, unique_node_id
from propeller.workflow._options import AttemptOptions
from propeller.workflow._parallelism import Slots
from propeller.workflow._placements import Placements
from propeller.workflow._plan import Graph, Plan
from propeller.workflow._spec import ExecutionSpec, NodeKind, NodeSpec
from propeller.workflow._states import State
from propeller.workflow._stops import Stops

T = TypeVar("T")

STOP_MARGIN = 30.0
"""Seconds, if the setting `controller.stop_margin` says nothing else."""

NEVER = 1e11
"""Epoch seconds, 3,000 years from now: no timer is set for later."""


class NodePhase(enum.IntEnum):
    """Numbers are FlytePropeller's (v1alpha1.NodePhase), those that people can see."""

    NOT_STARTED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 5
    FAILED = 6
    SKIPPED = 7
    ABORTED = 13  # ours: FlytePropeller has no number for it


ENDED = frozenset({NodePhase.SUCCEEDED, NodePhase.FAILED, NodePhase.SKIPPED, NodePhase.ABORTED})


class WorkflowPhase(enum.IntEnum):
    """Numbers are FlytePropeller's (v1alpha1.WorkflowPhase): tools read them from `status.phase`."""

    READY = 0
    RUNNING = 1
    SUCCEEDING = 2
    SUCCEEDED = 3
    FAILING = 4
    FAILED = 5
    ABORTED = 6
    HANDLING_FAILURE_NODE = 7

    @property
    def ended(self) -> bool:
        return self in _ENDED_WORKFLOW


_DEFAULTS = AttemptOptions()

_ENDED_WORKFLOW = (WorkflowPhase.SUCCEEDED, WorkflowPhase.FAILED, WorkflowPhase.ABORTED)


class ExecutionInfo(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The identity of an execution and the settings that its creator chose. `directory` is the URI of the directory of
    its inputs and outputs.
    """

    name: str
    namespace: str
    uid: str
    directory: str
    inputs: literals_pb2.LiteralMap | Literals
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    spec: ExecutionSpec = ExecutionSpec()

    @cached_property
    def project(self) -> str:
        return self.spec.execution_id.project or self.labels.get("project", "")

    @cached_property
    def domain(self) -> str:
        return self.spec.execution_id.domain or self.labels.get("domain", "")

    @cached_property
    def execution_name(self) -> str:
        return self.spec.execution_id.name or self.labels.get("execution-id", "") or self.name


class ObservedAttempt(NamedTuple):
    """An attempt that has a pod, and how many attempts before it failed by the system's fault."""

    attempt: int = 0
    system_failures: int = 0


class Frame:
    """One running graph. `parent` is the number of the node around it, at attempt `parent_attempt`; -1 for the root."""

    __slots__ = (
        "active",
        "base",
        "directory",
        "ended",
        "failure",
        "graph",
        "items",
        "number",
        "parent",
        "parent_attempt",
        "path",
        "takes_slots",
        "unique_id",
        "window",
    )

    def __init__(self, number: int, base: int, graph: Graph, parent: int, parent_attempt: int, *, items: bool) -> None:
        self.number = number
        self.base = base
        self.graph = graph
        self.parent = parent
        self.parent_attempt = parent_attempt
        self.items = items
        self.window = ItemWindow() if items else None
        self.active = 0
        self.ended = False
        self.takes_slots = True
        """Whether its nodes count for `max_parallelism`: not those of a map task with a parallelism of its own."""
        self.failure: Failure | None = None
        self.unique_id = ""
        self.path = ""
        self.directory = ""


class Execution:
    """A running workflow; see the module's docstring.

    More than 15 methods: most give one name or location of a node, which all derive from the same state.
    """

    def __init__(self, info: ExecutionInfo, plan: Plan, *, now: float) -> None:
        self.info = info
        self.plan = plan
        self.phase = WorkflowPhase.READY
        self.failure: Failure | None = None
        self.created_at = now
        self.ended_at: float | None = None
        self.frames: list[Frame] = []
        self._bases: list[int] = []
        self.phases = bytearray()
        self.attempts = bytearray()
        self.unmet = array("I")
        self.started = array("f")  # seconds since created_at
        self.ended = array("f")
        self.states: dict[int, State] = {}
        self.failures = Failures()
        self.system_failures: dict[int, int] = {}
        self.evictions: dict[int, int] = {}
        """How many of these were evictions by a queue, which use up no budget."""
        self.dropped = False
        """Whether a newer object in memory has replaced this one, which must not launch anything any more."""
        self.slots = Slots(info.spec.execution_config.max_parallelism)
        self.timers: list[tuple[float, int]] = []
        self.todo: deque[tuple[int, NodeEvent]] = deque()
        """Events that are left for the next call of `decide`."""
        self.failing: list[Frame] = []
        """Frames that have failed and that may be able to end now."""
        self.filling: list[Frame] = []
        """Frames of map tasks with items that start once fewer wait to be launched."""
        self.observed_attempts: dict[str, ObservedAttempt] = {}
        """By unique node id: the highest attempt that has a pod, found when the execution is loaded after a crash."""
        self.recovered: dict[str, str] = {}
        """By unique node id: the directory of the outputs that an earlier execution wrote: the node need not run."""
        self.recovered_children: dict[str, str] = {}
        """By unique node id: the name of the execution that an earlier one had started there, and that did not succeed:
        the node's own execution recovers from it.
        """
        self.recovered_uid = ""  # of that earlier execution
        self._cached: dict[Callable[[Execution], Any], Any] = {}
        self._last_name = (-1, 0, "")
        self.stops = Stops(self)
        """Pods whose attempts are over and that have not stopped yet."""
        self.jobs = Jobs()
        """Attempts that remote services run."""
        self.cache = CacheRecord()
        """What the cache had for its nodes."""
        self.settings = _DEFAULTS
        """When attempts are given up and retried."""
        self.placements: Placements | None = None
        """None if there is one cluster."""
        self.stop_margin = STOP_MARGIN
        """Seconds beyond its grace period after which a pod that has not stopped is given up."""

    @property
    def key(self) -> str:
        return f"{self.info.namespace}/{self.info.name}"

    @property
    def failure_so_far(self) -> Failure | None:
        """The failure of the root graph, if it has failed: the execution ends with it when nothing runs any more."""
        return self.frames[0].failure if self.frames else None

    def open_frame(self, graph: Graph, *, parent: int = -1, parent_attempt: int = 0, items: bool = False) -> Frame:
        """Add a frame for a graph that starts. None of its nodes starts by that."""
        frame = Frame(len(self.frames), len(self.phases), graph, parent, parent_attempt, items=items)
        if parent >= 0:
            around = self.view(parent)
            limited_itself = items and around.spec.array is not None and around.spec.array.parallelism is not None
            frame.takes_slots = around.frame.takes_slots and not limited_itself
            frame.unique_id = self.unique_id(parent)
            frame.path = f"{self.path(parent)}/{parent_attempt}/"
            frame.directory = self.output_directory(parent, parent_attempt)
        else:
            frame.directory = self.info.directory
        count = len(graph.nodes)
        self.frames.append(frame)
        self._bases.append(frame.base)
        self.phases.extend(bytes(count))
        self.attempts.extend(bytes(count))
        self.unmet.extend(graph.unmet)
        self.started.frombytes(bytes(4 * count))
        self.ended.frombytes(bytes(4 * count))
        return frame

    def cached(self, make: Callable[[Execution], T]) -> T:
        """Return `make(execution)`, computed once: for values that depend only on the execution's identity."""
        found: T | None = self._cached.get(make)
        if found is None:
            found = self._cached[make] = make(self)
        return found

    def frame_of(self, node: int) -> Frame:
        frames = self.frames
        return frames[0] if len(frames) == 1 else frames[bisect_right(self._bases, node) - 1]

    def view(self, node: int) -> NodeView:
        frame = self.frame_of(node)
        return NodeView(self, frame, node, frame.graph.nodes[node - frame.base])

    def unique_id(self, node: int) -> str:
        """The node's id that is unique in the execution (FlytePropeller's GenerateUniqueID)."""
        frame = self.frame_of(node)
        return unique_node_id(frame.unique_id, frame.parent_attempt, frame.graph.node_id(node - frame.base))

    def path(self, node: int) -> str:
        """The ids of the nodes around the node and its own, with their attempts; unique in the execution."""
        frame = self.frame_of(node)
        own = frame.graph.node_id(node - frame.base)
        if "~" in own or "/" in own:
            own = own.replace("~", "~0").replace("/", "~1")
        path = f"{frame.path}{own}" if frame.path else own
        return path if len(path) <= PATH_LENGTH else shortened(path, PATH_LENGTH)

    def recover_attempts(self, attempts: Mapping[str, ObservedAttempt]) -> None:
        """Record attempts that had begun before a restart, by unique node id. Each keeps its slot until the execution
        reaches its node.
        """
        self.observed_attempts.update(attempts)
        if attempts and self.slots.limit:
            started = {self.unique_id(node) for node, phase in enumerate(self.phases) if phase != NodePhase.NOT_STARTED}
            self.slots.reserve(attempts.keys() - started)

    def move_slot(self, frame: Frame, before: State | None, after: State | None) -> None:
        """Take or give back slots of `max_parallelism` and of items as the state of one of a frame's nodes changes."""
        if frame.takes_slots:
            self.slots.move(before, after)
        if frame.window is not None:
            frame.window.move(before, after)

    def pod_name(self, node: int, attempt: int) -> str:
        known = self._last_name  # a launch and each event of its pod ask for the same name
        if known[0] != node or known[1] != attempt:
            known = self._last_name = (node, attempt, pod_name(self.info.name, self.unique_id(node), attempt))
        return known[2]

    def data_directory(self, node: int) -> str:
        """URI of the directory that holds the node's inputs and, by attempt, outputs (FlytePropeller's layout)."""
        frame = self.frame_of(node)
        number = node - frame.base
        if frame.items:
            return f"{frame.directory}/{number}"
        directory = f"{frame.directory}/{frame.graph.node_id(number)}"
        return directory if frame.parent >= 0 else f"{directory}/data"

    def output_directory(self, node: int, attempt: int | None = None) -> str:
        """URI of the directory of the outputs of one attempt, by default the latest."""
        directory = f"{self.data_directory(node)}/{self.attempts[node] if attempt is None else attempt}"
        frame = self.frame_of(node)
        return f"{directory}/{node - frame.base}" if frame.graph.appends_index else directory

    def inputs_uri(self, node: int) -> str:
        return f"{self.data_directory(node)}/inputs.pb"

    def outputs_uri(self, node: int) -> str:
        """URI of the outputs of a node that has succeeded: for a branch, those of the case that ran."""
        while (frame := self.frame_of(node)).graph.nodes[node - frame.base].kind is NodeKind.BRANCH:
            node = self.chosen_case(node)
        return f"{self.output_directory(node)}/outputs.pb"

    def frame_outputs_uri(self, frame: Frame) -> str:
        """URI to which the frame's end node writes the outputs, of the node around the frame or of the execution."""
        if frame.parent >= 0:
            return f"{self.output_directory(frame.parent, frame.parent_attempt)}/outputs.pb"
        return f"{frame.directory}/end-node/data/0/outputs.pb"

    def chosen_case(self, branch: int) -> int:
        """The number of the case that a branch chose; raises LookupError if it has not chosen."""
        frame = self.frame_of(branch)
        for case in frame.graph.cases.get(branch - frame.base, ()):
            if self.phases[frame.base + case] not in {NodePhase.NOT_STARTED, NodePhase.SKIPPED}:
                return frame.base + case
        raise LookupError(f"branch {self.unique_id(branch)} of {self.key} has chosen no case")

    def wake_at(self, when: float, node: int) -> None:
        """Send the node a TimerFired at this time (epoch seconds)."""
        if when < NEVER:  # false for NaN, too
            heapq.heappush(self.timers, (when, node))

    def active_in(self, frame: Frame) -> list[int]:
        """The nodes of a frame that have started and not ended. Costs the lesser of what has started and the frame."""
        nodes = range(frame.base, frame.base + len(frame.graph.nodes))
        if 8 * len(nodes) < len(self.states):  # a small graph among thousands
            return [node for node in nodes if node in self.states]
        return [node for node in self.states if node in nodes]

    def count(self) -> dict[NodePhase, int]:
        """How many nodes of the frames opened so far are in each phase; end nodes do not count."""
        counts = {value: self.phases.count(value) for value in set(self.phases)}
        for frame in self.frames:
            if frame.graph.end is not None:
                counts[self.phases[frame.base + frame.graph.end]] -= 1
        return {NodePhase(value): count for value, count in sorted(counts.items()) if count}

    def user_nodes(self) -> Iterator[int]:
        """The numbers of all nodes in the frames opened so far, without end nodes."""
        for frame in self.frames:
            for number, node in enumerate(frame.graph.nodes):
                if node.kind is not NodeKind.END:
                    yield frame.base + number


class NodeView(msgspec.Struct, frozen=True):
    """One node of an execution, as transition functions and executors see it."""

    execution: Execution
    frame: Frame
    number: int
    spec: NodeSpec

    @property
    def graph(self) -> Graph:
        return self.frame.graph

    @property
    def graph_index(self) -> int:
        """The node's number in its graph."""
        return self.number - self.frame.base

    @property
    def id(self) -> str:
        return self.graph.node_id(self.graph_index)

    @property
    def item(self) -> int | None:
        """The node's index among the items of a map task; None if it is no item."""
        return self.graph_index if self.frame.items else None

    @property
    def next_frame(self) -> int:
        """The number of the frame that is opened next."""
        return len(self.execution.frames)

    @property
    def log_name(self) -> str:
        """For messages: `namespace/name node n0-0-n1`."""
        return f"{self.execution.key} node {self.execution.unique_id(self.number)}"
