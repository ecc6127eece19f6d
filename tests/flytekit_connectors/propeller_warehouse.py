"""Connectors of a warehouse and a batch system, as a platform team would write them for Trino, Hive and AWS Batch, but
for what is asked: SQLite (`WAREHOUSE`) stands for the warehouse, processes of this machine for AWS Batch. Served by
`pyflyte serve connector --modules propeller_warehouse`.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from flyteidl.core.execution_pb2 import TaskExecution
from flytekit import FlyteContextManager, SQLTask
from flytekit.configuration import SerializationSettings
from flytekit.core.type_engine import TypeEngine
from flytekit.core.utils import write_proto_to_file
from flytekit.extend.backend.base_connector import (
    AsyncConnectorBase,
    AsyncConnectorExecutorMixin,
    ConnectorRegistry,
    Resource,
    ResourceMeta,
)
from flytekit.models.literals import LiteralMap
from flytekit.models.task import Sql, TaskExecutionMetadata, TaskTemplate


class TrinoTask(AsyncConnectorExecutorMixin, SQLTask[None]):  # type: ignore[misc]
    """A query for one number, with flytekit's own SQLTask as base: so does flytekitplugins-snowflake."""

    def __init__(self, name: str, query: str, **more: Any) -> None:
        super().__init__(name, query, task_type="trino", outputs={"o0": int}, **more)

    def get_sql(self, settings: SerializationSettings) -> Sql:
        return Sql(statement=self.query_template, dialect=Sql.Dialect.ANSI)


@dataclass
class Query(ResourceMeta):  # type: ignore[misc]
    statement: str


def values_of(template: TaskTemplate, inputs: LiteralMap | None) -> dict[str, Any]:
    """Return the inputs as Python has them."""
    guessed = TypeEngine.guess_python_types(template.interface.inputs)
    return TypeEngine.literal_map_to_kwargs(FlyteContextManager.current_context(), inputs, guessed) if inputs else {}


def ask(statement: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(os.environ["WAREHOUSE"], timeout=30.0) as warehouse:
        return warehouse.execute(statement).fetchall()


class SqlConnector(AsyncConnectorBase):  # type: ignore[misc]
    """Runs a statement when it is looked at, and returns the first value of its first row if the task has an output."""

    name = "Warehouse Connector"

    async def create(self, task_template: TaskTemplate, inputs: LiteralMap | None = None, **_: Any) -> Query:
        statement = self.statement_of(task_template)
        values = values_of(task_template, inputs)
        return Query(SQLTask.interpolate_query(statement, **values))

    def statement_of(self, template: TaskTemplate) -> str:
        return str(template.sql.statement)

    async def get(self, resource_meta: Query, **_: Any) -> Resource:
        try:
            rows = ask(resource_meta.statement)
        except sqlite3.Error as error:
            return Resource(TaskExecution.FAILED, f"{resource_meta.statement}: {error}")
        outputs = {"o0": rows[0][0]} if rows else None
        return Resource(TaskExecution.SUCCEEDED, f"{len(rows)} rows", outputs=outputs)

    async def delete(self, resource_meta: Query, **_: Any) -> None:
        """A statement has ended when it was looked at."""


class HiveConnector(SqlConnector):
    name = "Hive Connector"

    def statement_of(self, template: TaskTemplate) -> str:
        return str(template.custom["query"]["query"])


@dataclass
class BatchJob(ResourceMeta):  # type: ignore[misc]
    id: str


class BatchConnector(AsyncConnectorBase):  # type: ignore[misc]
    """Runs the command of a task's container."""

    name = "Batch Connector"

    processes: ClassVar[dict[str, subprocess.Popen[bytes]]] = {}

    def __init__(self, version: int) -> None:
        super().__init__(task_type_name="aws-batch", task_type_version=version, metadata_type=BatchJob)

    async def create(
        self,
        task_template: TaskTemplate,
        output_prefix: str,
        inputs: LiteralMap | None = None,
        task_execution_metadata: TaskExecutionMetadata | None = None,
        **_: Any,
    ) -> BatchJob:
        assert task_execution_metadata is not None
        job = BatchJob(uuid.uuid4().hex)
        words = list(task_template.container.args)
        assert words[words.index("--output-prefix") + 1] == output_prefix
        # the arguments name the lists of a map task, of which an item's request has its share
        if inputs is not None:
            own = Path(os.environ["JOBS"]) / f"{job.id}.pb"
            write_proto_to_file(inputs.to_flyte_idl(), str(own))
            words[words.index("--inputs") + 1] = str(own)
        environment = os.environ | task_template.container.env | task_execution_metadata.environment_variables
        self.processes[job.id] = subprocess.Popen(
            [str(Path(sys.executable).with_name(words[0])), *words[1:]],
            env=environment | {"PYTHONPATH": os.pathsep.join([os.environ["FLOWS"], os.environ["PYTHONPATH"]])},
            stdout=subprocess.DEVNULL,
            stderr=(Path(os.environ["JOBS"]) / f"{job.id}.log").open("wb"),
        )
        return job

    async def get(self, resource_meta: BatchJob, **_: Any) -> Resource:
        code = self.processes[resource_meta.id].poll()
        if code is None:
            return Resource(TaskExecution.RUNNING)
        return Resource(TaskExecution.FAILED if code else TaskExecution.SUCCEEDED, f"exit code {code}")

    async def delete(self, resource_meta: BatchJob, **_: Any) -> None:
        self.processes[resource_meta.id].kill()


ConnectorRegistry.register(SqlConnector(task_type_name="trino", metadata_type=Query))
ConnectorRegistry.register(HiveConnector(task_type_name="hive", metadata_type=Query))
ConnectorRegistry.register(BatchConnector(0))
ConnectorRegistry.register(BatchConnector(1))  # flytekit's map tasks are of version 1, whatever they map
