"""Plans of resources that were just built: equal to those of the whole document, and never decoded at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from propeller.errors import Invalid
from propeller.workflow import Plan, parse_plan, plan_of_built
from propeller.workflow import _built as module
from tests.unit.workflow.drive import TASK, graph, task
from tests.unit.workflow.test_time_limits import branch, mapped, sub


def built(count: int, **fields: Any) -> dict[str, Any]:
    """A chain of nodes, and one of each kind."""
    nodes = [task(f"n{i}", inputBindings=[{"var": "a", "binding": {"scalar": {}}}]) for i in range(count)]
    edges = [(f"n{i}", f"n{i + 1}") for i in range(count - 1)]
    root = graph(*nodes, branch(), task("yes"), task("no"), edges=edges, onFailure=task("clean"), **fields)
    inner = graph(mapped(), onFailurePolicy=1)
    outer = graph(sub())
    return {"spec": root, "tasks": {"t": TASK}, "subWorkflows": {"inner": inner, "outer": outer}}


def shown(plan: Plan) -> list[Any]:
    graphs = [plan.root, *(plan.sub_workflows[key] for key in sorted(plan.sub_workflows))]
    return [
        (g.nodes, g.downstream, list(g.unmet), g.entries, g.cases, g.end, g.failure, g.policy, g.bindings(0))
        for g in graphs
    ] + [plan.digest, plan.task("t")]


@pytest.mark.parametrize("count", [1, module.BATCH - 1, 3 * module.BATCH])
def test_a_plan_in_batches_is_that_of_the_whole_document(count: int) -> None:
    resource = built(count)
    assert shown(plan_of_built(resource, "d")) == shown(parse_plan(msgspec.json.encode(resource), "d"))


def test_no_call_of_a_codec_handles_more_with_more_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def largest(count: int) -> int:
        sizes: list[int] = []

        def recorded(value: Any) -> bytes:
            encoded = msgspec.json.encode(value)
            sizes.append(len(encoded))
            return encoded

        monkeypatch.setattr(module, "_encode", recorded)
        plan_of_built(built(count), "d")
        return max(sizes)

    assert largest(20 * module.BATCH) < 1.2 * largest(2 * module.BATCH)


def test_a_bad_field_is_named_as_in_the_whole_document() -> None:
    resource = built(2)
    resource["spec"]["nodes"]["n1"]["task"] = 3
    with pytest.raises(Invalid, match=r"spec\.nodes\.n1\.task"):
        plan_of_built(resource, "d")
