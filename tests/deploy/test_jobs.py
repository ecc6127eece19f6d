"""Tasks that run as Jobs of Kubernetes, by the setting operators.enabled, with Kubernetes' own Job controller."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from propeller.testing import KubeApiserver
from tests.deploy.cluster import Cluster, run_control_plane, run_nodes
from tests.e2e.conftest import PROPELLER
from tests.e2e.test_real_cluster import output_of

NAMESPACE = "flytesnacks-development"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.needs("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "flytekit"),
]

WORKFLOW = """
import os
import pathlib
import sys

from flytekit import PythonFunctionTask, task, workflow
from flytekit.extend import TaskPlugins


class Job(dict):
    pass


class JobTask(PythonFunctionTask[Job]):
    def __init__(self, task_config, task_function, **kwargs):
        super().__init__(task_config, task_function, task_type="kubernetes-job", **kwargs)

    def get_custom(self, settings):
        return dict(self.task_config)


TaskPlugins.register_pythontask_plugin(Job, JobTask)


@task(task_config=Job(completions=3, parallelism=3, completionMode="Indexed"))
def parts(directory: str) -> int:
    index = os.environ["JOB_COMPLETION_INDEX"]
    pathlib.Path(directory, index).write_text("")
    return 3


@workflow
def good(directory: str) -> int:
    return parts(directory=directory)


FAIL_42 = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}


@task(task_config=Job(completions=1, backoffLimit=5, podFailurePolicy=FAIL_42), retries=3)
def hopeless() -> int:
    if os.environ:
        os._exit(42)
    return 0


@workflow
def bad() -> int:
    return hopeless()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("jobs")
    for name in ("project", "done"):
        (home / name).mkdir()
    (home / "project" / "jobs.py").write_text(WORKFLOW)
    (home / "settings.yaml").write_text("operators: {enabled: [kubernetes-job]}\n")
    return home


@pytest.fixture(scope="module")
def control_plane(home: Path) -> Iterator[KubeApiserver]:
    with run_control_plane(home / "server") as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(control_plane: KubeApiserver, home: Path) -> AsyncIterator[Cluster]:
    async with run_nodes(control_plane, home / "server", {}, home / "project") as cluster:
        settings = ("--config", home / "settings.yaml")
        manifests = await output_of(PROPELLER, "install", "--print", *settings)
        await cluster.kubectl("apply", "-f", "-", stdin=manifests.encode())
        await cluster.kubectl("wait", "--for=condition=Established", "crd/flyteworkflows.flyte.lyft.com")
        await cluster.kubectl("create", "namespace", NAMESPACE)
        controller = await asyncio.create_subprocess_exec(
            *(PROPELLER, "controller", "--kubeconfig", cluster.kubeconfig, *settings, "--no-elect"),
            *("--metrics-port", "0", "--metadata-prefix", f"file://{home}/storage"),
            stderr=subprocess.PIPE,
        )
        try:
            yield cluster
        finally:
            controller.terminate()
            _, log = await asyncio.wait_for(controller.communicate(), 30)
            print(log.decode())  # pytest shows it with a failure


async def run(cluster: Cluster, home: Path, workflow: str, *inputs: str) -> dict[str, object]:
    """Run it to its end, and return what `propeller status` says then."""
    resource = await output_of(
        *(PROPELLER, "compile", home / "project" / "jobs.py", workflow, *inputs),
        *("--raw-output-prefix", f"file://{home}/storage/raw", "--python", sys.executable),
    )
    await cluster.kubectl("create", "-f", "-", stdin=resource.encode())
    name = json.loads(resource)["metadata"]["name"]
    words = (name, "-n", NAMESPACE, "--kubeconfig", cluster.kubeconfig, "--output", "json", "-w")
    ended: dict[str, object] = json.loads((await output_of(PROPELLER, "status", *words)).splitlines()[-1])
    return ended


async def test_each_index_of_a_job_runs_and_the_job_is_one_attempt(cluster: Cluster, home: Path) -> None:
    ended = await run(cluster, home, "good", "--directory", str(home / "done"))
    assert ended["phase"] == "SUCCEEDED", ended["error"]
    assert ended["outputs"] == {"o0": 3}
    assert sorted(path.name for path in (home / "done").iterdir()) == ["0", "1", "2"]
    jobs = await cluster.objects("jobs", "-n", NAMESPACE)
    assert [job["metadata"]["name"] for job in jobs] == [f"{ended['name']}-n0-0"]


async def test_a_failure_that_its_pod_failure_policy_calls_final_has_no_other_attempt(
    cluster: Cluster, home: Path
) -> None:
    ended = await run(cluster, home, "bad")
    assert ended["phase"] == "FAILED"
    error = ended["error"]
    assert isinstance(error, dict)
    assert "the Job failed: PodFailurePolicy - " in error["message"]
    assert (error["kind"], error["attempt"]) == ("USER", 1)
