"""`propeller routes`: what it prints, its exit codes, and what it says of files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from propeller.cli.__main__ import main
from propeller.cli._routing_subjects import running_of, running_on, whole_resource
from propeller.cli._routing_tables import table_of_cluster
from propeller.controller import FLYTE_WORKFLOWS, workflow_crd
from propeller.embedded.server import ApiServer
from propeller.errors import Invalid, PropellerError
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, Client
from propeller.routing import RAW_ROUTING_TABLES, InvalidTable, parse_table, routing_table_crd

EXAMPLES = Path(__file__).parents[3] / "examples" / "routing"
ROUTES, EXPECTED = str(EXAMPLES / "routes.yaml"), str(EXAMPLES / "expectations.yaml")


@pytest.fixture
def propeller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Call a command; returns its exit code, and what it printed."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["propeller", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def test_every_example_is_a_table() -> None:
    for path in EXAMPLES.glob("rout*.yaml"):
        assert parse_table(path.read_bytes(), path.name).rules


def test_the_examples_meet_their_expectations(propeller: Any) -> None:
    code, out, _ = propeller("routes", "check", ROUTES, EXPECTED)
    assert (code, out) == (0, f"{ROUTES}: 5 clusters, 3 rules, 6 of 6 expectations are met\n")


def test_an_expectation_that_is_not_met_is_exit_code_1(propeller: Any, tmp_path: Path) -> None:
    changed = tmp_path / "routes.yaml"
    changed.write_text(Path(ROUTES).read_text().replace("tier notin (critical)", ""))
    code, out, _ = propeller("routes", "check", str(changed), EXPECTED)
    assert code == 1
    assert (
        "✘ expectation 5 (but nothing critical): expected cluster home or eu-1, rule everything; rule canary: " in out
    )
    code, out, _ = propeller("routes", "check", str(changed), EXPECTED, "--output", "json")
    assert (code, json.loads(out)["differences"][0]["number"]) == (1, 5)


def test_a_wrong_table_is_exit_code_2_with_every_problem_on_a_line(propeller: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "routes.yaml"
    wrong.write_text(Path(ROUTES).read_text().replace("weight: 3 ", "weight: x ").replace("pool: gpu", "pool: cpu"))
    code, _, err = propeller("routes", "check", str(wrong))
    assert code == 2
    assert f"{wrong}: line 10, column 5: clusters[1].weight: has to be a number, and is 'x'\n" in err
    assert "there is no pool 'cpu'; did you mean 'gpu'?\n" in err
    code, _, err = propeller("routes", "check", str(tmp_path / "nowhere.yaml"))
    assert (code, "No such file" in err) == (2, True)


def test_explain_shows_rules_and_scores(propeller: Any) -> None:
    code, out, _ = propeller("routes", "explain", ROUTES, "--project", "ml", "--key", "ml-production/a1")
    assert code == 0
    assert out.startswith("cluster eu-1: rule everything: eu-1, of pool general\n")
    assert "  canary: no: it asks for project platform, and here is project ml\n" in out
    assert "general  eu-1     0         3       5.387   can take it\n" in out


def test_explain_places_a_task_if_an_option_is_about_one(propeller: Any) -> None:
    words = ["routes", "explain", ROUTES, "--resource", "nvidia.com/gpu=1", "--down", "gpu-1", "--output", "json"]
    code, out, _ = propeller(*words)
    found = json.loads(out)
    assert (code, found["placed"], found["outcome"]["rule"]) == (0, False, "gpu-tasks")
    assert found["candidates"][0]["obstacle"] == "is unhealthy (--down)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resource", "gpu"], "--resource 'gpu': write NAME=VALUE"),
        (["--resource", "gpu=x"], "--resource gpu: 'x' is not a quantity"),
        (["--label", "=x"], "--label '=x': write NAME=VALUE"),
        (["--down", "eu-9"], "the table has no cluster 'eu-9'; it has home, eu-1"),
        (["--current", "eu-9"], "the table has no cluster 'eu-9'"),
        (["-f", "nowhere.json"], "nowhere.json cannot be read"),
        (["-f", "nowhere.json", "--project", "x"], "leave the options about the execution and the task out"),
    ],
)
def test_a_wrong_call_of_explain_says_what_to_write(propeller: Any, words: list[str], message: str) -> None:
    code, _, err = propeller("routes", "explain", ROUTES, *words)
    assert (code, message in err) == (2, True), err


def test_simulate_says_what_moves(propeller: Any) -> None:
    words = [ROUTES, str(EXAMPLES / "routing-table.yaml"), "--executions", str(EXAMPLES / "executions.yaml")]
    code, out, _ = propeller("routes", "simulate", *words)
    assert code == 0
    assert out.startswith("5 executions: 1 would move, 0 would wait\n")
    assert "platform-development/b2  eu-2  eu-1  rule everything: eu-1, of pool all\n" in out
    _, out, _ = propeller("routes", "simulate", *words, "--output", "json")
    assert json.loads(out)["moves"][0]["before"] == "eu-2"


def test_simulate_reads_what_kubectl_writes(propeller: Any, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"kind": "List", "items": [resource("a", cluster="eu-2"), resource("b", phase=3)]}))
    _, out, _ = propeller("routes", "simulate", ROUTES, str(EXAMPLES / "routing-table.yaml"), "--executions", str(path))
    assert out.startswith("1 execution: 1 would move")


def resource(name: str, *, cluster: str = "", phase: int = 1, project: str = "ml", **fields: Any) -> dict[str, Any]:
    template = {"id": {"name": "flows.train"}, "type": "pytorch", "container": GPU}
    return {
        "apiVersion": FLYTE_WORKFLOWS.api_version,
        "kind": FLYTE_WORKFLOWS.kind,
        "metadata": {
            "name": name,
            "namespace": f"{project}-production",
            "annotations": {"propeller/launch-plan": "nightly"},
            "labels": {"team": "x"},
        },
        "executionId": {"project": project, "domain": "production", "name": name},
        "spec": {
            "id": f"{project}:production:flows.wf",
            "nodes": {
                "start-node": {"id": "start-node", "kind": "start"},
                "n0": {"id": "n0", "kind": "task", "task": 'resource_type:TASK name:"flows.train" version:"v1"'},
                "end-node": {"id": "end-node", "kind": "end"},
            },
            "edges": {"upstream": {"n0": ["start-node"], "end-node": ["n0"]}},
        },
        "tasks": {'resource_type:TASK name:"flows.train" version:"v1"': template},
        "status": {"phase": phase} | ({"cluster": cluster} if cluster else {}),
        **fields,
    }


GPU = {
    "image": "x",
    "resources": {"requests": [{"name": "GPU", "value": "2"}], "limits": [{"name": "GPU", "value": "2"}]},
}


def test_a_resource_is_an_execution_and_its_tasks() -> None:
    found = whole_resource(json.dumps(resource("a")).encode(), "a.json")
    subject = found.execution
    assert (subject.key, subject.project, subject.domain) == ("ml-production/a", "ml", "production")
    assert (subject.workflow, subject.launch_plan, subject.labels) == ("flows.wf", "nightly", {"team": "x"})
    ((name, task),) = found.tasks
    assert name == "n0 (flows.train)"
    assert task.task is not None
    assert task.task.labels["team"] == "x", "those of its execution"
    assert (task.task.type, {key: int(value) for key, value in task.task.requests.items() if "gpu" in key}) == (
        "pytorch",
        {"nvidia.com/gpu": 2},
    )


def test_explain_places_the_execution_and_the_tasks_of_a_resource(propeller: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(resource("a")))
    code, out, _ = propeller("routes", "explain", ROUTES, "-f", str(path))
    assert code == 0
    assert out.endswith("tasks:\n  n0 (flows.train): cluster gpu-1: rule gpu-tasks: gpu-1, of pool gpu\n")


@pytest.mark.parametrize("content", [b"", b"[]", b"x: y", b'{"spec": 1}', b"{}", b'{"metadata": [], "spec": {}}'])
def test_what_is_no_resource_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        whole_resource(content, "a.json")


def test_a_resource_whose_workflow_is_in_the_object_store_is_refused_by_that_field() -> None:
    away = {**resource("a"), "spec": {"id": "ml:production:flows.wf"}, "workflowClosureReference": "s3://b/c.json"}
    with pytest.raises(Invalid, match=r"a\.json .* \(workflowClosureReference\).* --launch-plan"):
        whole_resource(json.dumps(away).encode(), "a.json")
    found = running_of(away)
    assert found is not None
    assert found.subject.workflow == "flows.wf"


@pytest.mark.parametrize("field", ["metadata", "executionId", "spec", "status"])
def test_a_resource_with_nonsense_in_it_is_an_execution_all_the_same(field: str) -> None:
    values: list[Any] = [None, 1, "x", [], {"phase": "x"}, {"labels": 3, "id": 5, "cluster": 7}]
    for value in values:
        assert running_of({**resource("a"), field: value}) is not None


async def test_executions_and_tables_of_a_cluster_are_read() -> None:
    async with ApiServer() as server:
        client = Client(server.transport())
        with pytest.raises(PropellerError, match="there is no RoutingTable 'routes', or no such type"):
            await table_of_cluster(client, "routes")
        for definition in (workflow_crd(), routing_table_crd()):
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, definition)
        await client.create(NAMESPACES, {"metadata": {"name": "ml-production"}})
        for name, phase in (("a", 1), ("b", 3)):
            created = resource(name)
            await client.create(FLYTE_WORKFLOWS, created, "ml-production")
            body = {"status": {"phase": phase, "cluster": "eu-1"}}
            await client.patch(FLYTE_WORKFLOWS, name, "ml-production", body=body, subresource="status")
        found = [one async for one in running_on(client)]
        assert [(one.subject.key, one.cluster) for one in found] == [("ml-production/a", "eu-1")]
        table = yaml.safe_load((EXAMPLES / "routing-table.yaml").read_text())
        await client.create(RAW_ROUTING_TABLES, table)
        assert list((await table_of_cluster(client, "default")).clusters) == ["home", "eu-1"]
        table["spec"]["rules"][0]["match"] = {"selector": "x=y,x=z"}
        await client.create(RAW_ROUTING_TABLES, table | {"metadata": {"name": "wrong"}})
        with pytest.raises(InvalidTable, match=r"routingtable/wrong: spec.rules\[0\]: nothing can match it"):
            await table_of_cluster(client, "wrong")
