"""The same examples by `propeller controller` on a real API server, with the rights of `propeller install` alone.

The project's kubelet is the cluster's node.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml

from propeller.config import KubeletOptions, Settings
from propeller.embedded import run_kubelet
from propeller.kube import connect
from propeller.testing import NOBODY_TOKEN, KubeApiserver, run_kube_apiserver
from tests import assets
from tests.e2e.conftest import EXAMPLES, PROPELLER, locally
from tests.e2e.test_run_examples import IN_DOCKER, RUNS, options
from tests.processes import told_to_end

NAMESPACE = "flytesnacks-development"

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs("kube-apiserver")]


class Cluster(msgspec.Struct, frozen=True):
    """The real server, and how its operator, and the controller, reach it."""

    operator: Path
    controller: Path
    storage: Path


async def output_of(*words: object, stdin: bytes = b"") -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, f"{words}: {err.decode()}"
    return out.decode()


async def kubectl(cluster: Path, *words: str | Path, stdin: bytes = b"") -> str:
    return await output_of(
        assets.binary("kubectl"), "--kubeconfig", cluster, "--cache-dir", cluster.parent, *words, stdin=stdin
    )


@asynccontextmanager
async def controller(cluster: Cluster, namespace: str = NAMESPACE) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        PROPELLER,
        *("controller", "--kubeconfig", cluster.controller, "--metrics-port", "0"),
        *("--namespace", namespace, "--elect" if namespace == NAMESPACE else "--no-elect"),
        *("--metadata-prefix", f"file://{cluster.storage}"),
        env={**os.environ, "PROPELLER_RAW_CONTAINERS__IMAGE": "propeller"},  # the node needs none
        stderr=subprocess.PIPE,
    )
    async with told_to_end(process):
        yield process


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    """A server of our own: the kubelet here runs the pods of a whole cluster, and other tests leave some in theirs that
    crash for ever, and would take all of its places.
    """
    with run_kube_apiserver(tmp_path_factory.mktemp("own-server")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(own_server: KubeApiserver, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Installed as the README says; the controller has a token of the service account that the manifests make."""
    home = tmp_path_factory.mktemp("cluster")
    operator = own_server.kubeconfig(home / "operator")
    manifests = await output_of(PROPELLER, "install", "--print")
    await kubectl(operator, "apply", "-f", "-", stdin=manifests.encode())
    await kubectl(operator, "wait", "--for=condition=Established", "crd/flyteworkflows.flyte.lyft.com")
    await kubectl(operator, "create", "namespace", NAMESPACE)
    token = (await kubectl(operator, "create", "token", "propeller", "-n", "flyte")).strip()
    document = yaml.safe_load(operator.read_text())
    document["users"][0]["user"] = {"token": token}
    document["contexts"][0]["context"]["namespace"] = "flyte"
    (home / "controller").write_text(yaml.safe_dump(document))
    settings = Settings(kubelet=KubeletOptions(python=sys.executable, project=str(EXAMPLES)))
    cluster = Cluster(operator, home / "controller", home / "storage")
    async with (
        connect(own_server.connection()) as client,
        run_kubelet(client, home / "kubelet", settings, node_name="node-of-this-machine"),
    ):
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(cluster: Cluster) -> AsyncIterator[Cluster]:
    async with controller(cluster):
        yield cluster


async def create(
    cluster: Cluster, example: str, workflow: str, inputs: dict[str, Any], namespace: str = NAMESPACE, *words: str
) -> str:
    """Compile an example and create it, as a user would; returns the execution's name. `words` go to `compile`."""
    resource = await output_of(
        *(PROPELLER, "compile", EXAMPLES / f"{example}.py", workflow, *options(inputs)),
        *("--raw-output-prefix", f"file://{cluster.storage}/raw", "--python", sys.executable),
        *("--namespace", namespace),
        *words,
    )
    await kubectl(cluster.operator, "create", "-f", "-", stdin=resource.encode())
    return str(json.loads(resource)["metadata"]["name"])


async def status(cluster: Cluster, name: str, *words: str, namespace: str = NAMESPACE) -> Any:
    """The last line of `propeller status -w`."""
    out = await output_of(
        *(PROPELLER, "status", name, "-n", namespace, "--kubeconfig", cluster.operator, "--output", "json", *words),
    )
    return json.loads(out.splitlines()[-1])


@pytest.mark.needs("kubectl", "flytekit")
@pytest.mark.parametrize(("example", "workflow", "inputs"), RUNS)
async def test_an_example_gives_what_flytekit_gives(
    running: Cluster, example: str, workflow: str, inputs: dict[str, Any]
) -> None:
    name = await create(running, example, workflow, inputs)
    ended = await status(running, name, "-w")
    assert ended["phase"] == "SUCCEEDED", ended["error"]
    file = EXAMPLES / f"{example}.py"
    assert ended["outputs"] == (IN_DOCKER.get(example) or await asyncio.to_thread(locally, file, workflow, **inputs))


@pytest.mark.needs("kubectl", "flytekit")
async def test_kubectl_shows_how_an_execution_stands(running: Cluster) -> None:
    name = await create(running, "quality_gate", "gate", {"accuracy": 0.3})
    assert (await status(running, name, "-w"))["error"]["message"].startswith("accuracy is below 0.6")
    shown = await kubectl(running.operator, "get", "flyteworkflows", name, "-n", NAMESPACE)
    assert "Failed" in shown


@pytest.mark.needs("kubectl", "flytekit")
async def test_an_execution_that_was_aborted_is_recovered_and_one_that_succeeded_is_relaunched(
    running: Cluster,
) -> None:
    async def again(verb: str, name: str) -> Any:
        words = ("-n", NAMESPACE, "--kubeconfig", running.operator, "--output", "json")
        new = json.loads(await output_of(PROPELLER, verb, name, *words))["name"]
        ended = await status(running, new, "-w")
        assert ended["phase"] == "SUCCEEDED", ended["error"]
        pods = await kubectl(
            running.operator, "get", "pods", "-n", NAMESPACE, "-l", f"execution-id={new}", "-o", "name"
        )
        return ended["outputs"], len(pods.split())

    name = await create(running, "sweep", "sweep", {"count": 3})
    outputs = (await status(running, name, "-w"))["outputs"]
    assert (await again("relaunch", name)) == (outputs, 5)
    failed = {"status": {"phase": 5}}  # as if its last step had gone wrong
    await kubectl(
        running.operator,
        *("patch", "flyteworkflow", name, "-n", NAMESPACE, "--subresource=status", "--type=merge"),
        *("-p", json.dumps(failed)),
    )
    assert (await again("recover", name)) == (outputs, 0)


@pytest.mark.needs("kubectl", "flytekit")
async def test_what_is_cached_has_no_pod_in_the_next_execution(running: Cluster) -> None:
    async def pods_of(name: str) -> int:
        words = ("get", "pods", "-n", NAMESPACE, "-l", f"execution-id={name}", "-o", "name")
        return len((await kubectl(running.operator, *words)).split())

    ended, pods = [], []
    for _ in range(2):  # of a project of its own: what is cached of the other tests' runs is not there
        name = await create(running, "caching", "caching", {}, NAMESPACE, "--project", "uncached")
        ended.append(await status(running, name, "-w"))
        pods.append(await pods_of(name))
    assert ended[0]["outputs"] == ended[1]["outputs"]
    assert pods == [8, 1]
    assert {node["cache"] for node in ended[1]["nodes"] if node["kind"] == "task"} == {"HIT", None}
    explained = await output_of(
        *(PROPELLER, "cache", "explain", name, "n0", "-n", NAMESPACE, "--kubeconfig", running.operator),
        *("--prefix", f"file://{running.storage}/catalog", "--output", "json"),
    )
    found = json.loads(explained)
    assert (found["hit"], found["status"], found["nearest"]["origin"]["node"]) == (True, "HIT", "n0")


@pytest.mark.needs("kubectl", "flytekit")
async def test_results_of_a_past_execution_can_be_had(running: Cluster, tmp_path: Path) -> None:
    async def get(*words: object) -> Any:
        out = await output_of(
            *(PROPELLER, "get", *words, "-n", NAMESPACE, "--kubeconfig", running.operator, "--output", "json")
        )
        return json.loads(out)

    name = await create(running, "training", "train", {"rows": 30, "epochs": 1})
    ended = await status(running, name, "-w")
    whole = await get(name)
    assert (whole["outputs"], whole["error"]) == (ended["outputs"], None)
    assert whole["inputs"]["rows"] == 30
    assert (await get(name, "n0", "inputs"))["rows"] == 30
    found = await get(name, "n0", "outputs", "--download", tmp_path)
    (file,) = found["files"]
    assert file["uri"].removeprefix("file://") == found["outputs"]["o0"]
    assert len(Path(file["path"]).read_text().splitlines()) == 30
    assert Path(file["path"]).is_relative_to(tmp_path)

    async def lineage(uri: str) -> Any:
        return json.loads(
            await output_of(PROPELLER, "lineage", uri, "--kubeconfig", running.operator, "--output", "json")
        )

    made = await lineage(found["outputs"]["o0"])
    assert (made["execution"], made["namespace"], made["node"], made["attempt"]) == (name, NAMESPACE, "n0", 1)
    assert made["task"]["name"] == "training.make_data"
    assert made["inputs"]["rows"] == 30
    assert made["cachedFrom"] is None

    cached = await create(running, "caching", "caching", {"n": 7})
    nodes = (await status(running, cached, "-w"))["nodes"]
    (named,) = [node["id"] for node in nodes if node["name"].endswith("name")]
    again = await create(running, "caching", "caching", {"n": 7})
    await status(running, again, "-w")
    directory = await kubectl(
        running.operator, "get", "fly", again, "-n", NAMESPACE, "-o", "jsonpath={.status.dataDir}"
    )
    taken = await lineage(f"{directory}/n0/data/0/outputs.pb")
    assert (taken["execution"], taken["node"], taken["inputs"]["n"]) == (again, "n0", 7)
    assert taken["cachedFrom"]["execution"] == f"{NAMESPACE}/{cached}"
    deck = await get(cached, named, "deck", "--download", tmp_path)
    assert "<html" in Path(deck["path"]).read_text().lower()


@pytest.mark.needs("kubectl", "flytekit")
async def test_links_lead_to_the_logs_of_a_task_also_when_its_pod_is_gone(running: Cluster, tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    kept = "https://logs.example.com/{{ .namespace }}/{{ .podName }}/{{ .containerName }}"
    named = "https://logs.example.com/{{ .executionName }}/{{ .nodeID }}/{{ .taskID }}/{{ .taskRetryAttempt }}"
    templates = [{"name": "by pod", "uri": kept}, {"name": "by name", "uri": named}]
    settings.write_text(json.dumps({"log_links": {"templates": templates}}))
    name = await create(running, "training", "train", {"rows": 30, "epochs": 1})
    await status(running, name, "-w")
    where = ("-n", NAMESPACE, "--kubeconfig", running.operator, "--config", settings)

    async def links() -> Any:
        return json.loads(await output_of(PROPELLER, "get", name, "n0", "links", *where, "--output", "json"))

    found = await links()
    by_name = f"https://logs.example.com/{name}/n0/training.make_data/0"
    by_pod = f"https://logs.example.com/{NAMESPACE}/{found['pod']}/{found['pod']}"  # Flyte's name of its container
    assert [link["uri"] for link in found["links"]] == [by_pod, by_name]
    await kubectl(running.operator, "delete", "pod", found["pod"], "-n", NAMESPACE)
    assert [(link["uri"], link["missing"]) for link in (await links())["links"]] == [
        ("", ["containerName"]),
        (by_name, []),
    ]
    with pytest.raises(AssertionError, match=rf"is gone.*its logs are kept here:\s+by name: {by_name}"):
        await output_of(PROPELLER, "get", name, "n0", "logs", *where)


@pytest.mark.needs("kubectl", "flytekit")
async def test_an_execution_goes_on_where_a_killed_controller_left_it(cluster: Cluster) -> None:
    namespace = "killed"
    await kubectl(cluster.operator, "create", "namespace", namespace)
    async with controller(cluster, namespace) as first:
        name = await create(cluster, "sweep", "sweep", {"count": 8}, namespace)
        pods = ("get", "pods", "-n", namespace, "-l", f"execution-id={name}", "-o", "name")
        while not await kubectl(cluster.operator, *pods):
            await asyncio.sleep(0.05)
        first.kill()
        await first.wait()
    assert (await status(cluster, name, namespace=namespace))["phase"] in {"READY", "RUNNING"}
    async with controller(cluster, namespace):
        assert (await status(cluster, name, "-w", namespace=namespace))["phase"] == "SUCCEEDED"
    ran = (await kubectl(cluster.operator, *pods)).split()
    assert len(ran) == len(set(ran)) == 10


async def test_the_controller_stops_in_order_on_sigterm(cluster: Cluster) -> None:
    """Regression: it was stopped a second after its start, which on a busy machine is before it handles signals."""
    async with controller(cluster) as process:
        assert process.stderr is not None
        async with asyncio.timeout(60):
            while b" lease " not in (line := await process.stderr.readline()):  # it waits for it, or holds it
                assert line, "the controller has ended"
    assert process.returncode == 143


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (NOBODY_TOKEN, ("flyteworkflows", "forbidden", "propeller install --print")),
        ("long-expired", ("the credentials are missing, wrong or expired", "valid credentials")),
    ],
)
async def test_a_controller_that_may_not_do_its_work_says_so(
    cluster: Cluster, tmp_path: Path, token: str, says: tuple[str, ...]
) -> None:
    document = yaml.safe_load(cluster.controller.read_text())
    document["users"][0]["user"] = {"token": token}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    process = await asyncio.create_subprocess_exec(
        *(PROPELLER, "controller", "--no-elect", "--metrics-port", "0", "--kubeconfig", tmp_path / "kubeconfig"),
        stderr=subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3
    assert all(words in err.decode() for words in says), err.decode()
    assert token not in err.decode()


REPORTS = '''
from flytekit import Deck, current_context, map_task, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException


@task(retries=2, enable_deck=True)
def counted(n: int) -> int:
    """Goes on where the last attempt has stopped."""
    checkpoint = current_context().checkpoint
    found = checkpoint.read()
    steps = int(found) if found else 0
    while steps < n:
        steps += 1
        checkpoint.write(str(steps).encode())
        Deck("steps", f"<p>{steps} steps, from {int(found or 0)}</p>")
        if steps % 2:
            raise FlyteRecoverableException(f"stopped after {steps}")
    return steps if found else -1


@task(enable_deck=True)
def square(n: int) -> int:
    return n * n


@workflow
def reports(n: int) -> tuple[int, list[int]]:
    return counted(n=n), map_task(square)(n=[1, 2, 3])
'''


@pytest.mark.needs("kubectl", "flytekit")
async def test_checkpoints_and_decks_are_those_of_each_attempt_and_stay_when_the_workflow_is_gone(
    running: Cluster, tmp_path: Path
) -> None:
    file = EXAMPLES / "made_reports.py"
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"storage": {"metadata_prefix": f"file://{running.storage}"}}))

    async def get(*words: object) -> str:
        where = ("-n", NAMESPACE, "--kubeconfig", running.operator, "--config", settings)
        return await output_of(PROPELLER, "get", *words, *where)

    file.write_text(REPORTS)
    try:
        name = await create(running, file.stem, "reports", {"n": 3})
        ended = await status(running, name, "-w")
    finally:
        file.unlink()
    assert ended["phase"] == "SUCCEEDED", ended["error"]
    assert ended["outputs"] == {"o0": 3, "o1": [1, 4, 9]}
    nodes = {node["name"].rpartition(".")[2]: node for node in ended["nodes"]}
    counted, mapped = nodes["counted"]["id"], next(one["id"] for one in ended["nodes"] if one["kind"] == "array")
    item = f"{mapped}-0-n1"
    assert "1 steps, from 0" in await get(name, counted, "deck", "--attempt", 1)
    assert "3 steps, from 1" in await get(name, counted, "deck", "--attempt", 2)
    with pytest.raises(AssertionError, match="has had 3"):
        await get(name, counted, "deck", "--attempt", 4)
    with pytest.raises(AssertionError, match="has left no deck"):  # flytekit makes none of items
        await get(name, item, "deck")
    assert json.loads(await get(name, item, "outputs")) == {"o0": 4}
    before = {part: await get(name, *part) for part in ((counted,), (counted, "outputs"), (item, "outputs"))}

    await kubectl(running.operator, "delete", "flyteworkflow", name, "-n", NAMESPACE, "--wait")
    whole = json.loads(await get(name))
    assert whole == {"inputs": None, "outputs": ended["outputs"], "error": None}
    assert {part: await get(name, *part) for part in before} == before
    assert "3 steps, from 1" in await get(name, counted, "deck", "--attempt", 2)
    assert json.loads(await get(name, counted, "inputs")) == {"n": 3}
    with pytest.raises(AssertionError, match=r"logs of .* are gone with the FlyteWorkflow"):
        await get(name, counted, "logs")
    with pytest.raises(AssertionError, match="nothing of a node 'n77'; it has "):
        await get(name, "n77", "outputs")
    with pytest.raises(AssertionError, match=r"there is no execution nobody.*nothing of an execution nobody is below"):
        await get("nobody", "outputs")
