"""OpenLineage's RunEvent, as JSON.

Guarantees
    A run's id follows from the execution, the node and the attempt: an event that is sent twice is one of the same run.
    Texts are bounded, and what looks like a credential is masked. Values of inputs and outputs are not in an event.
Source
    https://openlineage.io/spec/2-0-2/OpenLineage.json, and the facets that it names.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from flyteidl.core import literals_pb2

from propeller.clock import rfc3339
from propeller.lineage._datasets import Dataset
from propeller.redaction import redact
from propeller.text import NAME_CHARACTERS, bounded
from propeller.wire import Literals

PRODUCER = "https://propeller.dev"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_RUNS = uuid.UUID("7d3c4c8e-6a1f-5e0b-9a51-0f5b3f3d8c11")
"""Namespace of the ids of runs."""

ERROR_CHARACTERS = 10_000
"""Of an error's message: servers refuse events of megabytes."""


class State(enum.StrEnum):
    """OpenLineage's `eventType`, those that are used."""

    START = "START"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"


class Job(msgspec.Struct, frozen=True):
    """A job, and the id of its run. `kind` is WORKFLOW or TASK."""

    namespace: str
    name: str
    run: str
    kind: str


class Report(msgspec.Struct, frozen=True):
    """What an event is made of. `at` is in epoch seconds; `inputs` are literals or their URI, `outputs` the URI of
    literals; "" for none. `root` is the execution's, if the parent is a node in it.
    """

    state: State
    at: float
    job: Job
    parent: Job | None = None
    tags: Mapping[str, str] = {}
    inputs: str | Literals | literals_pb2.LiteralMap = ""
    outputs: str = ""
    error: str = ""
    root: Job | None = None


def run_id(uid: str, node: str = "", attempt: int = 0) -> str:
    """The id of the run of an execution, or of an attempt of one of its nodes."""
    return str(uuid.uuid5(_RUNS, f"{uid}/{node}/{attempt}" if node else uid))


def encode_event(report: Report, inputs: list[Dataset], outputs: list[Dataset], version: str) -> bytes:
    """The event as JSON, in one line. `version` is propeller's."""
    engine = {"name": "propeller", "version": version, "openlineageAdapterVersion": version}
    run_facets = {"processing_engine": _facet("1-1-1/ProcessingEngineRunFacet", engine)}
    if report.parent is not None:
        above = {**_identified(report.parent), "root": _identified(report.root or report.parent)}
        run_facets["parent"] = _facet("1-2-0/ParentRunFacet", above)
    if report.error:
        message = bounded(redact(report.error), ERROR_CHARACTERS)
        error = {"message": message, "programmingLanguage": "python"}
        run_facets["errorMessage"] = _facet("1-0-1/ErrorMessageRunFacet", error)
    if report.tags:
        tags = [
            {"key": key, "value": bounded(value, NAME_CHARACTERS), "source": "propeller"}
            for key, value in report.tags.items()
            if value
        ]
        run_facets["tags"] = _facet("1-0-0/TagsRunFacet", {"tags": tags})
    kind = {"processingType": "BATCH", "integration": "PROPELLER", "jobType": report.job.kind}
    job_facets = {"jobType": _facet("2-0-4/JobTypeJobFacet", kind)}
    return msgspec.json.encode(
        {
            "eventType": report.state,
            "eventTime": rfc3339(report.at, microseconds=True),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
            "run": {"runId": report.job.run, "facets": run_facets},
            "job": {**_job(report.job), "facets": job_facets},
            "inputs": [_dataset(one) for one in inputs],
            "outputs": [_dataset(one) for one in outputs],
        }
    )


def _identified(job: Job) -> dict[str, Any]:
    return {"run": {"runId": job.run}, "job": _job(job)}


def _job(job: Job) -> dict[str, str]:
    return {"namespace": bounded(job.namespace, NAME_CHARACTERS), "name": bounded(job.name, NAME_CHARACTERS)}


def _facet(schema: str, values: Mapping[str, Any]) -> dict[str, Any]:
    name = schema.rpartition("/")[2]
    url = f"https://openlineage.io/spec/facets/{schema}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": url, **values}


def _dataset(dataset: Dataset) -> dict[str, Any]:
    facets = {}
    if dataset.columns:
        columns = [{"name": name, "type": kind} for name, kind in dataset.columns]
        facets["schema"] = _facet("1-2-0/SchemaDatasetFacet", {"fields": columns})
    if dataset.format:
        storage = {"storageLayer": dataset.namespace.partition(":")[0], "fileFormat": dataset.format}
        facets["storage"] = _facet("1-0-1/StorageDatasetFacet", storage)
    return {"namespace": dataset.namespace, "name": dataset.name, "facets": facets}
