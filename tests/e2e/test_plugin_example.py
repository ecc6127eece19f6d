"""examples/plugin, installed by pip as docs/plugins.md says; its workflow on both servers.

Neither server has a Job controller, so that the test plays it: it makes the pods of a Job, which the project's kubelet
runs, and writes the Job's status.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sysconfig
import time
import venv
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from propeller.clock import rfc3339
from propeller.config import KubeletOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS
from propeller.embedded import run_kubelet
from propeller.embedded.server import ApiServer
from propeller.kube import PODS, Client, Connection, Raw, Resource, connect
from propeller.testing import run_kube_apiserver
from tests import assets
from tests.processes import told_to_end

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "plugins.md"
JOBS: Resource[Raw] = Resource(group="batch", kind="Job", plural="jobs", type=dict[str, Any])
RAW_PODS = PODS.typed(dict[str, Any])
DEADLINE = 120.0
"""Seconds for one wait: a bound on what hangs, not a goal."""

pytestmark = pytest.mark.needs("kubectl", "flytekit")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with propeller and flytekit, in which nobody has installed the plugin yet."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True, with_pip=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    for command, module in (("propeller", "propeller.cli.__main__"), ("pyflyte-execute", "flytekit.bin.entrypoint")):
        function = "main" if command == "propeller" else "execute_task_cmd"
        script = home / "bin" / command
        script.write_text(f"#!{home}/bin/python\nfrom {module} import {function}\n{function}()\n")
        script.chmod(0o755)
    return home


class Shell(msgspec.Struct, frozen=True):
    """Runs lines of the page, without a network, as the user of one cluster."""

    environment: Path
    kubeconfig: Path
    home: Path

    @property
    def variables(self) -> dict[str, str]:
        path = (self.environment / "bin", Path(assets.binary("kubectl")).parent, os.environ["PATH"])
        pip = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        own = {"PATH": os.pathsep.join(map(str, path)), "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home)}
        return {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"} | pip | own

    async def start(self, line: str, **more: str) -> asyncio.subprocess.Process:
        line = line.replace("file:///tmp/propeller", f"file://{self.home}")
        return await asyncio.create_subprocess_exec(
            *("bash", "-o", "pipefail", "-c", f"exec {line}" if "|" not in line else line),
            cwd=ROOT,
            env=self.variables | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def run(self, line: str) -> str:
        process = await self.start(line)
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
        assert process.returncode == 0, f"{line}: {err.decode()}{out.decode()}"
        return out.decode()


def lines_of_the_page() -> list[str]:
    """What a reader is to type."""
    block = re.search(r"## Try it.*?```sh\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert block is not None
    return block[1].splitlines()


class JobController:
    """Of a cluster, as far as the example needs it: makes the pods of Jobs, and says how they ended."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def run(self) -> None:
        while True:
            for job in (await self._client.list(JOBS, self._namespace)).items:
                if "deletionTimestamp" not in job["metadata"] and not job["status"].get("conditions"):
                    await self._sync(job)
            await asyncio.sleep(0.1)

    async def _sync(self, job: Raw) -> None:
        uid, name = job["metadata"]["uid"], job["metadata"]["name"]
        pods = [
            pod for pod in (await self._client.list(RAW_PODS, self._namespace)).items if uid in str(pod["metadata"])
        ]
        wanted = job["spec"]["completions"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        for number in range(len(pods), wanted):
            metadata = job["spec"]["template"]["metadata"] | {"name": f"{name}-{number}", "ownerReferences": [owner]}
            pod = {"metadata": metadata, "spec": job["spec"]["template"]["spec"]}
            await self._client.create(RAW_PODS, pod, self._namespace)
        phases = [pod["status"].get("phase") for pod in pods]
        status: Raw = {"startTime": job["metadata"]["creationTimestamp"], "active": phases.count("Running")}
        if phases.count("Succeeded") == wanted:
            status |= {"succeeded": wanted, "active": 0, "completionTime": rfc3339(time.time())}
            status["conditions"] = conditions("SuccessCriteriaMet", "Complete")
        elif "Failed" in phases:
            status |= {"failed": 1, "active": 0, "conditions": conditions("FailureTarget", "Failed")}
        await self._client.patch(JOBS, name, self._namespace, body={"status": status}, subresource="status")


def conditions(*types: str) -> list[Raw]:
    return [{"type": one, "status": "True"} for one in types]


class Cluster(msgspec.Struct, frozen=True):
    """One server, with the project's kubelet as its node, and who types commands there."""

    client: Client
    operator: Shell
    namespace: str = "flytesnacks-development"

    async def status(self, name: str) -> Raw:
        found: Raw = (await self.client.get(FLYTE_WORKFLOWS, name, self.namespace)).get("status", {})
        return found

    async def ended(self, name: str) -> Raw:
        async with asyncio.timeout(DEADLINE):
            while (status := await self.status(name)).get("phase") not in {3, 5}:
                await asyncio.sleep(0.1)
        return status

    async def jobs(self) -> list[str]:
        return sorted(job["metadata"]["name"] for job in (await self.client.list(JOBS, self.namespace)).items)

    @asynccontextmanager
    async def job_controller(self) -> AsyncIterator[None]:
        task = asyncio.create_task(JobController(self.client, self.namespace).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()


@asynccontextmanager
async def connected(server: str, home: Path) -> AsyncIterator[tuple[Client, dict[str, Any]]]:
    """A client of a fresh server of that kind, and the kubeconfig of its administrator."""
    async with AsyncExitStack() as stack:
        if server == "embedded":
            front = await stack.enter_async_context((await stack.enter_async_context(ApiServer())).serve())
            client = await stack.enter_async_context(connect(Connection(server=front.url, token=front.token)))
            yield client, front.kubeconfig()
            return
        real = stack.enter_context(run_kube_apiserver(home / "server"))
        client = await stack.enter_async_context(connect(real.connection()))
        yield client, yaml.safe_load(real.kubeconfig(home / "admin").read_text())


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.needs("embedded")),
        pytest.param("kube-apiserver", marks=pytest.mark.needs("kube-apiserver")),
    ]
)
async def cluster(request: pytest.FixtureRequest, environment: Path, tmp_path: Path) -> AsyncIterator[Cluster]:
    (tmp_path / "server").mkdir()
    project = str(ROOT / "examples" / "plugin")
    settings = Settings(kubelet=KubeletOptions(python=str(environment / "bin" / "python"), project=project))
    async with connected(request.param, tmp_path) as (client, kubeconfig):
        (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
        async with run_kubelet(client, tmp_path / "kubelet", settings, node_name="node-of-this-machine"):
            yield Cluster(client, Shell(environment, tmp_path / "kubeconfig", tmp_path))


@asynccontextmanager
async def controller(of: Cluster, line: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await of.operator.start(f"{line} --metrics-port 0 --no-elect")
    async with told_to_end(process):
        yield process


async def with_own_rights(of: Cluster) -> Cluster:
    """As the controller's service account, where the server knows rights: the manifests have to be enough."""
    token = (await of.operator.run("kubectl create token propeller -n flyte")).strip()
    document = json.loads(of.operator.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = of.operator.home / "controllers-kubeconfig"
    path.write_text(json.dumps(document))
    return Cluster(of.client, Shell(of.operator.environment, path, of.operator.home))


async def test_what_the_page_says_runs_a_workflow_with_a_job_in_it(
    cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    install, grant, run, prepare, create, look = lines_of_the_page()
    for line in (install, grant, prepare):
        await cluster.operator.run(line)
    is_real = "kube-apiserver" in request.node.callspec.id
    runs = await with_own_rights(cluster) if is_real else cluster
    async with controller(runs, run.removesuffix(" &")) as first:
        made = await cluster.operator.run(create)
        name = made.split()[0].partition("/")[2]
        async with asyncio.timeout(DEADLINE):
            while not await cluster.jobs():
                assert (await cluster.status(name)).get("phase", 0) < 3
                await asyncio.sleep(0.1)
        first.kill()
        await first.wait()
    async with controller(runs, run.removesuffix(" &")), cluster.job_controller():
        status = await cluster.ended(name)
        assert status["phase"] == 3, status.get("error")
        ended = await cluster.operator.run(f"propeller status {name} -n {cluster.namespace} --output json")
        assert json.loads(ended.splitlines()[-1])["outputs"] == {"o0": "9 by a Job"}
        assert await cluster.jobs() == [f"{name}-n1-0"], "one attempt, one Job, though a controller was killed"
        assert re.search(rf"{name}-n1-0 +Complete +2/2", await cluster.operator.run(look))
