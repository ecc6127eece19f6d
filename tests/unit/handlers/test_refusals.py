"""Creates that the platform refuses: which answers are waited for, how long, and how many are asked for meanwhile."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from propeller.config import LaunchOptions
from propeller.errors import ErrorKind
from propeller.handlers import Gates, RetryAfter, execute
from propeller.handlers.executors._gates import FIRST_TRIES, REASON_CHARACTERS
from propeller.handlers.transitions._task import task_transition
from propeller.kube import Response
from propeller.workflow import (
    BackingOff,
    Continue,
    EffectFailed,
    Fail,
    Launch,
    Launched,
    Launching,
    NodePhase,
    NodeView,
    Refused,
    Start,
    StartAttempt,
    TimerFired,
)
from tests.unit.handlers.build import array, graph, task
from tests.unit.handlers.test_act import Bench

RBAC = 'pods is forbidden: User "p" cannot create resource "pods" in API group "" in the namespace "ns"'


def answer(code: int, reason: str, message: str, *causes: dict[str, str]) -> Response:
    body = {"code": code, "reason": reason, "message": message, "details": {"kind": "pods", "causes": causes}}
    return Response(status=code, body=orjson.dumps(body))


WAITED_FOR = {
    "RBAC": answer(403, "Forbidden", RBAC),
    "credentials": answer(401, "Unauthorized", "Unauthorized"),
    "PodSecurity": answer(403, "Forbidden", 'pods "a" is forbidden: violates PodSecurity "restricted:latest": x'),
    "LimitRange": answer(403, "Forbidden", 'pods "a" is forbidden: maximum cpu usage per Pod is 1, but limit is 2'),
    "service account": answer(403, "Forbidden", 'pods "a" is forbidden: error looking up service account ns/x'),
    "namespace ends": answer(
        403,
        "Forbidden",
        'pods "a" is forbidden: unable to create new content in namespace ns because it is being terminated',
        {"reason": "NamespaceTerminating", "message": "ns is being terminated", "field": "metadata.namespace"},
    ),
    "namespace is not there": answer(404, "NotFound", 'namespaces "ns" not found'),
    "ValidatingAdmissionPolicy": answer(
        422,
        "Invalid",
        "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no pods",
        {"message": "no pods"},
    ),
    "policy that says unauthorized": answer(401, "Unauthorized", 'pods "a" is forbidden: ValidatingAdmissionPolicy'),
    "policy that says too large": answer(413, "RequestEntityTooLarge", 'pods "a" is forbidden: Validating...'),
    "webhook": answer(400, "", 'admission webhook "a.b.c" denied the request: no'),
    "webhook without a word": answer(
        403, "Forbidden", 'admission webhook "a.b.c" denied the request without explanation'
    ),
    "webhook that names fields": answer(
        422,
        "Invalid",
        'admission webhook "a.b.c" denied the request: spec.x: Invalid value',
        {"field": "spec.x", "message": "no"},
    ),
    "webhook with a conflict": answer(409, "AlreadyExists", 'admission webhook "a.b.c" denied the request: no'),
    "webhook with a failure": answer(500, "InternalError", 'admission webhook "a.b.c" denied the request: no'),
    "webhook that is down": answer(
        500, "InternalError", 'Internal error occurred: failed calling webhook "a.b.c": connection refused'
    ),
    "server that is overloaded": answer(503, "ServiceUnavailable", "no"),
    "gateway": Response(status=504, body=b"<html>"),
    "proxy that refuses": Response(status=400, body=b"<html>Bad Request"),
    "unprocessable without fields": answer(422, "Invalid", "the server rejected our request"),
}


@pytest.mark.parametrize("shape", WAITED_FOR)
async def test_what_does_not_say_that_the_pod_is_wrong_is_waited_for(shape: str) -> None:
    of = Launcher()
    (refused,) = await of.launch(WAITED_FOR[shape])
    assert isinstance(refused, Refused)
    assert (refused.refusals.tries, refused.refusals.since) == (1, of.clock.time)


class Launcher(Bench):
    """Steps and effects of the node, or of a map task's items, hand in hand."""

    def __init__(self, items: int = 0, launches: LaunchOptions = LaunchOptions()) -> None:  # noqa: B008 - frozen
        super().__init__(graph(array("n0", task("n0")) if items else task("n0")))
        self.gates = Gates(launches, self.clock, lambda low, high: (low + high) / 2)
        self.services = self._services(self.world.storage)
        if items:
            self.world.blobs["memory://m/e/n0/data/inputs.pb"] = b""
        self.nodes = self.world.open_items("n0", items) if items else [self.world.node("n0")]
        for node in self.nodes:
            self.world.execution.phases[node.number] = NodePhase.RUNNING
            self.world.execution.states[node.number] = Launching(0, self.clock.time)

    async def launch(self, *answers: Response, node: NodeView | None = None) -> Any:
        node = node or self.nodes[0]
        self.server.answers = list(answers)
        found = await execute(node, Launch(node.number, 0), self.services)
        assert not isinstance(found, RetryAfter)
        return found

    def hear(self, event: Any, node: NodeView | None = None) -> Any:
        node = node or self.nodes[0]
        states = self.world.execution.states
        found = task_transition(node, states[node.number], event, self.clock.time)
        assert found is not None
        if isinstance(found, Continue | StartAttempt):
            states[node.number] = found.state
        return found

    @property
    def creates(self) -> int:
        return len(self.server.requests)


async def test_an_attempt_waits_ever_longer_and_keeps_count() -> None:
    of, pauses = Launcher(), []
    for _ in range(9):
        (refused,) = await of.launch(WAITED_FOR["RBAC"])
        of.hear(refused)
        pauses.append(refused.after)
        of.clock.time += refused.after
        of.hear(TimerFired())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    state = of.world.execution.states[of.nodes[0].number]
    assert isinstance(state, Launching)
    assert (state.attempt, state.refusals.tries, state.refusals.since) == (0, 9, 1000.0)
    assert RBAC in state.refusals.reason
    (launched,) = await of.launch()
    assert launched == Launched(0)


async def test_statuses_say_of_few_tries_that_they_were_made() -> None:
    of, told = Launcher(), []
    for tries in range(1, 20):
        (refused,) = await of.launch(WAITED_FOR["RBAC"])
        if of.hear(refused).checkpoint:
            told.append(tries)
        of.clock.time += refused.after
        assert not of.hear(TimerFired()).checkpoint
    assert told == [1, 2, 4, 8, 16]


async def test_an_operators_limit_ends_the_node_by_the_systems_fault_and_without_another_attempt() -> None:
    of = Launcher(launches=LaunchOptions(limit=100.0))
    while True:
        (found,) = await of.launch(WAITED_FOR["webhook that is down"])
        transition = of.hear(found)
        if isinstance(found, EffectFailed):
            break
        of.clock.time += found.after
        of.hear(TimerFired())
    assert 100 <= of.clock.time - 1000 < 200
    assert isinstance(transition, Fail)
    assert (transition.failure.code, transition.failure.kind) == ("RuntimeFailure", ErrorKind.SYSTEM)
    assert "failed calling webhook" in transition.failure.message


async def test_a_long_wait_for_a_quota_does_not_count_for_the_limit_of_denials() -> None:
    of = Launcher(launches=LaunchOptions(limit=100.0))
    for _ in range(50):
        (refused,) = await of.launch(answer(403, "Forbidden", 'pods "a" is forbidden: exceeded quota: q'))
        assert refused.after == 5.0
        of.hear(refused)
        of.clock.time += refused.after
        of.hear(TimerFired())
    (refused,) = await of.launch(WAITED_FOR["RBAC"])
    assert isinstance(refused, Refused)
    assert (refused.refusals.tries, refused.refusals.denied) == (51, of.clock.time)


async def test_a_refusals_text_is_kept_in_part() -> None:
    of = Launcher()
    (refused,) = await of.launch(answer(403, "Forbidden", f"pods is forbidden: {'x' * 100_000}"))
    assert len(refused.reason) == REASON_CHARACTERS


async def test_thousands_of_pods_that_are_refused_ask_one_after_the_other_and_go_when_one_is_allowed() -> None:
    of = Launcher(items=2000)
    due = dict.fromkeys(range(2000), of.clock.time)

    async def until(time: float, reply: Response | None) -> None:
        while due and (next_time := min(due.values())) <= time:
            of.clock.time = max(of.clock.time, next_time)
            item = min(due, key=lambda item: (due[item], item))
            node = of.nodes[item]
            if isinstance(of.world.execution.states[node.number], BackingOff):
                of.hear(TimerFired(), node)
            (found, *_) = await of.launch(*([reply] if reply is not None else []), node=node)
            of.hear(found, node)
            if isinstance(found, Refused):
                due[item] = of.clock.time + found.after
            else:
                del due[item]

    await until(1000.0 + 3600, WAITED_FOR["RBAC"])
    assert FIRST_TRIES <= of.creates < 3 * 60 + 50  # two gates, about one try a minute each
    before = of.creates
    await until(1000.0 + 3600 + 180, None)
    assert not due
    assert len(of.server.objects) == 2000
    assert of.creates - before < 2010


async def test_an_execution_that_is_refused_holds_up_no_other() -> None:
    of, other = Launcher(items=100), Launcher()
    for node in of.nodes:
        (found,) = await of.launch(WAITED_FOR["PodSecurity"], node=node)
        of.hear(found, node)
    assert of.creates == FIRST_TRIES
    other.gates = of.gates
    other.services = other._services(other.world.storage)
    other.world.execution.info = other.world.execution.info.__class__(
        **{f: getattr(other.world.execution.info, f) for f in other.world.execution.info.__struct_fields__}
        | {"uid": "b"}
    )
    assert await other.launch() == (Launched(0),)


async def test_the_first_event_of_a_node_that_waits_is_not_a_refusal() -> None:
    of = Launcher()
    of.world.execution.states.clear()
    found = task_transition(of.nodes[0], None, Start(), of.clock.time)
    assert isinstance(found, StartAttempt)
    assert isinstance(found.state, Launching)
    assert not found.state.refusals.tries
