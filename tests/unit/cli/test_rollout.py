"""What `propeller rollout` shows and asks for, of groups that anybody may have written to."""

from __future__ import annotations

import msgspec
import pytest

from propeller.cli._rollout import _by_clusters, _document, _lines, _other_version, _version_that_runs
from propeller.errors import Invalid
from propeller.reconcile.rollouts import Counts, Observed, RolloutOptions, Share, begin
from propeller.reconcile.shards import GroupView, ShardMap
from propeller.routing import parse_table

MAP = ShardMap(
    3,
    members=("m1", "m2"),
    holders={0: "m1", 1: "m1", 2: "m2"},
    wanted={0: "m1", 1: "m1", 2: "m2"},
    versions={"m1": "1.0", "m2": "2.0"},
    rollout=begin("2.0", "1.0", {}, 3, RolloutOptions(), 1000.0),
)
VIEW = GroupView(
    MAP, {"m1": "pod-a", "m2": "pod-b"}, {"m2": Counts({"failed reconciles": Share(1, 20)}, done={"ended nodes": 7})}
)


def test_the_status_says_the_stage_and_what_each_version_holds_and_has_done() -> None:
    assert list(_lines(VIEW)) == [
        "2.0 over 1.0: baking, stage 1 of 3: stage 1 of 3 has begun",
        "to go on it waits for members of 2.0 that hold its shards, 1 in this stage",
        "VERSION  SHARDS  MEMBER  SINCE IT BEGAN",
        "1.0      2       pod-a",
        "2.0      1       pod-b   1 of 20 failed reconciles, 7 ended nodes",
    ]


def test_as_json_it_has_the_same() -> None:
    found = _document(VIEW)
    assert found["rollout"]["state"] == "baking"
    assert found["rollout"]["shards"] == [0]
    assert found["members"][1]["counts"] == {"failed reconciles": [1, 20]}


def test_the_status_says_what_a_stage_waits_for_by_what_was_noted() -> None:
    assert MAP.rollout is not None
    noted = Observed(seconds=900.0, waited=900.0, candidate={"work": Share(0, 8)}, current={"work": Share(0, 9000)})
    rollout = msgspec.structs.replace(MAP.rollout, noted=noted)
    view = GroupView(msgspec.structs.replace(MAP, rollout=rollout))
    assert list(_lines(view))[1] == "to go on it waits for 50 work, of which there are 8"
    assert _document(view)["rollout"]["waitsFor"] == "50 work, of which there are 8"


def test_no_rollout_is_no_rollout() -> None:
    view = GroupView(ShardMap(3, members=("m1",)))
    assert list(_lines(view)) == ["no rollout", "VERSION  SHARDS  MEMBER  SINCE IT BEGAN", "-        0       m1"]
    assert _document(view)["rollout"] is None


def test_what_others_wrote_stays_in_its_line() -> None:
    evil = ShardMap(3, members=("m1",), versions={"m1": "1\n\x1b[31mred"})
    assert all("\n" not in line and "\x1b" not in line for line in _lines(GroupView(evil, {"m1": "a\nb"})))


def test_the_versions_are_found_or_asked_for() -> None:
    assert _version_that_runs(VIEW) == "1.0"
    assert _other_version(VIEW, "1.0") == "2.0"
    with pytest.raises(Invalid, match=r"--to VERSION: beside 2.0 there are \['1.0', '3.0'\]"):
        _other_version(GroupView(ShardMap(3, versions={"a": "1.0", "b": "2.0", "c": "3.0"})), "2.0")
    with pytest.raises(Invalid, match="--from VERSION"):
        _version_that_runs(GroupView(ShardMap(3, holders={0: "a"})))


ROUTES = parse_table(
    b"""
clusters:
  - {name: eu, priority: 2, connection: {inCluster: true}}
  - {name: us, priority: 1, connection: {context: us}}
  - {name: new, priority: 3, state: bake, connection: {context: new}}
pools: [{name: all, clusters: [eu, us, new]}]
rules: [{name: all, pool: all}]
"""
)


def test_by_clusters_the_one_that_bakes_comes_first_and_then_the_lowest_priority() -> None:
    view = GroupView(ShardMap(20, named=("cluster-eu", "cluster-us", "cluster-new")))
    assert _by_clusters(view, ROUTES) == [19, 18, 17]
    assert _by_clusters(view, None) == [17, 18, 19]
    assert _by_clusters(GroupView(ShardMap(20)), ROUTES) == []


def test_a_cluster_with_a_shard_that_is_not_in_the_table_is_named() -> None:
    with pytest.raises(Invalid, match=r"mars of shards\.clusters is not in the routing table"):
        _by_clusters(GroupView(ShardMap(20, named=("cluster-mars", "cluster-eu"))), ROUTES)


def test_the_status_says_in_which_clusters_a_version_is_tried() -> None:
    rollout = begin("2.0", "1.0", {}, 4, RolloutOptions(), 1000.0, first=(3,))
    view = GroupView(ShardMap(4, named=("cluster-eu",), rollout=rollout))
    assert list(_lines(view))[1] == "it is to run the executions of eu"
    assert _document(view)["rollout"]["clusters"] == ["eu"]
