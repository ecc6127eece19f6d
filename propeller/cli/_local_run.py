"""Run a workflow on this machine: an embedded cluster, the controller on it, and one execution from start to end.

Guarantees
    However it ends, also by Ctrl-C, no task process is left, no port is open, and jobs of connectors are deleted. While
    it runs, a port is open with `serve`, and if gates of the workflow wait for answers.
    Outputs are kept: below `storage`, by default in a directory of the user's that keeps the last runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from propeller.cli._files import private_kubeconfig
from propeller.cli._gate_notes import GateNotes
from propeller.cli._output import say
from propeller.cli._progress import Progress, watching
from propeller.cli._registered import linked_with
from propeller.cli._result import report_end
from propeller.cli._run_jobs import RunJobs
from propeller.cli._task_output import TaskOutput, show_output
from propeller.cli._workflow import is_execution_name, new_execution_name, resource_of, waits_for_answers
from propeller.cli.flytekit_bridge import LAPTOP, Versioned, root_of, serialize
from propeller.config import RoutingOptions, Settings
from propeller.controller import FLYTE_WORKFLOWS, WORKFLOWS, FlyteWorkflow, WorkflowController, workflow_crd
from propeller.embedded import Cluster, embedded_cluster
from propeller.embedded.kubelet import LinkedFiles
from propeller.embedded.server import own_certificate
from propeller.errors import Invalid, PropellerError
from propeller.informers import Change, Informer
from propeller.kube import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from propeller.storage import Storage, StorageOptions, make_private, own_directory, write_literals
from propeller.text import one_line
from propeller.workflow import Execution

MAX_KEPT_RUNS = 20
"""Directories of earlier runs that are kept: enough to look back, few enough not to fill a disk."""

NAMED_FILES = 10
"""Changed files of the project that a warning names."""

LAST_STATUS_SECONDS = 2.0
"""How long a run that has ended waits for its last status to be seen."""

_CLIENTS = {"s3": ("s3fs",)}
"""Modules that flytekit imports to read and write each scheme. The import takes a second, which each task need not
pay.
"""


class LocalRun(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, and how. `words` are the arguments for inputs, `values` those of a file, which words precede;
    `options` are propeller's options among the words, as written. `storage` is a URI, "" for the user's own directory;
    `serve` a kubeconfig to write, with `tls` for HTTPS.
    """

    file: Path
    entity: str
    words: tuple[str, ...]
    python: str
    values: Mapping[str, str] = {}
    options: tuple[str, ...] = ()
    as_json: bool = False
    quiet: bool = False
    full_traceback: bool = False
    storage: str = ""
    serve: str = ""
    tls: bool = False
    overwrite_cache: bool = False
    registry: str = ""
    settings: Settings = Settings()


async def run_locally(run: LocalRun) -> int:
    """Run it; return the exit code. Raises PropellerError if it cannot be run."""
    name = new_execution_name()
    versioned = Versioned()
    directory = _directory_of(name)
    storage_uri = run.storage.rstrip("/") or f"file://{directory}"
    settings = _settings(run, storage_uri, directory / "logs")
    async with AsyncExitStack() as stack:
        progress = await stack.enter_async_context(watching(quiet=run.quiet, progress=not run.as_json))
        progress.note(f"reading {run.file}")
        workdir = stack.enter_context(tempfile.TemporaryDirectory(prefix="propeller-", ignore_cleanup_errors=True))
        storage = await stack.enter_async_context(Storage(settings.storage))
        cluster = await stack.enter_async_context(embedded_cluster(Path(workdir), settings))
        serialized = await serialize(
            run.python,
            run.file,
            run.entity,
            run.words,
            versioned,
            f"{settings.storage.raw_output_prefix}/inputs".removeprefix("file://"),
            options=run.options,
            values=run.values,
        )
        found = await linked_with(serialized, run.registry, settings.storage)
        serialized = found.serialized
        namespace = f"{versioned.project}-{versioned.domain}"
        inputs_uri = f"{settings.storage.raw_output_prefix}/inputs/{name}.pb"
        resource = resource_of(
            serialized,
            versioned,
            name=name,
            namespace=namespace,
            inputs_uri=inputs_uri,
            overwrite_cache=run.overwrite_cache,
            registered=found.plans,
        )
        await write_literals(storage, inputs_uri, serialized.inputs)  # storage must be writable
        await _prepare(cluster, namespace)
        if run.serve:
            await stack.enter_async_context(_served(cluster, run, progress))
        elif waits_for_answers(serialized):
            own = msgspec.structs.replace(run, serve=str(directory / "kubeconfig"))
            await stack.enter_async_context(_served(cluster, own, progress))
            progress.say(f"it waits for answers; in another terminal: export KUBECONFIG={shlex.quote(own.serve)}")
        printed = await stack.enter_async_context(show_output(Path(settings.kubelet.logs), progress))
        linked = LinkedFiles(Path(settings.kubelet.project))
        execution = await _run(cluster, storage, settings, resource, progress, printed)
    _warn_of(linked.changed())
    async with Storage(settings.storage) as storage:
        logs = Path(settings.kubelet.logs)
        return await report_end(execution, storage, as_json=run.as_json, logs=logs, full_traceback=run.full_traceback)


def _warn_of(changed: Sequence[str]) -> None:
    """Warn of files of the project that have changed: a user does not expect a run to change any."""
    if changed:
        some = ", ".join(changed[:NAMED_FILES]) + (
            f" and {len(changed) - NAMED_FILES} more" * (len(changed) > NAMED_FILES)
        )
        say(
            f"warning: the project was changed while tasks ran: {one_line(some)}. They are too large to be copied for "
            "each task; what is no Python code, or opens files itself, writes to the project's own",
            to_stderr=True,
        )


async def _prepare(cluster: Cluster, namespace: str) -> None:
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, workflow_crd())
    await cluster.client.create(NAMESPACES, {"metadata": {"name": namespace}})


async def _run(
    cluster: Cluster,
    storage: Storage,
    settings: Settings,
    resource: dict[str, object],
    progress: Progress,
    printed: TaskOutput,
) -> Execution:
    """Create the resource, and wait until its execution has ended and its last status is written."""
    ended: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()
    written = asyncio.Event()

    metadata = _metadata(resource)
    key = f"{metadata['namespace']}/{metadata['name']}"
    gates, jobs = GateNotes(progress, key if progress.shows_whole_nodes else ""), RunJobs(key)

    def observe(execution: Execution) -> None:
        printed.changed(execution)
        gates.changed(execution)
        if execution.key != key:
            return  # a launch plan's, which its node waits for
        progress.changed(execution)
        if execution.phase.ended and not ended.done():
            ended.set_result(execution)

    def follow(change: Change[FlyteWorkflow]) -> None:
        if change.key != key:
            return
        if change.new is not None and change.new.phase.ended:
            written.set()
        if ended.done():
            return
        if change.new is None:
            ended.set_exception(Invalid("the execution was deleted while it ran"))
        elif change.new.phase.ended:  # without a reconcile: it could not be loaded
            error = change.new.status.get("error") or {}
            ended.set_exception(Invalid(str(error.get("message") or "the workflow was refused")))

    controller = WorkflowController(cluster.client, storage, settings, observer=observe)
    async with controller.running(), Informer(cluster.client, WORKFLOWS, settings=settings.informers) as workflows:
        await cluster.client.create(FLYTE_WORKFLOWS, resource, str(metadata["namespace"]))
        workflows.subscribe(follow)
        workflows.subscribe(jobs.follow)
        try:
            execution = await ended
            with contextlib.suppress(TimeoutError):  # lets kubectl see the end; it is already known here
                await asyncio.wait_for(written.wait(), LAST_STATUS_SECONDS)
            await jobs.over(progress)
        except asyncio.CancelledError:
            await jobs.abort(cluster.client, str(metadata["name"]), str(metadata["namespace"]), progress)
            raise
        return execution


def _metadata(resource: dict[str, object]) -> dict[str, object]:
    metadata = resource["metadata"]
    assert isinstance(metadata, dict)
    return metadata


@asynccontextmanager
async def _served(cluster: Cluster, run: LocalRun, progress: Progress) -> AsyncIterator[None]:
    """The cluster over HTTP, or HTTPS, for as long as the run lasts, and a kubeconfig for it."""
    tls, ca = await own_certificate() if run.tls else (None, None)
    async with cluster.server.serve(tls=tls, ca=ca) as front:
        with private_kubeconfig(Path(run.serve), front.kubeconfig(), "--serve"):
            progress.note(f"kubectl --kubeconfig {run.serve} get flyteworkflows -A -w    (or pods, or both without -w)")
            yield


def _settings(run: LocalRun, storage_uri: str, logs: Path) -> Settings:
    """Return the settings for a run here: paths, interpreter, and the shell's environment for tasks."""
    kubelet = msgspec.structs.replace(
        run.settings.kubelet,
        python=run.python,
        project=str(root_of(run.file.resolve())),
        preload=(*run.settings.kubelet.preload, str(LAPTOP), *_CLIENTS.get(storage_uri.partition("://")[0], ())),
        inherit_env=tuple(os.environ),
        logs=str(logs),
        events=bool(run.serve) and run.settings.kubelet.events,
    )
    storage = msgspec.structs.replace(
        run.settings.storage,
        metadata_prefix=f"{storage_uri}/metadata",
        raw_output_prefix=f"{storage_uri}/raw",
        s3_endpoint=run.settings.storage.s3_endpoint or _first_set("AWS_ENDPOINT_URL", "FLYTE_AWS_ENDPOINT"),
    )
    catalog = run.settings.catalog
    if not run.storage:  # each run has a directory of its own, and what one has computed the next one need not
        prefix = catalog.prefix or f"{StorageOptions().metadata_prefix}/catalog"
        catalog = msgspec.structs.replace(catalog, prefix=prefix)
        storage = msgspec.structs.replace(storage, read_prefixes=(*storage.read_prefixes, f"file://{own_directory()}"))
    raw = run.settings.raw_containers
    if not raw.image:
        raw = msgspec.structs.replace(raw, image="propeller")  # images are not looked up here
    registry = run.settings.registry
    if run.registry:
        registry = msgspec.structs.replace(registry, prefix=run.registry)
        storage = msgspec.structs.replace(storage, read_prefixes=(*storage.read_prefixes, run.registry))
    resources = msgspec.structs.replace(run.settings.resources, fair_queues=False)  # there is no such type
    pods = msgspec.structs.replace(run.settings.pod_defaults, secrets="none")  # they are the shell's
    return msgspec.structs.replace(
        run.settings,
        kubelet=kubelet,
        storage=storage,
        catalog=catalog,
        registry=registry,
        resources=resources,
        raw_containers=raw,
        pod_defaults=pods,
        attempts=msgspec.structs.replace(run.settings.attempts, run_eager=True),
        routing=RoutingOptions(),  # one machine is one cluster
    )


def _first_set(*names: str) -> str:
    """Return the first of these variables that is set: S3 clients of other makes read the same ones as flytekit."""
    return next((value for name in names if (value := os.environ.get(name))), "")


def _directory_of(name: str) -> Path:
    """A directory for this run among the last ones, of which the oldest are removed. Raises PropellerError."""
    make_private(own_directory())
    runs = Path(own_directory()) / "runs"
    try:
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        earlier = sorted(filter(_is_of_a_run, runs.iterdir()), key=lambda path: path.stat().st_mtime)
        for old in earlier[: max(0, len(earlier) - MAX_KEPT_RUNS + 1)]:
            shutil.rmtree(old, ignore_errors=True)
        for made in (runs / name, runs / name / "logs"):
            made.mkdir(mode=0o700)
    except OSError as error:
        raise PropellerError(
            f"{runs} cannot be written: {error.strerror}; name another place with --storage URI"
        ) from error
    return runs / name


def _is_of_a_run(path: Path) -> bool:
    """Whether `_directory_of` has made it, as its name says; anything else there is left alone."""
    return is_execution_name(path.name) and path.is_dir() and not path.is_symlink()
