"""Tasks and connectors of the tests, served by `pyflyte serve connector --modules propeller_jobs`.

A job is a file `JOBS/<id>.json`, so that a test sees how many were created, looked at and deleted, over restarts of the
service. `looks` is after how many looks it ends, `mode` how: ok, file (its outputs are at the output prefix), fail,
flaky (the first attempt fails), forgotten (its file is gone after the first look), forever.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyteidl.core.execution_pb2 import TaskExecution, TaskLog
from flytekit import FlyteContextManager
from flytekit.configuration import SerializationSettings
from flytekit.core.base_task import PythonTask
from flytekit.core.interface import Interface
from flytekit.core.type_engine import TypeEngine
from flytekit.core.utils import write_proto_to_file
from flytekit.extend.backend.base_connector import (
    AsyncConnectorBase,
    AsyncConnectorExecutorMixin,
    ConnectorRegistry,
    Resource,
    ResourceMeta,
    SyncConnectorBase,
    SyncConnectorExecutorMixin,
)
from flytekit.models.literals import LiteralMap
from flytekit.models.task import TaskExecutionMetadata, TaskTemplate


def jobs() -> Path:
    return Path(os.environ["JOBS"])


@dataclass
class JobConfig:
    mode: str = "ok"
    looks: int = 1


class JobTask(AsyncConnectorExecutorMixin, PythonTask[JobConfig]):  # type: ignore[misc]
    """Doubles a number, elsewhere."""

    def __init__(self, name: str, mode: str = "ok", looks: int = 1, **more: Any) -> None:
        interface = Interface({"value": int}, {"o0": int})
        super().__init__("propeller_job", name, JobConfig(mode, looks), interface=interface, **more)

    def get_custom(self, settings: SerializationSettings) -> dict[str, Any]:
        return {"mode": self.task_config.mode, "looks": self.task_config.looks}


class AddTask(SyncConnectorExecutorMixin, PythonTask[None]):  # type: ignore[misc]
    """Adds one, at once; a negative number fails."""

    def __init__(self, name: str, **more: Any) -> None:
        super().__init__("propeller_add", name, None, interface=Interface({"value": int}, {"o0": int}), **more)


@dataclass
class JobMeta(ResourceMeta):  # type: ignore[misc]
    id: str


class JobConnector(AsyncConnectorBase):  # type: ignore[misc]
    name = "Propeller Job Connector"

    def __init__(self) -> None:
        super().__init__(task_type_name="propeller_job", metadata_type=JobMeta)

    async def create(
        self,
        task_template: TaskTemplate,
        output_prefix: str,
        inputs: LiteralMap | None = None,
        task_execution_metadata: TaskExecutionMetadata | None = None,
        **_: Any,
    ) -> JobMeta:
        assert inputs is not None
        assert task_execution_metadata is not None
        value = inputs.literals["value"].scalar.primitive.integer
        job = {
            "value": value,
            "mode": task_template.custom["mode"],
            "looks": int(task_template.custom["looks"]),
            "looked": 0,
            "began": time.time(),
            "ended": None,
            "deleted": False,
            "output_prefix": output_prefix,
            "execution": task_execution_metadata.task_execution_id.node_execution_id.execution_id.name,
            "attempt": task_execution_metadata.task_execution_id.retry_attempt,
            "namespace": task_execution_metadata.namespace,
            "labels": dict(task_execution_metadata.labels),
            "annotations": dict(task_execution_metadata.annotations),
        }
        if job["mode"] == "refused":
            raise ValueError("no such table: password=hunter2secret")
        meta = JobMeta(uuid.uuid4().hex)
        save(meta.id, job)
        return meta

    async def get(self, resource_meta: JobMeta, **_: Any) -> Resource:
        job = load(resource_meta.id)
        job["looked"] += 1
        save(resource_meta.id, job)
        links = [TaskLog(name="Console", uri=f"https://jobs.example/{resource_meta.id}")]
        info = {"looked": job["looked"]}
        if job["mode"] == "forgotten":
            (jobs() / f"{resource_meta.id}.json").rename(jobs() / f"{resource_meta.id}.forgotten")
        if job["mode"] in {"forever", "forgotten"} or job["looked"] <= job["looks"]:
            return Resource(TaskExecution.RUNNING, "it runs", log_links=links, custom_info=info)
        job["ended"] = job["ended"] or time.time()
        save(resource_meta.id, job)
        if job["mode"] == "fail":
            return Resource(TaskExecution.FAILED, "the query is wrong", log_links=links)
        if job["mode"] == "flaky" and not job["attempt"]:
            return Resource(TaskExecution.RETRYABLE_FAILED, "the warehouse is busy", log_links=links)
        outputs = {"o0": job["value"] * 2}
        if job["mode"] == "file":
            context = FlyteContextManager.current_context()
            literals = TypeEngine.dict_to_literal_map(context, outputs)
            path = jobs() / f"{resource_meta.id}.pb"
            write_proto_to_file(literals.to_flyte_idl(), str(path))
            context.file_access.put_data(str(path), f"{job['output_prefix']}/outputs.pb")
            return Resource(TaskExecution.SUCCEEDED, log_links=links)
        return Resource(TaskExecution.SUCCEEDED, "done", log_links=links, outputs=outputs, custom_info=info)

    async def delete(self, resource_meta: JobMeta, **_: Any) -> None:
        job = load(resource_meta.id)
        job["deleted"] = True
        save(resource_meta.id, job)


class AddConnector(SyncConnectorBase):  # type: ignore[misc]
    name = "Propeller Add Connector"

    def __init__(self) -> None:
        super().__init__(task_type_name="propeller_add")

    def do(
        self, task_template: TaskTemplate, output_prefix: str, inputs: LiteralMap | None = None, **_: Any
    ) -> Resource:
        assert inputs is not None
        value = inputs.literals["value"].scalar.primitive.integer
        if value < 0:
            return Resource(TaskExecution.FAILED, f"{value} is negative")
        return Resource(TaskExecution.SUCCEEDED, outputs={"o0": value + 1})


def save(job: str, state: dict[str, Any]) -> None:
    partial = jobs() / f"{job}.partial"
    partial.write_text(json.dumps(state))
    partial.rename(jobs() / f"{job}.json")


def load(job: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((jobs() / f"{job}.json").read_text())
    return found


ConnectorRegistry.register(JobConnector())
ConnectorRegistry.register(AddConnector())
