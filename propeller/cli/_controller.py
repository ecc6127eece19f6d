"""`propeller controller`: the FlyteWorkflow controller, on a cluster, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import platform
import uuid
from contextlib import AsyncExitStack

import click
import msgspec

from propeller.cli._connecting import reach_patiently
from propeller.cli._descriptors import raise_descriptors
from propeller.cli._event_loop import run
from propeller.cli._gc_tuning import freeze_gc
from propeller.cli._probes import Probes
from propeller.cli._settings import lease_of, load_settings
from propeller.cli._sharded import Fence, FencedOpener, group_of, join
from propeller.cli._supervised import Supervised
from propeller.cli._supervisor import supervise
from propeller.cli.commands._limits import DEFAULT_SHARDS
from propeller.clusters import Connector, Opener
from propeller.config import Settings
from propeller.connectors import MayAct, always
from propeller.controller import Recorder, WorkflowController
from propeller.errors import Denied, PropellerError
from propeller.kube import Client, connect, load_connection
from propeller.reconcile import Election, Watchdog
from propeller.reconcile.shards import NoMembers, lead_alone
from propeller.storage import Storage
from propeller.telemetry import LogFormat, Metrics, configure_logs, serve_metrics

_log = logging.getLogger(__name__)


def run_controller(
    *,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    config: str | None,
    metadata_prefix: str | None,
    elect: bool,
    lease: str,
    metrics_port: int,
    metrics_host: str,
    shards: int | None,
    processes: int,
    process: str,
    report_to: int | None,
    log_level: str,
    log_format: str,
) -> None:
    """Run every FlyteWorkflow of a cluster, until SIGTERM or Ctrl-C."""
    if namespace == "":  # such as of a variable that is not set
        raise click.BadParameter("it is empty: leave the option out to run those of all namespaces", param_hint="-n")
    configure_logs(log_level, LogFormat(log_format), process=process)
    raise_descriptors()
    freeze_gc()
    settings = load_settings(config, **({"metadata_prefix": metadata_prefix} if metadata_prefix else {}))
    if lease:
        settings = _with_lease(settings, lease)
    settings = _with_shards(settings, shards, processes, elect=elect)
    if processes > 1:
        options = {
            "--kubeconfig": kubeconfig,
            "--context": context,
            "--namespace": namespace,
            "--config": config,
            "--metadata-prefix": metadata_prefix,
            "--lease": lease,
            "--shards": settings.shards.count,
            "--log-level": log_level,
            "--log-format": log_format,
        }
        given = [text for name, value in options.items() if value for text in (name, str(value))]
        arguments = ["controller", *given, "--metrics-port", "0"]
        run(supervise(arguments, processes, metrics_host, metrics_port, settings.metrics))
        return
    under = Supervised(process, report_to)
    run(_serve(kubeconfig, context, namespace, settings, under, elect=elect, port=metrics_port, host=metrics_host))


def _with_shards(settings: Settings, shards: int | None, processes: int, *, elect: bool) -> Settings:
    """The settings with the shards that the options ask for. Raises UsageError if they contradict each other."""
    count = settings.shards.count if shards is None else shards
    if processes > 1 and not count:
        count = DEFAULT_SHARDS
    if count and not elect:
        raise click.UsageError("shards are held by Leases: leave out --no-elect, or --shards and --processes")
    if processes > count + 1 > 1:
        raise click.UsageError(f"{processes} processes cannot divide {count + 1} shards: raise --shards")
    return msgspec.structs.replace(settings, shards=msgspec.structs.replace(settings.shards, count=count))


def _with_lease(settings: Settings, lease: str) -> Settings:
    namespace, name = lease_of(lease)
    election = msgspec.structs.replace(settings.election, lease_namespace=namespace, lease_name=name)
    return msgspec.structs.replace(settings, election=election)


async def _serve(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    settings: Settings,
    under: Supervised,
    *,
    elect: bool,
    port: int,
    host: str,
) -> None:
    async with AsyncExitStack() as stack:
        connection = load_connection(kubeconfig, context)
        client = await stack.enter_async_context(connect(connection, settings.client))
        fence = Fence()
        opener: Opener = Connector(client, connection, settings.client)
        if settings.shards.count:
            client, opener = fence.around(client), FencedOpener(opener, fence)
        metrics = Metrics()
        metrics.watch_requests(client.requests.counts)
        probes = Probes(client, settings.client.refused_for)
        bound = await stack.enter_async_context(
            serve_metrics(
                metrics,
                port=port,
                host=host,
                settings=settings.metrics,
                live=probes.live,
                ready=probes.ready,
                pages={"/queue": probes.queue, "/clusters": probes.clusters},
            )
        )
        under.report("port", bound)
        probes.waits_for = f"an answer of {connection.origin}"
        await reach_patiently(client, connection)  # while probes are answered, so that the kubelet does not restart us
        probes.waits_for = ""
        watchdog = Watchdog(
            settings.watchdog, on_block=metrics.watch_lag(lambda: watchdog.max_lag), on_lag=metrics.lagged
        )
        await stack.enter_async_context(watchdog)
        if elect and not settings.shards.count:
            fence.check = await _lead(stack, client, settings, metrics, probes)
        storage = await stack.enter_async_context(Storage(settings.storage))
        recorder = await _recorder(stack, client, settings, metrics)
        controller = WorkflowController(
            client,
            storage,
            settings,
            namespace=namespace,
            metrics=metrics,
            recorder=recorder,
            opener=opener,
            may_act=fence.may_act if elect else always,
        )
        try:
            await stack.enter_async_context(controller.running())
        except Denied as error:
            raise PropellerError(f"{error}. The manifests of propeller install --print grant what is needed") from error
        if settings.shards.count:
            membership = await join(stack, client, controller, fence, settings, metrics, probes, under.process)
            await stack.enter_async_context(under.heeding(membership))
        probes.controller = controller
        _log.info("running the workflows of %s on %s", namespace or "all namespaces", connection.origin)
        await asyncio.Event().wait()  # until cancelled


async def _recorder(stack: AsyncExitStack, client: Client, settings: Settings, metrics: Metrics) -> Recorder | None:
    if not settings.events.enabled:
        return None
    recorder = await stack.enter_async_context(Recorder(client, settings.events))
    metrics.watch_events(recorder.counts)
    return recorder


async def _lead(stack: AsyncExitStack, client: Client, settings: Settings, metrics: Metrics, probes: Probes) -> MayAct:
    """Wait for the lease, and until nobody divides the work; from then on the loss of the lease ends the stack. Returns
    whether it is held still.
    """
    identity = f"{platform.node()}_{uuid.uuid4()}"  # names of machines and process ids are not unique in containers
    chosen = settings.election
    election = Election(client, chosen.lease_namespace, chosen.lease_name, identity, chosen)
    probes.election = election
    _log.info("waiting for lease %s", election.lease)
    others = NoMembers(client, chosen.lease_namespace, group_of(settings), chosen)
    leadership = await stack.enter_async_context(lead_alone(election, others, chosen.retry))
    probes.leads = True
    metrics.watch_lease(election.lease, lambda: leadership.remaining() > 0)
    return leadership.check
