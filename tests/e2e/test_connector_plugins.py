"""Tasks of flytekit's plugins for Hive and AWS Batch, and a SQL task for Trino, by connectors of their own types that
flytekit's service serves.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from propeller.config import ConnectorOptions
from tests.connectors import FlytekitService, environment, flytekit_service
from tests.e2e.conftest import Ended, Propeller

pytestmark = pytest.mark.needs("embedded", "flytekit")

FLOWS = """
from flytekit import map_task, task, workflow
from flytekitplugins.awsbatch import AWSBatchConfig
from flytekitplugins.hive import HiveTask
from propeller_warehouse import TrinoTask

INSERT = "insert into numbers values ({{ .inputs.value }})"
insert = HiveTask(name="insert", query_template=INSERT, inputs={"value": int})
total = TrinoTask(name="total", query="select sum(n) * {{ .inputs.by }} from numbers", inputs={"by": int})
wrong = TrinoTask(name="wrong", query="select n from nowhere where {{ .inputs.by }}", inputs={"by": int})


@task(task_config=AWSBatchConfig(platformCapabilities="EC2", tags={"team": "a"}))
def square(value: int) -> int:
    return value * value


@task
def add(values: list[int]) -> int:
    return sum(values)


@workflow
def warehouse(value: int = 4) -> int:
    inserted, then = insert(value=square(value=value)), total(by=10)
    inserted >> then
    return then


@workflow
def failing(by: int = 1) -> int:
    return wrong(by=by)


@workflow
def array(values: list[int] = [1, 2, 3]) -> list[int]:
    return map_task(square)(value=values)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("warehouse")
    (home / "flows").mkdir()
    (home / "flows" / "flows.py").write_text(FLOWS)
    with sqlite3.connect(home / "warehouse.db") as warehouse:
        warehouse.execute("create table numbers (n integer)")
    return home


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[FlytekitService]:
    variables = {"WAREHOUSE": home / "warehouse.db", "FLOWS": home / "flows"}
    with flytekit_service(home, "propeller_warehouse", **variables) as found:
        yield found


def run(propeller: Propeller, home: Path, service: FlytekitService, *words: str) -> Ended:
    options = ConnectorOptions(services=(service.settings,), refresh=0.5, poll_shortest=0.1, poll_longest=0.3)
    config = propeller.home / "connectors.yaml"
    config.write_text(json.dumps({"connectors": msgspec.to_builtins(options)}))
    flows = home / "flows" / "flows.py"
    return propeller("run", flows, *words, "--python", sys.executable, "--config", config, **environment())


def test_hive_trino_and_batch_tasks_run_by_their_connectors(
    propeller: Propeller, home: Path, service: FlytekitService
) -> None:
    assert run(propeller, home, service, "warehouse", "--output", "json").json == {"o0": 160}
    with sqlite3.connect(home / "warehouse.db") as warehouse:
        assert warehouse.execute("select n from numbers").fetchall() == [(16,)]


def test_each_item_of_a_map_over_a_batch_task_is_a_job(
    propeller: Propeller, home: Path, service: FlytekitService
) -> None:
    before = len(list(service.jobs_directory.glob("*.log")))
    ended = run(propeller, home, service, "array", "--output", "json")
    assert ended.code == 0, ended.err
    assert ended.json == {"o0": [1, 4, 9]}
    assert len(list(service.jobs_directory.glob("*.log"))) == before + 3


def test_a_query_that_is_wrong_says_so(propeller: Propeller, home: Path, service: FlytekitService) -> None:
    ended = run(propeller, home, service, "failing")
    assert ended.code == 1
    assert "failed to run the job: select n from nowhere where 1: no such table: nowhere" in ended.err
