"""A server that takes OpenLineage events over HTTP, and what it has got, checked by OpenLineage's own types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import msgspec
from aiohttp import web
from openlineage.client import event_v2, facet_v2
from openlineage.client.facet_v2 import parent_run


class Receiver:
    """`answers` are the codes of the next requests; after them it answers 201, and 503 to the run `failing`. While
    `held` it answers nothing.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.answers: list[int] = []
        self.held = asyncio.Event()
        self.held.set()
        self.url = ""
        self.failing = ""
        self.at_once = self.most_at_once = 0
        self._peers: set[object] = set()

    @property
    def connections(self) -> int:
        return len(self._peers)

    async def _take(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization"))
        event = msgspec.json.decode(await request.read())
        assert request.transport is not None
        self._peers.add(request.transport.get_extra_info("peername"))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.held.wait()
        self.at_once -= 1
        status = self.answers.pop(0) if self.answers else 201
        if event["run"]["runId"] == self.failing:
            status = 503
        if status == 201:
            self.events.append(check(event))
        return web.Response(status=status)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Receiver]:
        application = web.Application()
        application.router.add_post("/api/v1/lineage", self._take)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1/lineage"
        try:
            yield self
        finally:
            self.held.set()
            await runner.cleanup()


FACETS = {
    "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
    "parent": facet_v2.parent_run.ParentRunFacet,
    "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    "tags": facet_v2.tags_run.TagsRunFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
    "storage": facet_v2.storage_dataset.StorageDatasetFacet,
}


def check(event: dict[str, Any]) -> dict[str, Any]:
    """Build the event of OpenLineage's client of this one, which refuses unknown fields, missing ones and wrong ids."""
    run = event_v2.Run(event["run"]["runId"], facets=_facets(event["run"]["facets"]))
    job = event_v2.Job(event["job"]["namespace"], event["job"]["name"], facets=_facets(event["job"]["facets"]))
    built = event_v2.RunEvent(
        eventTime=event["eventTime"],
        producer=event["producer"],
        eventType=event_v2.RunState(event["eventType"]),
        run=run,
        job=job,
        inputs=[event_v2.InputDataset(*_named(one), facets=_facets(one["facets"])) for one in event["inputs"]],
        outputs=[event_v2.OutputDataset(*_named(one), facets=_facets(one["facets"])) for one in event["outputs"]],
    )
    assert {field.name for field in attrs.fields(event_v2.RunEvent)} >= event.keys()
    assert event["schemaURL"] == built.schemaURL
    return event


def _named(dataset: dict[str, Any]) -> tuple[str, str]:
    return dataset["namespace"], dataset["name"]


def _facets(facets: dict[str, dict[str, Any]]) -> dict[str, Any]:
    built = {}
    for name, facet in facets.items():
        values = {key: value for key, value in facet.items() if not key.startswith("_")}
        if name == "parent":
            values = _parent(values) | {
                "root": parent_run.Root(**_parent(values["root"], parent_run.RootRun, parent_run.RootJob))
            }
        elif name == "schema":
            values["fields"] = [facet_v2.schema_dataset.SchemaDatasetFacetFields(**one) for one in values["fields"]]
        elif name == "tags":
            values["tags"] = [facet_v2.tags_run.TagsRunFacetFields(**one) for one in values["tags"]]
        made = FACETS[name](**values)
        assert facet["_schemaURL"] == made._schemaURL  # the version of the facet that the types know
        built[name] = made
    return built


def _parent(values: dict[str, Any], run: Any = parent_run.Run, job: Any = parent_run.Job) -> dict[str, Any]:
    assert values.keys() <= {"run", "job", "root"}
    return {"run": run(**values["run"]), "job": job(**values["job"])}
