"""The chart on a whole cluster: the Deployment's pods are processes in the image, with their service account's rights.

The tests share one installation, and the last one uninstalls it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from propeller.testing import KubeApiserver
from tests.deploy.cluster import PLATFORM, Cluster, run_control_plane, run_helm, run_nodes, until
from tests.deploy.conftest import Image
from tests.deploy.helm import CHART
from tests.e2e.conftest import EXAMPLES, PROPELLER
from tests.e2e.test_real_cluster import output_of
from tests.e2e.test_run_examples import options

NAMESPACE = "flytesnacks-development"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("kube-apiserver", "kubectl", "helm", "kube-controller-manager", "kube-scheduler", "flytekit"),
]


def values(home: Path, **config: Any) -> dict[str, Any]:
    """The release's values: the nodes' taint, and a directory of theirs in the place of an object store."""
    storage = {"metadata_prefix": f"file://{home}/storage/metadata", "raw_output_prefix": f"file://{home}/storage/raw"}
    return {
        "image": {"repository": "registry.test/propeller"},
        "config": {"storage": storage, **config},
        "metrics": {"host": "$(POD_IP)"},
        "nodeSelector": {"kubernetes.io/hostname": PLATFORM},
        "tolerations": [{"key": "platform", "operator": "Exists", "effect": "NoSchedule"}],
        "extraVolumes": [{"name": "storage", "hostPath": {"path": f"{home}/storage"}}],
        "extraVolumeMounts": [{"name": "storage", "mountPath": f"{home}/storage"}],
        "probes": {"readiness": {"periodSeconds": 1}},
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("deployment")
    (home / "storage").mkdir()
    return home


@pytest.fixture(scope="module")
def control_plane(home: Path) -> Iterator[KubeApiserver]:
    with run_control_plane(home / "server") as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(control_plane: KubeApiserver, home: Path, image: Image) -> AsyncIterator[Cluster]:
    images = {f"registry.test/propeller:{tag}": str(image.root) for tag in ("0.1.0", "next")}
    async with run_nodes(control_plane, home / "server", images) as cluster:
        await cluster.kubectl("create", "namespace", NAMESPACE)
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed(cluster: Cluster, home: Path) -> Cluster:
    await release(cluster, home, "install", "--create-namespace")
    return cluster


async def release(
    cluster: Cluster, home: Path, verb: str, *words: str, tag: str = "", strategy: str = "RollingUpdate", **config: Any
) -> str:
    """helm install or upgrade, until the Deployment's pods are those of the new values."""
    given = values(home, **config)
    given["image"]["tag"] = tag
    given["strategy"] = {"type": strategy}
    (home / "values.yaml").write_text(json.dumps(given))
    said = await run_helm(cluster, verb, "propeller", CHART, "-n", "flyte", "-f", home / "values.yaml", *words)
    try:
        await cluster.kubectl("-n", "flyte", "rollout", "status", "deployment/propeller", "--timeout=55s")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{await troubles(cluster)}") from error
    return said


async def troubles(cluster: Cluster) -> str:
    """What pods and their logs say, for the message of a test that fails."""
    described = await cluster.kubectl("-n", "flyte", "describe", "pods")
    logs = [f"{path}:\n{path.read_text()[-3000:]}" for path in (cluster.home / PLATFORM).glob("pods/*/logs/*.log")]
    return "\n".join([described, *logs])


async def replicas(cluster: Cluster) -> list[dict[str, Any]]:
    pods = await cluster.objects("pods", "-n", "flyte", "-l", "app.kubernetes.io/name=propeller")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


async def leads(pod: dict[str, Any]) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{pod['status']['podIP']}:10254/metrics") as answer,
        ):
            return bool(re.search(r"^propeller_leading\{[^}]*\} 1\.0$", await answer.text(), re.MULTILINE))
    except aiohttp.ClientError:
        return False


async def compiled(home: Path, name: str, **inputs: Any) -> str:
    """The resource of an execution of examples/sweep.py, which has two pods and one for each of `count`."""
    return await output_of(
        *(PROPELLER, "compile", EXAMPLES / "sweep.py", "sweep", *options(inputs), "--namespace", NAMESPACE),
        *("--name", name, "--raw-output-prefix", f"file://{home}/storage/raw", "--python", sys.executable),
    )


async def start(cluster: Cluster, home: Path, name: str, **inputs: Any) -> None:
    await cluster.kubectl("create", "-f", "-", stdin=(await compiled(home, name, **inputs)).encode())


@asynccontextmanager
async def load(cluster: Cluster, home: Path, prefix: str, **inputs: Any) -> AsyncIterator[list[str]]:
    """Start one execution after another as long as the block runs; gives their names."""
    names: list[str] = []
    template = await compiled(home, "a-template", **inputs)

    async def keep_on() -> None:
        while True:
            name = f"{prefix}-{len(names)}"
            await cluster.kubectl("create", "-f", "-", stdin=template.replace("a-template", name).encode())
            names.append(name)
            await asyncio.sleep(1.0)

    async with asyncio.TaskGroup() as group:
        starter = group.create_task(keep_on())
        await until(lambda: _is_long(names), "the first executions")
        yield names
        starter.cancel()


async def _is_long(names: list[str]) -> bool:
    return len(names) >= 3


async def ended(cluster: Cluster, name: str) -> dict[str, Any]:
    """The last line of `propeller status`, once the execution has ended."""

    async def look() -> Any:
        words = ("-n", NAMESPACE, "--kubeconfig", cluster.kubeconfig, "--output", "json")
        found = json.loads(await output_of(PROPELLER, "status", name, *words))
        return found if found["phase"] in {"SUCCEEDED", "FAILED", "ABORTED"} else None

    found: dict[str, Any] = await until(look, f"the end of {name}")
    return found


async def test_two_replicas_get_ready_and_one_of_them_acts(installed: Cluster) -> None:
    pods = await replicas(installed)
    assert len(pods) == 2
    assert len({pod["status"]["podIP"] for pod in pods}) == 2

    async def one_leads() -> bool:
        return sorted([await leads(pod) for pod in pods]) == [False, True]

    await until(one_leads, "one replica that leads")
    assert all(pod["status"]["containerStatuses"][0]["ready"] for pod in pods)


async def test_a_flytekit_workflow_runs_through_it(installed: Cluster, home: Path) -> None:
    await start(installed, home, "first", count=3)
    assert (await ended(installed, "first"))["phase"] == "SUCCEEDED"


async def test_an_upgrade_under_load_loses_no_execution_and_runs_no_task_twice(installed: Cluster, home: Path) -> None:
    before = {pod["metadata"]["uid"] for pod in await replicas(installed)}
    async with load(installed, home, "load", count=2) as names:
        await release(installed, home, "upgrade", tag="next", checkpoint={"max_lag": 1.0})
    after = await replicas(installed)
    assert len(after) == 2
    assert not before & {pod["metadata"]["uid"] for pod in after}
    ends = await asyncio.gather(*(ended(installed, name) for name in names))
    assert [one["phase"] for one in ends] == ["SUCCEEDED"] * len(names)
    pods = await installed.objects("pods", "-n", NAMESPACE)
    attempts = Counter(pod["metadata"]["labels"]["execution-id"] for pod in pods)
    assert {name: attempts[name] for name in names} == dict.fromkeys(names, 4)


async def test_a_change_of_the_settings_alone_rolls_the_pods(installed: Cluster, home: Path) -> None:
    before = {pod["metadata"]["uid"] for pod in await replicas(installed)}
    await release(installed, home, "upgrade", tag="next", checkpoint={"max_lag": 3.0})
    assert not before & {pod["metadata"]["uid"] for pod in await replicas(installed)}


async def test_values_that_are_refused_leave_the_release_as_it_is(installed: Cluster, home: Path) -> None:
    before = await installed.kubectl("-n", "flyte", "get", "deployment", "propeller", "-o", "jsonpath={.spec}")
    with pytest.raises(AssertionError, match="'max_lagg' not allowed"):
        await release(installed, home, "upgrade", checkpoint={"max_lagg": 1.0})
    now = await installed.kubectl("-n", "flyte", "get", "deployment", "propeller", "-o", "jsonpath={.spec}")
    assert now == before


async def test_replicas_begin_to_divide_the_workflows_only_once_the_others_have_stopped(
    installed: Cluster, home: Path
) -> None:
    with pytest.raises(AssertionError, match="shards change from 0 to 4"):
        await release(installed, home, "upgrade", shards={"count": 4})
    await release(installed, home, "upgrade", strategy="Recreate", shards={"count": 4})

    async def share() -> bool:
        return all([await leads(pod) for pod in await replicas(installed)])

    await until(share, "two replicas that act")
    async with load(installed, home, "divided", count=1) as names:
        await release(installed, home, "upgrade", tag="next", shards={"count": 4})
    ends = await asyncio.gather(*(ended(installed, name) for name in names))
    assert [one["phase"] for one in ends] == ["SUCCEEDED"] * len(names)
    named = {"count": 4, "clusters": ["edge", "far"]}
    with pytest.raises(AssertionError, match="shards change from 4 to 4 and those of clusters edge, far"):
        await release(installed, home, "upgrade", tag="next", shards=named)
    await release(installed, home, "upgrade", tag="next", strategy="Recreate", shards=named)
    await until(share, "two replicas that divide the shards anew")


async def test_tokens_are_replaced_and_used_and_no_request_was_refused(installed: Cluster) -> None:
    async def several() -> bool:
        return len({one.credential for one in installed.requests()}) > 4

    await until(several, "requests with tokens that came later")
    assert [one for one in installed.requests() if one.code in {401, 403}] == []


async def test_uninstalling_says_what_stays_and_keeps_types_and_executions(installed: Cluster, home: Path) -> None:
    await start(installed, home, "last", count=2)
    said = await run_helm(installed, "uninstall", "propeller", "-n", "flyte")
    assert "flyteworkflows.flyte.lyft.com" in said
    assert "fairqueues.propeller.dev" in said

    async def gone() -> bool:
        return not await installed.objects("pods", "-n", "flyte")

    await until(gone, "the end of the controller's pods")
    kinds = "deployments,configmaps,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets"
    left = {one["metadata"]["name"] for one in await installed.objects(kinds, "-n", "flyte")}
    assert left <= {"kube-root-ca.crt", "default"}
    roles = await installed.objects("clusterroles,clusterrolebindings")
    assert not [one for one in roles if one["metadata"]["name"].startswith("propeller")]
    stays = {one["metadata"]["name"] for one in await installed.objects("flyteworkflows", "-n", NAMESPACE)}
    assert "last" in stays
    await release(installed, home, "install")  # the types that stayed are those of the release again
    assert (await ended(installed, "last"))["phase"] == "SUCCEEDED"
