"""What the measurement of fairness computes from what it has seen, and its picture."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadtest import _shares
from loadtest._fairness_model import Cluster, flooded, small_waits
from loadtest._fairness_picture import Panel, check, draw
from loadtest._flood import SMALL, WEIGHTS
from loadtest._hollow_kubelet import HollowKubelet
from loadtest._line import Line
from loadtest._shares import Span
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid
from propeller.kube import NAMESPACES, PODS, Client, Raw
from propeller.testing import eventually

PERFECT = {name: 10 * weight for name, weight in WEIGHTS.items()}


def test_slot_seconds_are_those_within_the_window() -> None:
    spans = [Span("a", 0.0, 10.0), Span("a", 8.0, 9.0), Span("b", 11.0, 20.0), Span("b", 4.0, 5.5)]
    assert _shares.busy(spans, 5.0, 12.0) == {"a": 6.0, "b": 1.5}


def test_ideal_shares_have_no_distance_and_an_index_of_one() -> None:
    assert _shares.distances(PERFECT, WEIGHTS) == pytest.approx(dict.fromkeys(WEIGHTS, 0.0))
    assert _shares.jain(PERFECT, WEIGHTS) == pytest.approx(1.0)


def test_a_tenant_that_gets_all_is_as_unfair_as_it_can_be() -> None:
    assert _shares.jain({"one": 5.0}, WEIGHTS) == pytest.approx(1 / 3)
    assert _shares.distances({"one": 5.0}, WEIGHTS) == pytest.approx({"one": 6.0, "two": -1.0, "four": -1.0})
    assert _shares.jain({}, WEIGHTS) == 0.0
    assert set(_shares.distances({}, WEIGHTS).values()) == {-1.0}


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 100.0)])
def test_quantiles(share: float, value: float) -> None:
    assert _shares.quantile([float(number) for number in range(100, 0, -1)], share) == value
    assert _shares.quantile([], share) == 0.0


def test_shares_over_time_add_up_to_one_while_something_runs() -> None:
    spans = [Span("one", 0.0, 2.0), Span("four", 1.0, 3.0), Span("another", 0.0, 9.0)]
    found = _shares.over_time(spans, WEIGHTS, 4.0, 1.0)
    assert found == {"one": [1.0, 0.5, 0.0, 0.0], "two": [0.0] * 4, "four": [0.0, 0.5, 1.0, 0.0]}


def test_the_model_never_runs_more_than_there_are_slots_and_leaves_none_idle() -> None:
    cluster = flooded(3_000, 40, 20.0, together=False)
    for time in (21.0, 33.3, 100.0):
        running = sum(span.began <= time < span.ended for span in cluster.spans)
        assert running == 40


def test_the_model_counts_the_wait_of_a_small_tenant_from_its_submission() -> None:
    cluster = Cluster(4, 10.0)
    cluster.submit("flood", 12)
    cluster.run(5.0)
    cluster.submit(SMALL, 1)
    cluster.run(40.0)
    assert cluster.waits == [5.0]


def test_turns_spare_a_small_tenant_the_flood() -> None:
    fair = small_waits(1_000, 40, 20.0, is_fair=True)
    fifo = small_waits(1_000, 40, 20.0, is_fair=False)
    assert max(fair[1:]) <= 20.0 / 40 + 1e-9, "the next slot that comes free, but for the first turn of all"
    assert max(fifo) > 100 * max(fair)


def test_a_line_has_limits_on_both_sides() -> None:
    assert Line(name="a", value=3.0, unit="", at_least=2.0, budget=4.0).within
    assert not Line(name="a", value=1.0, unit="", at_least=2.0).within
    assert Line(name="a", value=1.0, unit="", at_least=2.0).row().endswith("(at least 2, MISSED)")


def test_a_picture_of_an_unknown_kind_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="its name has to end with"):
        check(tmp_path / "fairness.txt")


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_picture_shows_every_run(tmp_path: Path, suffix: str) -> None:
    if os.environ.get("CI") != "true":
        pytest.importorskip("matplotlib", reason="matplotlib is not here; get it with: make setup-dev")
    spans = [Span(name, 0.0, 5.0) for name in WEIGHTS]
    panels = [Panel.of(f"run {number}", spans, (0.0, 5.0), 1.0, WEIGHTS) for number in range(3)]
    draw(tmp_path / f"fairness{suffix}", panels, WEIGHTS)
    drawn = (tmp_path / f"fairness{suffix}").read_bytes()
    assert len(drawn) > 10_000
    if suffix == ".svg":
        assert b"run 2" in drawn


async def test_the_hollow_kubelet_leaves_gated_pods_alone_and_ends_all_others() -> None:
    body = {"spec": {"containers": [{"name": "main", "image": "i"}]}}
    gated = {"spec": {**body["spec"], "schedulingGates": [{"name": "a.b/c"}]}}
    async with ApiServer() as server:
        client = Client(server.transport())
        await client.create(NAMESPACES, {"metadata": {"name": "one"}})
        kubelet = HollowKubelet(client, ("one",), lambda namespace: 0.0)
        async with kubelet.running():
            for name, of in (("free", body), ("held", gated)):
                await client.create(PODS.typed(Raw), {"metadata": {"name": name}, **of}, "one")
            await eventually(lambda: "one/free" in kubelet.reported)
            assert ("one/held" in kubelet.appeared, "one/held" in kubelet.began) == (True, False)
            assert [span.tenant for span in kubelet.all_spans()] == ["one"]
            await client.patch(PODS.typed(Raw), "held", "one", body={"spec": {"schedulingGates": None}})
            await eventually(lambda: "one/held" in kubelet.reported)
