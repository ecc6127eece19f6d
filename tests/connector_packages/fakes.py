"""What connector packages stand on, faked at their client libraries: `pyflyte serve connector --modules fakes` runs the
packages themselves, and flytekit's service.

Every call of a client is a line of JSON in `CALLS`, every request of the controller one in `REQUESTS`. A job runs at
its first look and has ended at the second, as the file `END` says: succeed, fail, or never. Jobs that are commands are
run.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import json
import os
import shlex
import subprocess
import threading
import types
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flytekit.extend.backend import connector_service
from google.protobuf import json_format


def write(file: str, line: dict[str, Any]) -> None:
    with Path(os.environ[file]).open("a") as lines:
        lines.write(json.dumps(line, default=str) + "\n")


def called(client: str, call: str, **given: Any) -> None:
    write("CALLS", {"client": client, "call": call, **given})


def end() -> str:
    return Path(os.environ["END"]).read_text()


class Jobs:
    """The jobs of one service."""

    def __init__(self, client: str) -> None:
        self.client = client
        self.looks: dict[str, int] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self, command: str = "", **given: Any) -> str:
        job = uuid.uuid4().hex[:8]
        called(self.client, "begin", job=job, command=command, **given)
        self.looks[job] = 0
        if command and end() == "succeed":
            self.processes[job] = subprocess.Popen(["bash", "-c", command], cwd=os.environ["FLOWS"])
        return job

    def state(self, job: str) -> str:
        """runs, succeeded or failed."""
        self.looks[job] = self.looks.get(job, 0) + 1
        called(self.client, "look", job=job)
        process = self.processes.get(job)
        if end() == "never" or self.looks[job] < 2 or (process is not None and process.poll() is None):
            return "runs"
        if process is not None and process.returncode:
            return "failed"
        return "failed" if end() == "fail" else "succeeded"

    def cancel(self, job: str) -> None:
        called(self.client, "cancel", job=job)


# requests of the controller


def recorded(service: type[Any], operation: str) -> None:
    method = getattr(service, operation)

    @functools.wraps(method)
    async def record(self: Any, request: Any, context: Any) -> Any:
        write("REQUESTS", {"operation": operation, "request": json_format.MessageToDict(request)})
        return await method(self, request, context)

    setattr(service, operation, record)


def recorded_stream(service: type[Any]) -> None:
    method = service.ExecuteTaskSync

    async def record(self: Any, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async def noted() -> AsyncIterator[Any]:
            async for request in requests:
                write("REQUESTS", {"operation": "ExecuteTaskSync", "request": json_format.MessageToDict(request)})
                yield request

        async for answer in method(self, noted(), context):
            yield answer

    service.ExecuteTaskSync = record


for name in ("CreateTask", "GetTask", "DeleteTask"):
    recorded(connector_service.AsyncConnectorService, name)
recorded_stream(connector_service.SyncConnectorService)


# BigQuery


def bigquery() -> None:
    from google.cloud import bigquery

    jobs = Jobs("bigquery")

    class Client:
        def __init__(self, project: str | None = None, location: str | None = None, client_info: Any = None) -> None:
            self._of = {"project": project, "location": location}

        def query(self, statement: str, job_config: Any = None) -> Any:
            parameters = [one.to_api_repr() for one in job_config.query_parameters] if job_config else []
            job = jobs.begin(statement=statement, parameters=parameters, **self._of)
            return types.SimpleNamespace(job_id=job)

        def get_job(self, job: str, project: str, location: str) -> Any:
            state = jobs.state(job)
            table = types.SimpleNamespace(project=project, dataset_id="results", table_id=job)
            return types.SimpleNamespace(
                errors=[{"reason": "invalidQuery", "message": "no such table"}] if state == "failed" else None,
                state="RUNNING" if state == "runs" else "DONE",
                destination=table,
            )

        def cancel_job(self, job: str, project: str, location: str) -> None:
            jobs.cancel(job)

    bigquery.Client = Client


# Snowflake


def snowflake() -> None:
    from snowflake import connector

    jobs = Jobs("snowflake")

    class Cursor:
        sfqid = ""

        def __init__(self, of: dict[str, Any]) -> None:
            self._of = of

        def execute_async(self, statement: str, parameters: Any) -> None:
            self.sfqid = jobs.begin(statement=statement, parameters=parameters, **self._of)

        def execute(self, statement: str) -> None:
            jobs.cancel(statement.partition("'")[2].partition("'")[0])

        def fetchall(self) -> list[Any]:
            return []

        def close(self) -> None:
            """Nothing is open."""

    class Connection:
        def __init__(self, **of: Any) -> None:
            assert of.pop("private_key")
            self._of = of

        def cursor(self) -> Cursor:
            return Cursor(self._of)

        def get_query_status_throw_if_error(self, job: str) -> Any:
            state = jobs.state(job)
            if state == "failed":
                raise connector.ProgrammingError(msg="SQL compilation error")
            return types.SimpleNamespace(name="RUNNING" if state == "runs" else "SUCCESS")

        def close(self) -> None:
            """Nothing is open."""

    connector.connect = Connection


# Databricks


def databricks() -> None:
    from flytekitplugins.spark import connector

    jobs = Jobs("databricks")

    @asynccontextmanager
    async def answer(body: dict[str, Any]) -> AsyncIterator[Any]:
        async def read() -> dict[str, Any]:
            return body

        yield types.SimpleNamespace(status=200, reason="OK", json=read)

    class Session:
        async def __aenter__(self) -> Session:
            return self

        async def __aexit__(self, *_: object) -> None:
            return

        def post(self, url: str, headers: dict[str, str], data: str) -> Any:
            body = json.loads(data)
            if url.endswith("/cancel"):
                jobs.cancel(body["run_id"])
                return answer({})
            words = body["spark_python_task"]["parameters"]
            return answer({"run_id": jobs.begin(shlex.join(words), url=url, body=body, auth=headers["Authorization"])})

        def get(self, url: str, headers: dict[str, str]) -> Any:
            state = jobs.state(url.partition("run_id=")[2])
            ended = {"life_cycle_state": "TERMINATED", "result_state": "FAILED" if state == "failed" else "SUCCESS"}
            said = {"state_message": "the driver has failed" if state == "failed" else "In run"}
            running = {"life_cycle_state": "RUNNING"}
            return answer({"job_id": 7, "state": said | (running if state == "runs" else ended)})

    connector.aiohttp = types.SimpleNamespace(ClientSession=Session)


# Slurm


def slurm() -> None:
    import asyncssh

    jobs = Jobs("slurm")

    class Files:
        async def __aenter__(self) -> Files:
            return self

        async def __aexit__(self, *_: object) -> None:
            return

        async def put(self, local: str, remote: str) -> None:
            Path(remote).write_bytes(Path(local).read_bytes())

        async def get(self, remote: str, local: str) -> None:
            Path(local).write_text("what it has printed")

        async def exists(self, remote: str) -> bool:
            return Path(remote).exists()

    class Connection:
        async def run(self, command: str, check: bool) -> Any:
            program, *words = shlex.split(command)
            if program == "sbatch":
                script = next(index for index, word in enumerate(words) if word.startswith("/"))
                run = words[script:] if os.access(words[script], os.X_OK) else ["bash", *words[script:]]
                job = jobs.begin(shlex.join(run), options=words[:script])
                return types.SimpleNamespace(stdout=f"Submitted batch job {job}\n")
            if program == "scancel":
                jobs.cancel(words[0])
            if program != "scontrol":
                return types.SimpleNamespace(stdout="")
            state = {"runs": "RUNNING", "succeeded": "COMPLETED", "failed": "FAILED"}[jobs.state(words[-1])]
            return types.SimpleNamespace(
                stdout=json.dumps({"jobs": [{"job_state": [state], "standard_output": "/tmp/slurm.out"}]})
            )

        def start_sftp_client(self) -> Files:
            return Files()

    async def connect(**of: Any) -> Connection:
        called("slurm", "connect", **of)
        return Connection()

    asyncssh.connect = connect


# AWS by boto3


def aws() -> None:
    import aioboto3

    jobs = Jobs("sagemaker")
    names: dict[str, str] = {}

    class Client:
        def __getattr__(self, method: str) -> Callable[..., Any]:
            async def call(**given: Any) -> dict[str, Any]:
                called("boto", method, **given)
                return answer(method, given)

            return call

        async def __aenter__(self) -> Client:
            return self

        async def __aexit__(self, *_: object) -> None:
            return

    def answer(method: str, given: dict[str, Any]) -> dict[str, Any]:
        verb, _, what = method.partition("_")
        name = str(given.get("EndpointName") or given.get("TrainingJobName") or given.get("ModelName") or "x")
        if method in {"create_endpoint", "create_training_job"}:
            names[name] = jobs.begin()
        if verb == "describe" and what == "endpoint":
            state = {"runs": "Creating", "succeeded": "InService", "failed": "Failed"}[jobs.state(names[name])]
            return {"EndpointStatus": state, "EndpointArn": f"arn:{name}", "FailureReason": "no capacity"}
        if verb == "describe" and what == "training_job":
            state = {"runs": "InProgress", "succeeded": "Completed", "failed": "Failed"}[jobs.state(names[name])]
            artifacts = {"S3ModelArtifacts": "s3://bucket/model.tar.gz"}
            said = {"SecondaryStatus": "Training", "FailureReason": "AlgorithmError"}
            return {"TrainingJobStatus": state, "TrainingJobName": name, "ModelArtifacts": artifacts, **said}
        if method in {"stop_training_job", "delete_endpoint"}:
            jobs.cancel(names.get(name, name))
        return {"ModelArn": f"arn:{name}"}

    class Session:
        def client(self, service_name: str, region_name: str) -> Client:
            called("boto", "client", service=service_name, region=region_name)
            return Client()

    aioboto3.Session = Session


# Kubernetes, by the package k8sdataservice


def kubernetes() -> None:
    from kubernetes import client

    jobs = Jobs("kubernetes")
    ids: dict[str, str] = {}

    def create(self: Any, namespace: str, body: Any) -> Any:
        name = body.metadata.name
        if body.kind == "StatefulSet":
            ids[name] = jobs.begin(namespace=namespace, name=name, image=body.spec.template.spec.containers[0].image)
        return types.SimpleNamespace(metadata=types.SimpleNamespace(name=name))

    def read(self: Any, name: str, namespace: str) -> Any:
        state = jobs.state(ids[name])
        available = {"runs": 0, "succeeded": 1, "failed": None}[state]
        status = types.SimpleNamespace(
            replicas=1, available_replicas=available, ready_replicas=available, conditions=[]
        )
        return types.SimpleNamespace(status=status)

    def delete(self: Any, name: str, namespace: str, body: Any) -> None:
        jobs.cancel(ids.get(name, name))

    client.AppsV1Api.create_namespaced_stateful_set = create
    client.AppsV1Api.read_namespaced_stateful_set = read
    client.AppsV1Api.delete_namespaced_stateful_set = delete
    client.CoreV1Api.create_namespaced_service = create
    client.CoreV1Api.delete_namespaced_service = delete


# Memory Machine Cloud, whose client is the program `float`


def mmcloud() -> None:
    from flytekitplugins.mmcloud import connector

    jobs = Jobs("mmcloud")

    async def check_output(program: str, verb: str, *words: str) -> bytes:
        options = dict(itertools.pairwise(words))
        if verb == "submit":
            shown = [word for word in words if not word.startswith("/")]
            return json.dumps({"id": jobs.begin(Path(options["--job"]).read_text(), words=shown)}).encode()
        if verb == "show":
            state = {"runs": "Executing", "succeeded": "Completed", "failed": "FailToExecute"}
            return json.dumps({"status": state[jobs.state(options["--job"])]}).encode()
        if verb == "cancel":
            jobs.cancel(options["--job"])
        return b"{}"

    connector.async_check_output = check_output


# Perian


def perian() -> None:
    from perian import JobApi, JobStatus

    jobs = Jobs("perian")
    states = {"runs": JobStatus.RUNNING, "succeeded": JobStatus.DONE, "failed": JobStatus.USERERROR}

    def create(self: Any, create_job_request: Any, _headers: dict[str, str]) -> Any:
        run = create_job_request.docker_run_parameters
        of = {"image": run.image_name, "requirements": create_job_request.requirements.to_dict(), "headers": _headers}
        return types.SimpleNamespace(status_code=200, id=jobs.begin(run.command, secrets=sorted(run.secrets), **of))

    def get(self: Any, job_id: str, _headers: dict[str, str]) -> Any:
        job = types.SimpleNamespace(status=states[jobs.state(job_id)], logs="what it has printed")
        return types.SimpleNamespace(status_code=200, jobs=[job])

    def cancel(self: Any, job_id: str, _headers: dict[str, str]) -> Any:
        jobs.cancel(job_id)
        return types.SimpleNamespace(status_code=200)

    JobApi.create_job, JobApi.get_job_by_id, JobApi.cancel_job = create, get, cancel


# OpenAI


def openai() -> None:
    import openai

    jobs = Jobs("openai")

    class Batches:
        async def create(self, **given: Any) -> Any:
            return types.SimpleNamespace(id=jobs.begin(**given))

        async def retrieve(self, job: str) -> Any:
            state = {"runs": "in_progress", "succeeded": "completed", "failed": "failed"}[jobs.state(job)]
            errors = types.SimpleNamespace(data=[types.SimpleNamespace(message="the file is empty")])
            said = {"id": job, "status": state, "output_file_id": "file-1", "error_file_id": None}
            return types.SimpleNamespace(status=state, errors=errors, to_dict=lambda: said)

        async def cancel(self, job: str) -> None:
            jobs.cancel(job)

    class Completions:
        async def create(self, **given: Any) -> Any:
            called("chatgpt", "create", **given)
            if end() == "fail":
                raise ValueError("the model is overloaded")
            message = types.SimpleNamespace(content=f"{given['messages'][0]['content']}!")
            return types.SimpleNamespace(choices=[types.SimpleNamespace(message=message)])

    class AsyncOpenAI:
        def __init__(self, organization: str | None, api_key: str) -> None:
            called("openai", "client", organization=organization, key=api_key)
            self.batches = Batches()
            self.chat = types.SimpleNamespace(completions=Completions())

    openai.AsyncOpenAI = AsyncOpenAI


# what the webhook task of flytekit itself calls


def webhook() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            called("webhook", "POST", path=self.path, body=json.loads(body), token=self.headers["X-Token"])
            self.send_response(500 if end() == "fail" else 200)
            self.end_headers()
            self.wfile.write(b"heard")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["WEBHOOK"])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


for fake in (bigquery, snowflake, databricks, slurm, aws, kubernetes, mmcloud, perian, openai, webhook):
    with contextlib.suppress(ImportError):  # a package that is not installed has no tasks
        fake()
