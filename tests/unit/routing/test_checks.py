"""A table that contradicts itself is refused, with everything that is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from propeller.routing import Access, Capacity, Cluster, InvalidTable, Pool, SecretReference, State, Table
from propeller.routing._checks import MAX_CLUSTERS, MAX_POOLS, MAX_RULES
from tests.unit.growth import grows_beyond
from tests.unit.routing.tables import ALL, ANY, cluster, clusters, declared, pool, problems, rule

SECRET = SecretReference(namespace="flyte", name="kubeconfig-a")


def test_a_table_of_everything_is_right() -> None:
    assert (
        problems(
            Cluster(name="a", connection=Access(in_cluster=True), capacity=Capacity(pods=0, executions=5)),
            Cluster(name="b", connection=Access(secret=SECRET), labels={"region": "eu", "propeller.dev/x": ""}),
            Cluster(name="c", connection=Access(kubeconfig="/etc/kube/c", context="c"), weight=0.0, priority=-3),
            cluster("d", state=State.BAKE),
            pool("eu", selector="region in (eu, us)"),
            pool("new", "a", "d"),
            pool("c", "c", "a"),
            rule("one", "eu", isolate=True, projects=("ml", "ml-*")),
            rule("two", "new", fallbacks=("c",), resources={"nvidia.com/gpu": 1, "memory": "1.5Gi"}),
            rule("three", "c", launch_plans="*"),
        )
        == []
    )


A = clusters("a", "b")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], ["clusters: there are none", "pools: there are none", "rules: there are none"]),
        ([cluster("A"), ALL, ANY], ["clusters[0].name: 'A' has to be 1 to 63 lower-case letters"]),
        ([cluster(""), ALL, ANY], ["clusters[0].name: '' has to be"]),
        (
            [cluster("a"), Cluster(name="a", connection=Access(context="x")), ALL, ANY],
            ["clusters[1].name: 'a' is the name of clusters[0], too: rename one"],
        ),
        (
            [cluster("a"), Cluster(name="b", connection=Access(context="kind-a")), ALL, ANY],
            ["clusters[1].connection: is that of cluster 'a', too"],
        ),
        (
            [Cluster(name="a", connection=Access()), ALL, ANY],
            ["clusters[0].connection: says nothing: it needs one of kubeconfig (or context), secret, inCluster: true"],
        ),
        (
            [Cluster(name="a", connection=Access(in_cluster=True, secret=SECRET)), ALL, ANY],
            ["clusters[0].connection: has secret and inCluster"],
        ),
        (
            [Cluster(name="a", connection=Access(secret=SecretReference(namespace="", name="x"))), ALL, ANY],
            ["clusters[0].connection.secret.namespace: is empty"],
        ),
        (
            [Cluster(name="a", connection=Access(context="x\ny")), ALL, ANY],
            ["clusters[0].connection.context: has to be one line"],
        ),
        *(
            (
                [cluster("a", weight=weight), cluster("b"), ALL, ANY],
                [f"clusters[0].weight: is {weight:g}: it has to be"],
            )
            for weight in (-1.0, float("nan"), float("inf"), 1e-7, 1e300)
        ),
        ([cluster("a", priority=10**7), ALL, ANY], ["clusters[0].priority: is 10000000: it has to be from"]),
        ([cluster("a", capacity=Capacity(pods=-1)), ALL, ANY], ["clusters[0].capacity.pods: is -1: it has to be 0"]),
        ([cluster("a", labels={"a b": "c"}), ALL, ANY], ["clusters[0].labels.a b: a b='c' is no label"]),
        ([cluster("a", labels={"a": "c,d=e"}), ALL, ANY], ["clusters[0].labels.a: a='c,d=e' is no label"]),
        (
            [*clusters("a", "b", weight=0.0), ALL, ANY],
            ["pools[0]: all its clusters have weight 0: none would ever get work; give one a weight"],
        ),
        (
            [*A, pool("all", "a", "bb"), ANY],
            ["pools[0].clusters[1]: there is no cluster 'bb'; did you mean 'b'?"],
        ),
        ([*A, pool("all", "a", "a"), ANY], ["pools[0].clusters[1]: 'a' is there twice: remove one"]),
        ([*A, Pool(name="all"), ANY], ["pools[0]: needs either clusters or a selector"]),
        ([*A, Pool(name="all", clusters=("a",), selector=""), ANY], ["pools[0]: needs either clusters or a selector"]),
        ([*A, pool("all", selector="a in b"), ANY], ["pools[0].selector: label selector 'a in b' does not parse"]),
        ([*A, pool("all", selector="x=y"), ANY], ["pools[0].selector: selects no cluster"]),
        ([cluster("a", state=State.BAKE), ALL, ANY], ["pools[0].selector: selects no cluster (none that bakes"]),
        ([*A, ALL, ALL, ANY], ["pools[1].name: 'all' is the name of pools[0], too"]),
        ([*A, ALL, rule("r", "al")], ["rules[0].pool: there is no pool 'al'; did you mean 'all'?"]),
        ([*A, ALL, rule("r", "zzz")], ["rules[0].pool: there is no pool 'zzz'; there are all"]),
        (
            [*A, ALL, rule("r", "all", fallbacks=("all", "x", "x"))],
            [
                "rules[0].fallbacks[1]: there is no pool 'x'",
                "rules[0].fallbacks[2]: there is no pool 'x'",
                "rules[0].fallbacks[0]: 'all' is the rule's own pool: name another",
            ],
        ),
        (
            [*A, pool("pa", "a"), pool("pb", "b"), rule("r", "pa", isolate=True, fallbacks=("pb",))],
            ["rules[0].fallbacks: an isolated rule has none"],
        ),
        ([*A, ALL, rule("r", "all", selector="x=")], []),
        ([*A, ALL, rule("r", "all", selector="=x")], ["rules[0].match.selector: label selector"]),
        ([*A, ALL, rule("r", "all", selector="x>1")], ["rules[0].match.selector: label selector"]),
        ([*A, ALL, rule("r", "all", projects="*ml")], ["rules[0].match.projects[0]: '*ml' has to be a name"]),
        ([*A, ALL, rule("r", "all", launch_plans=("a", ""))], ["rules[0].match.launchPlans[1]: '' has to be a name"]),
        ([*A, ALL, rule("r", "all", workflows="x" * 300)], ["rules[0].match.workflows[0]: 'xxx"]),
        ([*A, ALL, rule("r", "all", projects=("x",) * 101)], ["rules[0].match.projects: there are 101, more than 100"]),
        (
            [*A, ALL, rule("r", "all", resources={"cpu": "1x", "memory": 0, "gpu": float("nan")})],
            [
                "rules[0].match.resources.cpu: '1x' is not a quantity",
                "rules[0].match.resources.memory: is 0: it has to be more than 0",
                "rules[0].match.resources.gpu: 'nan' is not a quantity",
            ],
        ),
    ],
)
def test_every_problem_is_named_with_its_field(parts: list[Any], words: list[str]) -> None:
    found = problems(*parts)
    assert len(found) == len(words), found
    for problem, word in zip(found, words, strict=True):
        assert problem.startswith(word)


def test_two_isolated_pools_cannot_share_a_cluster() -> None:
    found = problems(
        *clusters("a", "b", "c"),
        pool("x", "a", "b"),
        pool("y", "b", "c"),
        rule("rx", "x", isolate=True, projects="x"),
        rule("ry", "y", isolate=True, projects="y"),
    )
    assert found == [
        "pools[1]: cluster 'b' is also of pool 'x': both are isolated (by rules 'rx' and 'ry'), so they cannot share it"
    ]


def test_two_rules_may_isolate_one_pool_together() -> None:
    assert (
        problems(
            *A,
            pool("x", "a"),
            pool("y", "b"),
            rule("r1", "x", isolate=True, projects="x"),
            rule("r2", "x", isolate=True, projects="y"),
            rule("any", "y"),
        )
        == []
    )


def test_no_other_rule_or_pool_may_name_what_is_isolated() -> None:
    found = problems(
        *clusters("a", "b", "c", labels={"x": "y"}),
        pool("own", "a"),
        pool("shared", "a", "b"),
        pool("rest", selector="x=y"),
        rule("mine", "own", isolate=True, projects="x"),
        rule("etl", "own", projects="y"),
        rule("ml", "shared", projects="z", fallbacks=("rest", "own")),
    )
    assert found == [
        (
            "pools[1].clusters[0]: 'a' is of the isolated pool 'own' (by rule 'mine'), where nobody else's work may "
            "go: remove it here"
        ),
        "rules[1].pool: pool 'own' is isolated by rule 'mine': name another, or isolate this rule as well",
        "rules[2].fallbacks[1]: pool 'own' is isolated by rule 'mine': name another, or isolate this rule as well",
    ]


def test_a_pool_that_selects_isolated_clusters_alone_is_refused() -> None:
    found = problems(*A, pool("own", "a", "b"), ALL, rule("mine", "own", isolate=True, projects="x"), ANY)
    assert found == ["pools[1]: all clusters that it selects are of isolated pools"]


@pytest.mark.parametrize(
    ("before", "hidden", "by"),
    [
        ([{}], {"projects": "x"}, "rule 'r0'"),
        ([{"projects": "x*"}], {"projects": ("xa", "xb*")}, "rule 'r0'"),
        ([{"projects": "a"}, {"projects": "b"}], {"projects": ("a", "b"), "domains": "d"}, "rules 'r0' and 'r1'"),
        ([{"projects": ("a", "b")}], {"projects": "b", "resources": {"cpu": 1}}, "rule 'r0'"),
        ([{"resources": {"gpu": 1}}], {"resources": {"gpu": "2", "cpu": 1}}, "rule 'r0'"),
        (
            [{"interruptible": True}, {"interruptible": False, "domains": "d"}],
            {"task_types": "spark", "domains": "d"},
            "rules 'r0' and 'r1'",
        ),
        ([{"labels": {"a": "b"}}], {"labels": {"a": "b", "c": "d"}}, "rule 'r0'"),
        ([{"selector": "a in (x, y)"}], {"selector": "a in (y, x), b"}, "rule 'r0'"),
        ([{"selector": "a=x"}, {"selector": "a=y"}], {"selector": "a in (x, y)"}, "rules 'r0' and 'r1'"),
        ([{"selector": "a!=x"}], {"selector": "!a"}, "rule 'r0'"),
        ([{"selector": "a"}], {"labels": {"a": "z"}}, "rule 'r0'"),
        ([{"selector": "a notin (x)"}], {"selector": "a notin (x, y)"}, "rule 'r0'"),
        ([{"task_types": "*"}], {"accelerators": "x"}, "rule 'r0'"),
    ],
)
def test_a_rule_that_nothing_reaches_is_refused(before: list[Any], hidden: dict[str, Any], by: str) -> None:
    rules = [rule(f"r{number}", "all", **match) for number, match in enumerate(before)]
    assert problems(*A, ALL, *rules, rule("hidden", "all", **hidden)) == [
        f"rules[{len(rules)}]: nothing reaches it: all that it matches is matched before by {by}"
    ]


@pytest.mark.parametrize(
    ("before", "reached"),
    [
        ([{"projects": "x"}], {"projects": "x*"}),
        ([{"projects": "x", "domains": "d"}], {"projects": "x"}),
        ([{"interruptible": True}, {"interruptible": False}], {}),
        ([{"interruptible": True}], {"resources": {"gpu": 1}}),
        ([{"resources": {"gpu": 2}}], {"resources": {"gpu": 1}}),
        ([{"selector": "a"}], {"selector": "a!=x"}),
        ([{"selector": "a in (x, y)"}], {"selector": "a"}),
        ([{"selector": "!a"}], {"selector": "a"}),
        ([{"projects": "a"}, {"projects": "b"}], {"projects": ("a", "b", "c")}),
        ([{"labels": {"a": "b"}}], {"labels": {"a": "b"}, "task_types": "*"}),
    ],
)
def test_a_rule_that_something_reaches_is_taken(before: list[Any], reached: dict[str, Any]) -> None:
    rules = [rule(f"r{number}", "all", **match) for number, match in enumerate(before)]
    assert problems(*A, ALL, *rules, rule("reached", "all", **reached)) == []


@pytest.mark.parametrize(
    "match", [{"selector": "a=x,a=y"}, {"selector": "a,!a"}, {"labels": {"a": "x"}, "selector": "a!=x"}]
)
def test_a_rule_that_contradicts_itself_is_refused(match: dict[str, Any]) -> None:
    assert problems(*A, ALL, rule("r", "all", **match), ANY) == [
        "rules[0]: nothing can match it: label a cannot be all that is asked of it"
    ]


def test_numbers_are_bounded() -> None:
    many = clusters(*(f"c{number}" for number in range(MAX_CLUSTERS + 1)))
    assert problems(*many, ALL, ANY) == [f"clusters: there are {MAX_CLUSTERS + 1}, more than {MAX_CLUSTERS}"]
    pools = [pool(f"p{number}", "a") for number in range(MAX_POOLS)]
    assert problems(*A, ALL, *pools, ANY) == [f"pools: there are {MAX_POOLS + 1}, more than {MAX_POOLS}"]
    rules = [rule(f"r{number}", "all", projects=f"p{number}") for number in range(MAX_RULES + 1)]
    assert problems(*A, ALL, *rules) == [f"rules: there are {MAX_RULES + 1}, more than {MAX_RULES}"]


def test_the_error_of_a_table_is_all_of_its_problems_and_no_more_than_a_hundred() -> None:
    wrong = [rule(f"r{number}", "nope", projects=f"p{number}") for number in range(500)]
    with pytest.raises(InvalidTable, match=re.escape("rules[0].pool: there is no pool 'nope'")) as raised:
        Table(declared(*A, ALL, *wrong))
    assert len(raised.value.problems) == 100


def test_checking_costs_in_proportion_to_the_number_of_rules() -> None:
    def check(size: int) -> None:
        rules = [rule(f"r{n}", "all", projects=(f"p{n}", f"q{n}"), selector=f"k in (a{n}, b{n})") for n in range(size)]
        assert problems(*A, ALL, *rules) == []

    assert not grows_beyond(24, lambda: check(100), lambda: check(800))
