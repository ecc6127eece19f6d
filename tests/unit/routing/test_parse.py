"""Tables as people write them: read whole or refused, with the line and the column of everything that is wrong."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import ErrorKind
from propeller.routing import InvalidTable, Problem, State, parse_table, table_of
from propeller.routing._yaml import MAX_BYTES
from tests.examples import examples

TABLE = """\
clusters:
  - name: a
    connection: {kubeconfig: /etc/a, context: a}
    state: cordoned
    weight: 2
    priority: 1
    labels: {region: eu}
    capacity: {pods: 100, executions: 10}
  - name: b
    connection: {secret: {namespace: flyte, name: kubeconfig-b}}
  - name: c
    connection: {inCluster: true}
pools:
  - {name: eu, selector: region=eu}
  - {name: rest, clusters: [b, c]}
rules:
  - name: training
    match:
      projects: [ml]
      launchPlans: ["nightly-*"]
      taskTypes: [pytorch]
      resources: {nvidia.com/gpu: 2}
      interruptible: false
    pool: eu
    isolate: true
  - {name: any, pool: rest}
"""


def refused(text: str | bytes, source: str = "") -> list[str]:
    with pytest.raises(InvalidTable) as raised:
        parse_table(text if isinstance(text, bytes) else text.encode(), source)
    return str(raised.value).splitlines()


def test_a_file_is_read_as_it_stands() -> None:
    found = parse_table(TABLE.encode()).declared
    assert [one.name for one in found.clusters] == ["a", "b", "c"]
    first = found.clusters[0]
    assert (first.state, first.weight, first.priority, first.labels) == (State.CORDONED, 2.0, 1, {"region": "eu"})
    assert (first.capacity.pods, first.connection.kubeconfig, first.connection.context) == (100, "/etc/a", "a")
    secret = found.clusters[1].connection.secret
    assert secret is not None
    assert (secret.namespace, secret.name, secret.key) == ("flyte", "kubeconfig-b", "kubeconfig")
    assert found.clusters[2].connection.in_cluster
    match = found.rules[0].match
    assert (match.launch_plans, match.task_types, match.resources) == (
        ("nightly-*",),
        ("pytorch",),
        {"nvidia.com/gpu": 2},
    )
    assert match.interruptible is False
    assert found.rules[0].isolate


def test_a_resource_and_its_json_are_read_as_well() -> None:
    spec = yaml.safe_load(TABLE)
    resource = {"apiVersion": "propeller.dev/v1alpha1", "kind": "RoutingTable", "metadata": {"name": "x"}, "spec": spec}
    expected = parse_table(TABLE.encode()).declared
    assert parse_table(json.dumps(resource).encode()).declared == expected
    assert parse_table(yaml.safe_dump(resource).encode()).declared == expected
    assert table_of(spec).declared == expected


def test_all_that_is_wrong_is_said_in_the_order_of_the_text() -> None:
    text = TABLE.replace("weight: 2", "weight: x").replace("[b, c]", "[b, d]").replace("pool: eu", "pool: us")
    text = text.replace("taskTypes: [pytorch]", "taskType: pytorch").replace("cordoned", "x")
    assert refused(text, "t.yaml") == [
        "t.yaml: line 4, column 5: clusters[0].state: has to be active, cordoned, draining or bake, and is 'x'",
        "t.yaml: line 5, column 5: clusters[0].weight: has to be a number, and is 'x'",
        "t.yaml: line 15, column 32: pools[1].clusters[1]: there is no cluster 'd'; there are a, b, c",
        "t.yaml: line 21, column 7: rules[0].match.taskType: there is no field 'taskType'; did you mean taskTypes?",
        "t.yaml: line 24, column 5: rules[0].pool: there is no pool 'us'; there are eu, rest",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, column 1: has to be an object, and is nothing"),
        ("just text", "line 1, column 1: has to be an object, and is 'just text'"),
        ("[1, 2]", "line 1, column 1: has to be an object, and is a list"),
        ("clusters: [", "the text cannot be read: "),
        ("a: b: c", "line 1, column 5: the text cannot be read: "),
        ("\x00", "the text cannot be read"),
        (b"\xff\xfe\xfa", "the text cannot be read"),
        ("--- {}\n--- {}", "the text cannot be read"),
        ("clusters: {a: b}", "line 1, column 1: clusters: has to be a list, and is an object"),
        ("clusters: [x]", "line 1, column 12: clusters[0]: has to be an object, and is 'x'"),
        ("clusters: [{connection: {inCluster: true}}]", "line 1, column 12: clusters[0]: name is missing"),
        ("clusters: [{name: a}]", "line 1, column 12: clusters[0]: connection is missing"),
        ("clusters: [{name: 1, connection: {}}]", "clusters[0].name: has to be text, and is 1"),
        ("clusters: [{name: a, connection: {inCluster: yes please}}]", "has to be true or false, and is 'yes please'"),
        ("clusters: [{name: a, name: b}]", "line 1, column 22: clusters[0].name: is there twice: remove one"),
        ("rules: []\npools: []\nrules: []", "line 3, column 1: rules: is there twice: remove one"),
        ("clusters: [{name: a, capacity: {pods: 1.5}}]", "capacity.pods: has to be a whole number, and is 1.5"),
        ("clusters: [{name: a, priority: 1e400}]", "clusters[0].priority: has to be a whole number, and is "),
        ("clusters: [{name: a, weight: 1%s}]" % ("0" * 5000), "clusters[0].weight: has to be a number"),
        ("clusters: [{name: a, labels: {x: 2026-01-01, y: 1:30, z: 5}}]", "clusters[0].labels.z: has to be text"),
        ("clusters: [{name: a, labels: {x: [y]}}]", "clusters[0].labels.x: has to be text, and is a list"),
        ("clusters: [{name: a, 1: 2}]", "clusters[0].1: there is no field '1'"),
        ("clusters: [{? [a] : b}]", "a field's name has to be text"),
        ("x: &x {a: b}\nclusters: [{<<: *x}]", "merge keys (<<) are not read"),
        ("rules: [{name: a, pool: b, match: null}]\nclusters: ~", "clusters: there are none"),
        ("rules: [{name: a, pool: b, match: {interruptible: maybe}}]", "has to be true or false, and is 'maybe'"),
        ("rules: [{name: a, pool: b, match: {projects: ml}}]", "match.projects: has to be a list, and is 'ml'"),
        ("rules: [{name: a, pool: b, match: {projects: [1]}}]", "match.projects[0]: has to be text, and is 1"),
        ("rules: [{name: a, pool: b, match: {resources: {gpu: [1]}}}]", "has to be text, a whole number or a number"),
        ("rules: !!python/object:os.system [x]", "rules"),
        ("apiVersion: v1\nkind: ConfigMap", "is no RoutingTable of propeller.dev/v1alpha1"),
        ("apiVersion: propeller.dev/v1alpha1\nkind: RoutingTable", "spec: has to be an object, and is nothing"),
        (f"# {'x' * MAX_BYTES}", f"more than {MAX_BYTES}"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: Any, words: str) -> None:
    found = refused(text)
    assert any(words in line for line in found), found


def test_an_error_is_the_operators_and_shows_no_control_characters() -> None:
    with pytest.raises(InvalidTable) as raised:
        parse_table(b'clusters: [{name: "a\\e[31m", "x\\e[0m": 1}]\n')
    assert raised.value.kind is ErrorKind.USER
    assert "\x1b" not in str(raised.value)


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(15)]
    bomb = "\n".join(lines)
    assert "stands for more than 100000 values" in refused(bomb)[0]


def test_an_alias_that_holds_itself_is_refused() -> None:
    assert "nested deeper than 20 levels" in refused("clusters: &a [*a]")[0]


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 50_000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert any(word in refused(text)[0] for word in ("nested deeper", "the text cannot be read"))


def test_aliases_may_be_used() -> None:
    text = TABLE.replace("labels: {region: eu}", "labels: &l {region: eu}").replace(
        "clusters: [b, c]", "selector: '!x'"
    )
    text = text.replace("  - name: b\n", "  - name: b\n    labels: *l\n")
    assert parse_table(text.encode()).declared.clusters[1].labels == {"region": "eu"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "clusters",
                    "pools",
                    "rules",
                    "name",
                    "pool",
                    "match",
                    "connection",
                    "labels",
                    "weight",
                    "selector",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON)
@examples(300)
def test_any_document_is_a_table_or_is_refused(document: Any) -> None:
    with contextlib.suppress(InvalidTable):
        table_of(document)
    with contextlib.suppress(InvalidTable):
        parse_table(yaml.safe_dump(document).encode())


@given(st.data())
@examples(300)
def test_a_table_with_one_thing_replaced_is_a_table_or_is_refused_at_that_place(data: Any) -> None:
    lines = TABLE.splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    begin, _, _ = lines[place].partition(": ")
    value = data.draw(st.sampled_from(["-1", "[]", "{}", "null", "x", "true", ".nan", "2026-01-01", "''", "0x1F", "*"]))
    lines[place] = f"{begin}: {value}"
    found: tuple[Problem, ...] = ()
    try:
        parse_table("\n".join(lines).encode())
    except InvalidTable as error:
        found = error.problems
    assert all(0 < problem.line <= len(lines) + 1 for problem in found)


@given(st.binary(max_size=60), st.integers(0, len(TABLE)), st.integers(0, 40))
@examples(300)
def test_a_text_with_anything_written_into_it_is_a_table_or_is_refused(noise: bytes, place: int, over: int) -> None:
    with contextlib.suppress(InvalidTable):
        parse_table(TABLE.encode()[:place] + noise + TABLE.encode()[place + over :])
