"""Tasks that flytekit's own connector service runs: on this machine by `propeller run`, and by the controller on both
API servers.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from propeller.config import AttemptOptions, ConnectorOptions, ResourceOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WORKFLOWS, WorkflowController, workflow_crd
from propeller.errors import NotFound
from propeller.kube import Raw
from propeller.resourcemgr import Pool, Rule
from propeller.storage import Storage
from propeller.testing import ServerUnderTest, eventually
from tests.connectors import FlytekitService, environment, flytekit_service, wait_until
from tests.contract.objects import installed
from tests.e2e.conftest import PROPELLER, Propeller

pytestmark = pytest.mark.needs("flytekit")

DEADLINE = 90.0
"""Seconds for one wait: a bound on what hangs, not a goal."""

FLOWS = """
from flytekit import LaunchPlan, workflow
from flytekit.sensor.file_sensor import FileSensor
from propeller_jobs import AddTask, JobTask

double, add = JobTask(name="double", looks=2), AddTask(name="add")
by_file, failing = JobTask(name="by_file", mode="file"), JobTask(name="failing", mode="fail")
flaky = JobTask(name="flaky", mode="flaky")
forever = JobTask(name="forever", mode="forever")
sensor = FileSensor(name="sensor")


@workflow
def chain(value: int = 4) -> int:
    return add(value=by_file(value=double(value=value)))


@workflow
def fails(value: int = 4) -> int:
    return failing(value=value)


@workflow
def negative(value: int = -4) -> int:
    return add(value=value)


@workflow
def waits(value: int = 4) -> int:
    return forever(value=value)


@workflow
def waits_beside(value: int = 4) -> tuple[int, int]:
    return forever(value=value), failing(value=value)


@workflow
def after_file(path: str, value: int = 4) -> int:
    seen, then = sensor(path=path), add(value=value)
    seen >> then
    return then


@workflow
def inner(value: int) -> int:
    return add(value=value)


plan = LaunchPlan.get_or_create(inner, name="plan_of_inner")


@workflow
def outer(value: int = 4) -> int:
    return plan(value=value)


@workflow
def many(value: int = 1) -> tuple[int, int, int]:
    return double(value=value), double(value=2), double(value=3)
"""


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "flows.py"
    path.write_text(FLOWS)
    return path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlytekitService]:
    with flytekit_service(tmp_path_factory.mktemp("connector")) as found:
        yield found


def options(service: FlytekitService, **more: Any) -> ConnectorOptions:
    return ConnectorOptions(services=(service.settings,), refresh=0.5, poll_shortest=0.1, poll_longest=0.3, **more)


# on this machine


@pytest.fixture
def config(service: FlytekitService, tmp_path: Path) -> Path:
    path = tmp_path / "propeller.json"
    path.write_text(json.dumps({"connectors": msgspec.to_builtins(options(service))}))
    return path.rename(path.with_suffix(".yaml"))


@pytest.mark.needs("embedded")
def test_async_and_sync_tasks_run_elsewhere(propeller: Propeller, flows: Path, config: Path) -> None:
    words = (flows, "chain", "--config", config, "--output", "json")
    assert propeller.run(*words, **environment()).json == {"o0": 17}
    assert propeller.run(*words, "--value", "5", **environment()).json == {"o0": 21}


@pytest.mark.needs("embedded")
def test_launch_plans_run_beside_connectors(propeller: Propeller, flows: Path, config: Path) -> None:
    """Their nodes have no task whose type a connector could run."""
    words = (flows, "outer", "--config", config, "--output", "json")
    assert propeller.run(*words, **environment()).json == {"o0": 5}


@pytest.mark.needs("embedded")
def test_a_run_that_is_interrupted_leaves_no_job(propeller: Propeller, flows: Path, tmp_path: Path) -> None:
    """Regression: its job went on at the service."""
    with flytekit_service(tmp_path) as own:
        config = tmp_path / "propeller.yaml"
        config.write_text(json.dumps({"connectors": msgspec.to_builtins(options(own))}))
        words = (flows, "waits", "--python", sys.executable, "--config", config)
        process = propeller.start("run", *words, **environment())
        wait_until(lambda: any(job["looked"] for job in own.jobs()), "a look at the job", DEADLINE)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 130, err
        assert [job["deleted"] for job in own.jobs()] == [True]


@pytest.mark.needs("embedded")
def test_a_run_that_fails_leaves_no_job_of_another_node(propeller: Propeller, flows: Path, tmp_path: Path) -> None:
    """Regression: the run had ended before the service was asked to delete it."""
    with flytekit_service(tmp_path) as own:
        config = tmp_path / "propeller.yaml"
        config.write_text(json.dumps({"connectors": msgspec.to_builtins(options(own))}))
        ended = propeller.run(flows, "waits_beside", "--config", config, **environment())
        assert ended.code == 1, ended.err
        assert {job["mode"]: job["deleted"] for job in own.jobs()}["forever"] is True


@pytest.mark.needs("embedded")
def test_a_sensor_waits_for_a_file(propeller: Propeller, flows: Path, config: Path, tmp_path: Path) -> None:
    awaited = tmp_path / "awaited.txt"
    words = (flows, "after_file", "--python", sys.executable, "--config", config, "--output", "json")
    process = propeller.start("run", *words, "--path", awaited, **environment())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(8)
    awaited.write_text("here")
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    assert json.loads(out) == {"o0": 5}


@pytest.mark.needs("embedded")
@pytest.mark.parametrize(
    ("entity", "says"),
    [("fails", "failed to run the job: the query is wrong"), ("negative", "failed to run the job: -4 is negative")],
)
def test_a_job_that_fails_says_why(propeller: Propeller, flows: Path, config: Path, entity: str, says: str) -> None:
    ended = propeller.run(flows, entity, "--config", config, **environment())
    assert ended.code == 1
    assert says in ended.err


@pytest.mark.needs("embedded")
def test_a_type_that_nobody_runs_is_named(propeller: Propeller, flow: Callable[[str], Path], config: Path) -> None:
    file = flow(
        "from flytekit.core.base_task import PythonTask\nfrom flytekit.core.interface import Interface\n"
        "query = PythonTask('bigquery_query_job_task', 'query', None, interface=Interface({}, {'o0': str}))\n"
        "@workflow\ndef wf() -> str:\n    return query()\n"
    )
    ended = propeller.run(file, "wf", "--config", config)
    assert ended.code == 1
    assert "no connector runs task type 'bigquery_query_job_task': of services flytekit there are" in ended.err


# by the controller


async def resource(flows: Path, entity: str, name: str, namespace: str) -> Raw:
    process = await asyncio.create_subprocess_exec(
        *(PROPELLER, "compile", str(flows), entity, "--python", sys.executable, "--name", name),
        *("--namespace", namespace, "--raw-output-prefix", f"file://{flows.parent}/raw"),
        env=os.environ | environment(),
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    made: Raw = json.loads(out)
    return made


class Cluster:
    """An API server with the controller on it, and the directory that it stores things in."""

    def __init__(self, server: ServerUnderTest, home: Path, flows: Path, settings: Settings) -> None:
        self.server = server
        self.flows = flows
        storage = msgspec.structs.replace(settings.storage, metadata_prefix=f"file://{home}/metadata")
        self.settings = msgspec.structs.replace(settings, storage=storage)

    @asynccontextmanager
    async def controller(self, **changes: Any) -> AsyncIterator[WorkflowController]:
        settings = msgspec.structs.replace(self.settings, **changes)
        client, namespace = self.server.client, self.server.namespace
        async with (
            Storage(settings.storage) as storage,
            WorkflowController(client, storage, settings, namespace=namespace).running() as running,
        ):
            yield running

    async def create(self, entity: str, name: str) -> None:
        made = await resource(self.flows, entity, name, self.server.namespace)
        await self.server.client.create(FLYTE_WORKFLOWS, made, self.server.namespace)

    async def get(self, name: str) -> Raw:
        found: Raw = await self.server.client.get(FLYTE_WORKFLOWS, name, self.server.namespace)
        return found

    async def status_of(self, name: str, *states: str) -> Raw:
        """Wait for one of the states."""

        async def status() -> Raw | None:
            found: Raw = (await self.get(name)).get("status") or {}
            return found if found.get("state") in states else None

        found = await eventually(status, deadline=DEADLINE)
        assert found is not None
        return found

    def jobs(self, service: FlytekitService, name: str) -> list[dict[str, Any]]:
        """Return the jobs of an execution that were created, as the service has them."""
        whose = (name, self.server.namespace)
        return [job for job in service.jobs() if (job["execution"], job["namespace"]) == whose]

    async def job_of(self, name: str) -> Raw:
        """Wait until the status shows a job that runs."""

        async def job() -> Raw | None:
            status = (await self.get(name)).get("status") or {}
            return next((one for one in status.get("jobs") or () if one.get("phase") == "RUNNING"), None)

        found = await eventually(job, deadline=DEADLINE)
        assert found is not None
        return found

    async def gone(self, name: str) -> None:
        async def is_gone() -> bool:
            try:
                await self.get(name)
            except NotFound:
                return True
            return False

        await eventually(is_gone, deadline=DEADLINE)


@pytest.fixture
async def cluster(server: ServerUnderTest, service: FlytekitService, tmp_path: Path, flows: Path) -> Cluster:
    await installed(server.client, workflow_crd(), WORKFLOWS)
    settings = Settings(connectors=options(service), attempts=AttemptOptions(system_backoff=0.1))
    return Cluster(server, tmp_path, flows, settings)


async def test_jobs_run_to_their_end_and_leave_no_finalizer(cluster: Cluster, service: FlytekitService) -> None:
    await cluster.create("chain", "chain-a")
    async with cluster.controller():
        status = await cluster.status_of("chain-a", "Succeeded", "Failed")
        assert status["state"] == "Succeeded", status

        async def released() -> bool:
            return not (await cluster.get("chain-a"))["metadata"].get("finalizers")

        await eventually(released, deadline=DEADLINE)
    assert not status.get("jobs")
    assert len(cluster.jobs(service, "chain-a")) == 2
    assert not any(job["deleted"] for job in cluster.jobs(service, "chain-a"))


async def test_a_running_job_shows_its_links_and_is_deleted_with_its_workflow(
    cluster: Cluster, service: FlytekitService
) -> None:
    await cluster.create("waits", "deleted-a")
    async with cluster.controller():
        job = await cluster.job_of("deleted-a")
        assert job["message"] == "it runs"
        assert job["logs"][0]["uri"].startswith("https://jobs.example/")
        assert json.loads(job["info"])["looked"] >= 1
        assert "propeller.dev/jobs" in (await cluster.get("deleted-a"))["metadata"]["finalizers"]
        await cluster.server.client.delete(FLYTE_WORKFLOWS, "deleted-a", cluster.server.namespace)
        await cluster.gone("deleted-a")
    (job,) = cluster.jobs(service, "deleted-a")
    assert job["deleted"]


async def test_a_workflow_that_is_deleted_while_nobody_runs_goes_with_its_job(
    cluster: Cluster, service: FlytekitService
) -> None:
    await cluster.create("waits", "deleted-b")
    async with cluster.controller():
        await cluster.job_of("deleted-b")
    await cluster.server.client.delete(FLYTE_WORKFLOWS, "deleted-b", cluster.server.namespace)
    async with cluster.controller():
        await cluster.gone("deleted-b")
    (job,) = cluster.jobs(service, "deleted-b")
    assert job["deleted"]


async def test_a_job_is_found_again_by_another_controller(cluster: Cluster, service: FlytekitService) -> None:
    await cluster.create("waits", "again-a")
    async with cluster.controller():
        await cluster.job_of("again-a")
    before = cluster.jobs(service, "again-a")[0]["looked"]
    async with cluster.controller():

        async def looked() -> bool:
            return bool(cluster.jobs(service, "again-a")[0]["looked"] > before)

        await eventually(looked, deadline=DEADLINE)
        await cluster.server.client.delete(FLYTE_WORKFLOWS, "again-a", cluster.server.namespace)
        await cluster.gone("again-a")
    assert len(cluster.jobs(service, "again-a")) == 1


async def test_tokens_of_a_pool_limit_the_jobs_of_a_type(cluster: Cluster, service: FlytekitService) -> None:
    resources = ResourceOptions(
        pools=(Pool(name="jobs", capacity=1),), rules=(Rule(task_type="propeller_job", pools={"jobs": 1}),)
    )
    await cluster.create("many", "many-a")
    async with cluster.controller(resources=resources):
        status = await cluster.status_of("many-a", "Succeeded", "Failed")
    assert status["state"] == "Succeeded", status
    jobs = cluster.jobs(service, "many-a")
    assert len(jobs) == 3
    spans = sorted((job["began"], job["ended"]) for job in jobs)
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(spans))


async def test_a_service_that_restarts_loses_no_job(server: ServerUnderTest, tmp_path: Path, flows: Path) -> None:
    await installed(server.client, workflow_crd(), WORKFLOWS)
    with flytekit_service(tmp_path) as own:
        cluster = Cluster(server, tmp_path, flows, Settings(connectors=options(own)))
        await cluster.create("waits", "restart-a")
        async with cluster.controller():
            await cluster.job_of("restart-a")
            own.kill()

            async def is_said() -> bool:
                jobs = (await cluster.get("restart-a"))["status"].get("jobs") or [{}]
                return "UNAVAILABLE" in str(jobs[0].get("message"))

            await eventually(is_said, deadline=DEADLINE)
            await asyncio.to_thread(own.start)
            before = own.jobs()[0]["looked"]

            async def looked() -> bool:
                return bool(own.jobs()[0]["looked"] > before)

            await eventually(looked, deadline=DEADLINE)
            await cluster.server.client.delete(FLYTE_WORKFLOWS, "restart-a", server.namespace)
            await cluster.gone("restart-a")
        assert [job["deleted"] for job in own.jobs()] == [True]


async def test_a_controller_starts_while_a_service_cannot_be_reached(
    cluster: Cluster, service: FlytekitService
) -> None:
    away = msgspec.structs.replace(service.settings, name="away", endpoint="127.0.0.1:1")
    connectors = msgspec.structs.replace(options(service), services=(service.settings, away))
    await cluster.create("chain", "away-a")
    async with cluster.controller(connectors=connectors):
        assert (await cluster.status_of("away-a", "Succeeded", "Failed"))["state"] == "Succeeded"
