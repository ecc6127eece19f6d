"""What really happened, as the API server saw it, and what may not happen: checked at each write.

It stands between every client and the server, and sees each request at the moment of its effect.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from propeller.embedded.faults import FaultyLink
from propeller.embedded.server import Forward
from propeller.embedded.server.patch._merge_patch import merge_patch
from propeller.errors import PropellerError
from propeller.kube import Request, Response
from propeller.workflow import NodePhase
from tests.simulation.event_log import EventLog
from tests.simulation.flows import Flow
from tests.simulation.model import Expected, ExpectedChild, Prediction
from tests.simulation.scripts import Outcome
from tests.simulation.sidecars import end_of_task
from tests.simulation.tokens import Tokens

ENDED = {3, 5, 6}
SUCCEEDED = 3
NODE = "propeller/node"
ATTEMPT = "propeller/attempt"
SYSTEM_FAILURES = "propeller/system-failures"
GROUP = "/flyte.lyft.com/"


@dataclass
class PodRecord:
    """One pod that was created."""

    uid: str
    name: str
    node: str
    attempt: int
    run: int = 0
    """Which run of its node's script it is."""
    live: bool = True
    came_to_its_end: bool = False
    """The one that its script has."""
    stopped: bool = False
    """Whether it has a terminal phase, or is gone: one that is told to stop takes its time."""
    over: float = math.inf
    """Loop time when its grace is over, since it was told to stop."""
    unseen_end: bool = False
    """Whether it went without a trace, or was deleted."""
    again: bool = False
    """Whether it is in the place of one that a restored server has forgotten, or that has vanished: it has no place of
    those that run at once, for others have gone on after that.
    """
    created: tuple[str, float] = ("", 0.0)
    """Who created it, and when."""
    vanished: bool = False
    """Whether it is gone, though it came to its end: told to stop, as a sidecar ran on, or drained."""
    kinds: frozenset[str] = frozenset()
    """What it is by itself, of what is `reached`; its node says the rest."""


@dataclass
class Workflow:
    """One FlyteWorkflow object, by its uid."""

    name: str
    uid: str
    flow: Flow
    prediction: Prediction
    recovered: frozenset[str] = frozenset()
    """Tasks that ended well in the execution whose results it may take over."""
    taken_over: frozenset[str] = frozenset()
    """Those of them that it has to."""
    deleted: bool = False
    """By a user."""
    collected: bool = False
    status: dict[str, Any] = field(default_factory=dict)
    pods: list[PodRecord] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    succeeded: int = 0
    """The most nodes that a status has shown as succeeded."""
    restored: bool = False
    """Whether it was there when the server was restored: a controller that has not noticed yet acts on what was."""
    undeleted: bool = False
    """Whether a restore has taken its deletion back. Its newest snapshot may say that it was aborted for that."""
    left: set[str] = field(default_factory=set)
    """Nodes whose outputs are in the object store: after a restore they stand, though the pods be forgotten."""
    answers: dict[str, int | None] = field(default_factory=dict)
    """By unique id, gates that a status shows as open, and the values that they were given."""
    forgotten: list[PodRecord] = field(default_factory=list)
    """Pods that a restored server does not have, until their attempt is run once more."""
    parent: Workflow | None = None
    """The one whose node has started it."""
    node: str = ""
    """That node, by unique id."""
    attempt: int = 0
    """Of that node."""
    children: list[Workflow] = field(default_factory=list)
    vanished: bool = False
    """Whether somebody has deleted it: if no status shows that it was started, it is started once more."""
    since: float = 0.0
    """Loop time when it was created."""
    children_left: dict[str, str] = field(default_factory=dict)
    """By node, the executions of the one that it recovers which its own ones have to recover, by name."""
    disturbed: bool = False
    """Whether somebody has deleted an execution that it has started, or one inside of it: it may fail by that."""

    @property
    def with_all_inside(self) -> Iterator[Workflow]:
        yield self
        for child in self.children:
            yield from child.with_all_inside

    def answers_of(self, taken_over: frozenset[str]) -> dict[str, int | None]:
        """Answers that go with what one that recovers it takes over: to gates, and to those of executions."""
        return {gate: value for gate, value in self.answers.items() if gate.partition("/")[0] in taken_over}

    @property
    def ended(self) -> bool:
        return self.status.get("phase") in ENDED


class Oracle:
    """`workflows` by uid. `has_status` tells whether their type has a status subresource now."""

    caches: ClassVar[bool] = False
    """Whether tasks are cached: what has been computed once proves the same of every node."""

    reserves: ClassVar[bool] = False
    """Whether nothing but kills and aborts disturbs reservations of tasks, so that no two compute the same at once."""

    strict: ClassVar[bool] = False
    """Whether it is checked as well that failure nodes run, after all else, and that gates sleep for their time."""

    nested: ClassVar[bool] = False
    """Whether nodes of workflows start launch plans."""

    recoveries: ClassVar[bool] = False
    """Whether each execution fails at first and is recovered, and what it has left is certain."""

    gated: ClassVar[bool] = False
    """Whether workflows have gates: what is behind one may run once a status shows that it opens."""

    loaded: ClassVar[bool] = False
    """Whether tasks are raw containers: a program that has ended may have uploaded nothing yet."""

    kinds_of_pods: ClassVar[frozenset[str]] = frozenset()
    """Kinds, of what is `reached`, that all pods have."""

    def __init__(self, event_log: EventLog, budget: int, has_status: Callable[[], bool], tokens: Tokens) -> None:
        self.event_log = event_log
        self._tokens = tokens
        self.budget = budget
        self._has_status = has_status
        self.workflows: dict[str, Workflow] = {}
        """Those that users have created."""
        self.children: dict[str, Workflow] = {}
        """Those that nodes of others have started."""
        self.pods: dict[str, tuple[Workflow, PodRecord]] = {}
        self.overlap = False
        """Whether two controllers may have been at work at once: limits of one are not limits of two."""
        self.shown: Callable[[str, str], bool] = lambda uid, node: False
        """Whether the status of a workflow, by its uid, shows that a node has succeeded."""
        self.opened: Callable[[str], dict[str, int | None]] = lambda uid: {}
        """The gates that the status of a workflow, by its uid, shows as open, and their values."""
        self.left_by: Callable[[str], frozenset[str]] = lambda uid: frozenset()
        """The nodes whose outputs a workflow, by its uid, leaves to one that recovers it."""
        self.children_left_by: Callable[[str], dict[str, str]] = lambda uid: {}
        """By node, the names of executions that it leaves to be recovered."""
        self.computed: set[tuple[bool, bytes]] = set()
        """What has been computed, by whether the task is dynamic, and its inputs."""
        self.failed: Callable[[Request], None] = lambda request: None
        """Called with a request that has failed, as far as its client knows."""
        self.fault_free = False
        self.clocks_are_right = True
        """Whether no clock has ever jumped."""
        self.last_kill = -math.inf
        """Loop time when a controller was killed."""
        self.void_after = 0.0
        """Seconds after a kill in which a reservation may come to be void, as nobody knows it any more."""
        self.restores = 0
        """How often the server was restored from an older copy."""
        self.asked_for_type: Counter[str] = Counter()
        """Requests for workflows, and for what their type can do, by who made them."""

    def applied(self, who: str, request: Request, response: Response) -> None:
        """A request had its effect."""
        if GROUP in request.path:
            self.asked_for_type[who] += 1
        if response.status >= 300:
            if request.method != "GET":
                self.event_log.record(f"{who}: {request.method} {request.path} -> {response.status}")
            return
        match request.method, request.path.split("/"):
            case "POST", [*_, "pods"]:
                self._pod_created(who, orjson.loads(response.body))
            case "PATCH", [*_, "pods", _, "status"]:
                self._pod_reported(orjson.loads(response.body))
            case "DELETE", [*_, "pods", name]:
                self.event_log.record(f"{who}: deletes pod {name}")
                if who != "drain":  # else it has its grace, and whoever runs it says what it comes to
                    self._pod_deleted(name)
                self._pod_gone(who, orjson.loads(response.body))
            case "POST", [*_, "flyteworkflows"] if who != "world":
                self._child_created(who, orjson.loads(request.body), orjson.loads(response.body))
            case "DELETE", [*_, "flyteworkflows", name] if who != "world" and (
                child := self.children.get(_uid_in(orjson.loads(response.body)))
            ):
                self._child_stopped(who, child)
            case "DELETE", [*_, "flyteworkflows", _] if who == "world":
                self._workflow_deleted(orjson.loads(response.body))
            case "DELETE", [*_, "flyteworkflows", name]:
                self.event_log.record(f"{who}: collects {name}")
                self._workflow_collected(name)
            case "DELETE", [*_, "customresourcedefinitions", _]:
                for workflow in self.workflows.values():
                    workflow.deleted = True
            case "PATCH", [*_, "flyteworkflows", _] | [*_, "flyteworkflows", _, "status"]:
                self._workflow_written(who, request, orjson.loads(response.body))

    # pods

    def _pod_created(self, who: str, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        owner = metadata["ownerReferences"][0]["uid"]
        node, attempt = metadata["annotations"][NODE], int(metadata["annotations"][ATTEMPT])
        self.event_log.record(f"{who}: creates pod {metadata['name']}")
        workflow = self.find(owner)
        if workflow is None:
            self.event_log.violation(f"pod {metadata['name']} belongs to no workflow")
            return
        failures = int(metadata["annotations"].get(SYSTEM_FAILURES, 0))
        record = self._recorded(workflow, metadata["uid"], metadata["name"], node, attempt, failures)
        record.created = who, self.event_log.time()
        record.kinds = self.kinds_of_pods
        if not self.restores:
            others = (other for flow, other in self.pods.values() if not (flow.deleted or flow.collected))
            self._tokens.created(who, record.name, [other.created for other in others if not other.stopped])
        self.pods[record.uid] = workflow, record
        if not workflow.deleted:  # else it will be collected, as are those that it follows
            self._check_run(workflow, record)
        workflow.pods.append(record)

    def _recorded(
        self, workflow: Workflow, uid: str, name: str, node: str, attempt: int, system_failures: int
    ) -> PodRecord:
        """An attempt whose pod a restored server has forgotten, or has vanished, comes to the same end once more."""
        for pod in workflow.forgotten:
            if (pod.node, pod.attempt) == (node, attempt):
                workflow.forgotten.remove(pod)
                return PodRecord(uid, name, node, attempt, pod.run, again=True)
        for pod in workflow.pods:
            if (pod.node, pod.attempt) == (node, attempt) and pod.vanished:
                return PodRecord(uid, name, node, attempt, pod.run, again=True)
        again = node in workflow.done and self._is_forgotten(workflow, node)
        run = self._next_run(workflow, node, system_failures)
        return PodRecord(uid, name, node, attempt, run, again=again)

    def _next_run(self, workflow: Workflow, node: str, system_failures: int) -> int:
        """One that was deleted before its end is made up for; one that waits to be stopped has nothing else to come,
        unless a restored server has forgotten it: if that counts as the system's failure, it is made up for as well.
        """
        earlier = [pod for pod in (*workflow.pods, *workflow.forgotten) if pod.node == node]
        run = max((pod.run + (pod.came_to_its_end or self._is_stuck(pod)) for pod in earlier), default=0)
        stuck = sum(pod.node == node and self._is_stuck(pod) for pod in workflow.forgotten)
        if not stuck or (expected := workflow.prediction.tasks.get(node)) is None:
            return run
        of_script = sum(expected.script.outcome(number).is_system for number in range(run))
        return run - min(stuck, max(0, system_failures - of_script))

    def _check_run(self, workflow: Workflow, record: PodRecord) -> None:
        lenient = self.overlap or workflow.restored
        if lenient and workflow.ended:
            return  # by a controller that has not heard of the end yet: it has to be stopped, as is checked then
        node, attempt = record.node, record.attempt
        where = f"{workflow.name} node {node} attempt {attempt}"
        for earlier in workflow.pods:
            if earlier.node == node and earlier.attempt == attempt and not self._may_be_repeated(workflow, earlier):
                self.event_log.violation(f"{where} is run twice")
            if earlier.node == node and earlier.attempt != attempt and self._may_run(earlier) and not lenient:
                self.event_log.violation(f"{where} runs beside attempt {earlier.attempt}, which has not stopped")
        expected = workflow.prediction.tasks.get(node)
        if expected is None:
            self.event_log.violation(f"{where} should never run")
            return
        if node in workflow.taken_over:
            self.event_log.violation(f"{where} is run though what it left before was to be taken over")
        undone = self.overlap and workflow.restored  # one that stood still acts on what the restore has taken back
        if node in workflow.done and not record.again and not undone:
            self.event_log.violation(f"{where} is run though the node has ended well")
        proven = workflow.done | workflow.recovered | (workflow.left if workflow.restored else frozenset())
        if self.caches:
            proven = proven | frozenset(filter(lambda node: self._is_computed(workflow, node), expected.after))
            self._check_caching(workflow, record, expected, lenient=lenient)
        if missing := sorted(expected.after - proven):
            self.event_log.violation(f"{where} runs before {', '.join(missing)} ended well")
        if not lenient and not record.again:
            self._check_parallelism(workflow, node, expected)
            if self.strict and node == workflow.prediction.failure_node and workflow.flow.ends_in_order:
                self._check_alone(workflow, record)

    def _check_alone(self, workflow: Workflow, record: PodRecord) -> None:
        """A failure node runs once all else has ended."""
        for pod in workflow.pods:
            if pod.live and pod.node != record.node and not self._is_stuck(pod):
                self.event_log.violation(f"{workflow.name} runs its failure node beside {pod.node}")

    def _check_parallelism(self, workflow: Workflow, node: str, expected: Expected) -> None:
        """Items of a map task with a limit of its own count for that one, all others for the workflow's."""
        tasks = workflow.prediction.tasks
        counted = [pod.node for pod in workflow.pods if pod.live and not pod.again and not self._is_stuck(pod)]
        beside = {other for other in counted if other in tasks and tasks[other].map == expected.map}
        at_once, limit = len({node} | beside), expected.at_once or workflow.flow.parallelism
        if limit and at_once > limit:
            whose = f"map task {expected.map} of {workflow.name}" if expected.map else workflow.name
            self.event_log.violation(f"{whose} runs {at_once} tasks at once, over its limit of {limit}")

    @property
    def reservations_hold(self) -> bool:
        """Whether every reservation is kept: for longer than its time to live somebody has renewed it."""
        return self.fault_free or (self.reserves and self.event_log.time() >= self.last_kill + self.void_after)

    def _is_computed(self, workflow: Workflow, node: str) -> bool:
        expected = workflow.prediction.tasks.get(node)
        return expected is not None and (expected.is_dynamic, expected.inputs) in self.computed

    def _check_caching(self, workflow: Workflow, record: PodRecord, expected: Expected, *, lenient: bool) -> None:
        """A node that had its outputs from the cache is not run after what builds on them; and if executions wait for
        each other, no two compute the same at once.
        """
        where = f"{workflow.name} node {record.node}"
        if not lenient and not record.again and record.attempt == 0:
            for pod in workflow.pods:
                other = workflow.prediction.tasks.get(pod.node)
                if other is not None and record.node in other.after:
                    self.event_log.violation(f"{where} is run after {pod.node}, which builds on its outputs")
        if not self.reservations_hold or lenient or expected.is_inner or not getattr(workflow.flow, "serialize", False):
            return
        for other_workflow, pod in self.pods.values():
            same = other_workflow.prediction.tasks.get(pod.node)
            if not pod.live or pod is record or other_workflow.deleted or same is None or same.is_inner:
                continue
            is_serialized = getattr(other_workflow.flow, "serialize", False)
            if is_serialized and (same.is_dynamic, same.inputs) == (expected.is_dynamic, expected.inputs):
                self.event_log.violation(f"{where} computes what {pod.name} computes at this moment")

    def _may_be_repeated(self, workflow: Workflow, pod: PodRecord) -> bool:
        """Whether an attempt may be run once more, as its pod is gone: nothing shows it, or nothing to everybody."""
        if not pod.vanished or self.overlap:
            return pod.unseen_end or pod.vanished
        return self._comes_to(pod, Outcome.SPARED) and not self.shown(workflow.uid, pod.node)

    def _is_forgotten(self, workflow: Workflow, node: str) -> bool:
        """Whether nothing is left that shows how far the node has come: no status, and no pod."""
        pods = [pod for pod in workflow.pods if pod.node == node]
        return all(pod.unseen_end or pod.vanished for pod in pods) and not self.shown(workflow.uid, node)

    def _may_run(self, pod: PodRecord) -> bool:
        """Whether it has neither stopped nor outlived its grace, after which its machine counts as lost."""
        return not pod.stopped and self.event_log.time() < pod.over

    def _is_stuck(self, pod: PodRecord) -> bool:
        """Whether it only waits to be stopped: that may be under way."""
        return self._comes_to(pod, Outcome.HANG, Outcome.IMAGE)

    def _comes_to(self, pod: PodRecord, *outcomes: Outcome) -> bool:
        found = self.script(pod.uid)
        return found is not None and found[1] in outcomes

    def _pod_reported(self, pod: dict[str, Any]) -> None:
        phase = pod["status"].get("phase")
        found = self.pods.get(pod["metadata"]["uid"])
        if found is None:
            return
        has_stopped = phase in {"Succeeded", "Failed"}
        found[1].stopped |= has_stopped
        if found[1].live and (has_stopped or end_of_task(pod["status"]) is not None):
            self.run_ended(pod["metadata"]["uid"])

    def _pod_deleted(self, name: str) -> None:
        for _, record in self.pods.values():
            if record.name == name and record.live:
                record.live = False
                record.unseen_end = True

    def _pod_gone(self, who: str, answer: dict[str, Any]) -> None:
        """The kubelet removes a pod when it has stopped; one that is on no machine yet, or has ended, goes at once."""
        found = self.pods.get(answer.get("metadata", {}).get("uid", ""))
        if found is None:
            return
        grace = answer["metadata"].get("deletionGracePeriodSeconds")
        if grace is not None:
            found[1].over = min(found[1].over, self.event_log.time() + grace)
        if who == "kubelet" or not answer.get("spec", {}).get("nodeName") or found[1].stopped:
            found[1].stopped = True
            found[1].vanished = found[1].came_to_its_end and not found[1].unseen_end

    def script(self, uid: str) -> tuple[Expected, Outcome] | None:
        """What the run of a pod must find and comes to; None for a pod that should not be."""
        found = self.pods.get(uid)
        if found is None or (expected := found[0].prediction.tasks.get(found[1].node)) is None:
            return None
        return expected, expected.script.outcome(found[1].run)

    def outputs_left(self, uid: str) -> None:
        """A pod wrote what its node is to leave."""
        workflow, record = self.pods[uid]
        workflow.left.add(record.node)

    def run_ended(self, uid: str, *, unseen: bool = False) -> None:
        """A pod's run came to the end that its script has."""
        workflow, record = self.pods[uid]
        found = self.script(uid)
        assert found is not None
        outcome = found[1]
        self.event_log.record(f"pod {record.name} {outcome.value}")
        record.live = False
        record.unseen_end = unseen
        record.came_to_its_end = True
        if outcome.is_well:
            workflow.done.add(record.node)
            self.computed.add((found[0].is_dynamic, found[0].inputs))

    # workflows

    def _workflow_deleted(self, answer: dict[str, Any]) -> None:
        """By a user, who knows it by its name: after a restore that may be another one."""
        if (workflow := self.find(_uid_in(answer))) is not None:
            for one in workflow.with_all_inside:
                one.deleted = True

    def _workflow_collected(self, name: str) -> None:
        standing = [workflow for workflow in self.workflows.values() if workflow.name == name and not workflow.deleted]
        for workflow in standing:  # the one of that name that is, or was
            if not workflow.ended:
                self.event_log.violation(f"{name} is collected before its end")
            for one in workflow.with_all_inside:
                one.collected = True

    def find(self, uid: str) -> Workflow | None:
        """Return a workflow, whoever has created it."""
        return self.workflows.get(uid) or self.children.get(uid)

    def _child_created(self, who: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
        """A launch plan's node starts its execution: once, when all that it needs has ended well."""
        metadata = body["metadata"]
        name, node, attempt = metadata["name"], metadata["annotations"][NODE], metadata["annotations"][ATTEMPT]
        self.event_log.record(f"{who}: starts execution {name}")
        parent = self.find(metadata["ownerReferences"][0]["uid"])
        if parent is None or (expected := parent.prediction.children.get(node)) is None:
            self.event_log.violation(f"execution {name} should never be started")
            return
        if not parent.deleted:
            self._check_start(parent, node, int(attempt), expected)
        recovers = ((body.get("executionConfig") or {}).get("RecoveryExecution") or {}).get("name")
        if node in parent.children_left and recovers != parent.children_left[node]:
            self.event_log.violation(f"{name} recovers {recovers}, and not {parent.children_left[node]}")
        earlier = [one for one in self.children.values() if one.name == recovers]
        recovered = earlier[-1].done | earlier[-1].recovered if earlier else frozenset[str]()
        uid = answer["metadata"]["uid"]
        child = Workflow(name, uid, expected.flow, expected.prediction, frozenset(recovered), parent=parent, node=node)
        child.attempt = int(attempt)
        child.deleted, child.collected, child.since = parent.deleted, parent.collected, self.event_log.time()
        self.children[uid] = child
        parent.children.append(child)
        if self.recoveries and earlier:
            child.taken_over = self.left_by(earlier[-1].uid)
            child.children_left = self.children_left_by(earlier[-1].uid)
            child.answers = earlier[-1].answers_of(child.taken_over)
            if self.gated:
                self._tell_answers(child)

    def _check_start(self, parent: Workflow, node: str, attempt: int, expected: ExpectedChild) -> None:
        lenient = self.overlap or parent.disturbed
        if lenient and parent.ended:
            return  # as for pods
        where = f"{parent.name} node {node} attempt {attempt}"
        if attempt >= expected.attempts:
            self.event_log.violation(f"{where} is started, though nothing is tried again outside of an execution")
        of_node = [one for one in parent.children if one.node == node and not one.vanished]
        if any(one.attempt == attempt for one in of_node):
            self.event_log.violation(f"{where} is started twice")
        if any(one.attempt != attempt and not one.deleted for one in of_node):
            self.event_log.violation(f"{where} is started beside another attempt")
        if node in parent.taken_over or node in parent.done:
            self.event_log.violation(f"{where} is started though it has ended well")
        proven = parent.done | parent.recovered
        if self.caches:
            proven = proven | frozenset(filter(lambda task: self._is_computed(parent, task), expected.after))
        if missing := sorted(expected.after - proven):
            self.event_log.violation(f"{where} is started before {', '.join(missing)} ended well")
        known = parent.prediction.children
        beside = [
            one.node
            for one in parent.children
            if not (one.ended or one.deleted) and known[one.node].map == expected.map
        ]
        limit = expected.at_once or parent.flow.parallelism
        if limit and not lenient and len(beside) >= limit:
            self.event_log.violation(
                f"{parent.name} runs {len(beside) + 1} executions at once, over its limit of {limit}"
            )

    def _child_stopped(self, who: str, child: Workflow) -> None:
        self.event_log.record(f"{who}: stops execution {child.name}")
        parent = child.parent
        assert parent is not None
        if child.ended and not child.deleted:
            self.event_log.violation(f"{child.name} is deleted though it has ended: it is the record of its node")
        elif parent.prediction.succeeds and not (parent.deleted or parent.disturbed or child.deleted):
            self.event_log.violation(f"{child.name} is stopped though nothing of {parent.name} fails")
        for one in child.with_all_inside:
            one.deleted = True

    def _workflow_written(self, who: str, request: Request, obj: dict[str, Any]) -> None:
        workflow = self.find(obj["metadata"]["uid"])
        body = orjson.loads(request.body)
        if workflow is None or "status" not in body:
            return
        if self._has_status() and not request.path.endswith("/status"):
            self.event_log.record(f"{who}: writes a status of {workflow.name} that the server drops")
            return
        status = merge_patch(workflow.status, body["status"])  # the answer may have the metadata alone
        self.event_log.record(f"{who}: writes {workflow.name} as {status.get('state')}, {status.get('counts')}")
        where = f"the status of {workflow.name}"
        if workflow.ended and status.get("phase") != workflow.status.get("phase"):
            self.event_log.violation(f"{where} was {workflow.status.get('state')}, and is {status.get('state')} now")
        if len(status.get("nodes") or "") > self.budget:
            self.event_log.violation(f"{where} has {len(base64.b64decode(status['nodes']))} bytes, over the budget")
        succeeded = status.get("counts", {}).get(NodePhase.SUCCEEDED.name.lower(), 0)
        if succeeded < workflow.succeeded:
            self.event_log.violation(f"{where} had {workflow.succeeded} succeeded nodes, and has {succeeded}")
        workflow.succeeded = max(workflow.succeeded, succeeded)
        workflow.status = status
        if workflow.parent is not None and status.get("phase") == SUCCEEDED:
            workflow.parent.done.add(workflow.node)
        if self.gated:
            self._learn_answers(workflow)

    def _learn_answers(self, workflow: Workflow) -> None:
        """The first status that shows that a gate opens says for ever by which value."""
        for node, value in self.opened(workflow.uid).items():
            if self.strict and node not in workflow.answers:
                self._check_sleep(workflow, node)
            if workflow.answers.setdefault(node, value) != value:
                known = workflow.answers[node]
                self.event_log.violation(f"{workflow.name} gate {node} had opened by {known}, and opens by {value}")
        self._tell_answers(workflow)

    def _check_sleep(self, workflow: Workflow, node: str) -> None:
        """A gate that sleeps opens once its time is over."""
        gate = workflow.prediction.gates.get(node)
        if gate is not None and self.clocks_are_right and self.event_log.time() < workflow.since + gate.seconds - 1.0:
            self.event_log.violation(f"{workflow.name} gate {node} opens before it has slept for {gate.seconds} s")

    def _tell_answers(self, workflow: Workflow) -> None:
        """What follows from them, also for the executions around it."""
        workflow.prediction.answered(workflow.answers)
        if (parent := workflow.parent) is not None:
            parent.answers.update({f"{workflow.node}/{gate}": value for gate, value in workflow.answers.items()})
            self._tell_answers(parent)


def _uid_in(answer: dict[str, Any]) -> str:
    """The uid of what a delete was for."""
    return str(answer.get("details", {}).get("uid") or answer.get("metadata", {}).get("uid") or "")


class Watched:
    """An interceptor around another: tells the truth of what was done, whatever the client gets to see of it."""

    def __init__(self, oracle: Oracle, who: str, link: FaultyLink) -> None:
        self._oracle = oracle
        self._who = who
        self.link = link

    async def exchange(self, request: Request, forward: Forward) -> Response:
        async def seen(passed: Request) -> Response:
            response = await forward(passed)
            self._oracle.applied(self._who, passed, response)
            return response

        try:
            response = await self.link.exchange(request, seen)
        except PropellerError:
            self._oracle.failed(request)
            raise
        if response.status >= 400:
            self._oracle.failed(request)
        return response

    def stream(self, request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self.link.stream(request, chunks)
