"""What a change of the table would do."""

from __future__ import annotations

from propeller.routing import ClusterState, Running, State, simulate
from tests.unit.routing.tables import ALL, ANY, cluster, clusters, execution, placed, pool, rule, table

RUNNING = [Running(execution(f"ns/{number}")) for number in range(1000)]
TWO = table(*clusters("a", "b"), ALL, ANY)


def test_a_new_cluster_moves_nothing_that_runs_and_gets_its_share_of_what_is_new() -> None:
    three = table(*clusters("a", "b", "c"), ALL, ANY)
    found = simulate(TWO, three, RUNNING, {})
    assert found.moves == ()
    by_name = {share.cluster: share for share in found.shares}
    assert (by_name["c"].before, by_name["c"].after) == (0, 0)
    assert 270 < by_name["c"].anew < 400
    assert by_name["a"].before + by_name["b"].before == 1000


def test_draining_moves_what_that_cluster_has_and_no_more() -> None:
    drained = table(cluster("a", state=State.DRAINING), cluster("b"), ALL, ANY)
    found = simulate(TWO, drained, RUNNING, {})
    on_a = sum(placed(TWO, one.subject) == "a" for one in RUNNING)
    assert len(found.moves) == on_a
    assert {(move.before, move.after) for move in found.moves} == {("a", "b")}
    assert [(share.cluster, share.after) for share in found.shares] == [("a", 0), ("b", 1000)]


def test_the_cluster_that_an_execution_has_goes_before_the_one_that_the_old_table_would_choose() -> None:
    found = simulate(TWO, TWO, [Running(execution("ns/1"), "b"), Running(execution("ns/1"), "gone")], {})
    assert [(move.before, move.after) for move in found.moves] == [("gone", placed(TWO, execution("ns/1")))]
    assert {share.cluster for share in found.shares} == {"a", "b", "gone"}


def test_what_would_wait_is_counted() -> None:
    strict = table(*clusters("a", "b"), pool("pa", "a"), rule("ml", "pa", projects="ml"))
    found = simulate(TWO, strict, RUNNING[:10], {})
    assert (found.waiting, len(found.moves)) == (10, 10)
    assert all(move.after == "" and move.reason.startswith("no rule") for move in found.moves)
    unplaced = simulate(None, strict, RUNNING[:10], {"a": ClusterState(healthy=False)})
    assert (unplaced.unplaced, unplaced.waiting, unplaced.moves) == (10, 10, ())
