"""`propeller tenants sync`: namespaces, quotas, accounts and policies of tenants, on each cluster, from templates."""

from __future__ import annotations

import asyncio
import logging
import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from propeller.cli._event_loop import run
from propeller.cli._exit_codes import PLATFORM_FAILED, SUCCEEDED, WORKFLOW_FAILED
from propeller.cli._output import say, say_json
from propeller.cli._settings import load_settings
from propeller.config import Settings
from propeller.errors import Invalid, PropellerError
from propeller.kube import connect, load_connection
from propeller.reconcile import Election
from propeller.telemetry import Causes, configure_logs
from propeller.tenants import (
    Action,
    Change,
    Cluster,
    ClusterReport,
    Rendered,
    SyncOptions,
    Tenants,
    load,
    read_templates,
    rendered,
    sync,
)

_log = logging.getLogger(__name__)

DRIFTED = WORKFLOW_FAILED
"""The exit code of a dry run that has found differences, as that of diff."""


def sync_tenants(
    *,
    file: str,
    dry_run: bool,
    prune: bool,
    prune_namespaces: bool,
    only: tuple[str, ...],
    watch: bool,
    output: str,
    config: str | None,
) -> int:
    """Make each cluster have what the templates of FILE mean for each project and domain."""
    if watch and (dry_run or output == "json"):
        raise click.UsageError("--watch changes clusters and logs: it goes with neither --dry-run nor --output json")
    options = SyncOptions(dry_run=dry_run, prune=prune, prune_namespaces=prune_namespaces)
    settings = load_settings(config)
    if watch:
        configure_logs("info")
        run(_keep(file, only, options, settings))
        return SUCCEEDED
    reports = run(_round(file, only, options, settings))
    if output == "json":
        say_json([_document(report) for report in reports])
    else:
        for report in reports:
            _show(report, options)
    if any(report.has_failed for report in reports):
        return PLATFORM_FAILED
    return DRIFTED if dry_run and any(report.has_drifted for report in reports) else SUCCEEDED


def _plan(file: str, only: Sequence[str]) -> tuple[Tenants, list[tuple[Cluster, tuple[Rendered, ...]]]]:
    """What there should be, by cluster. Raises Invalid before anything is asked."""
    config, tenants = load(file)
    known = [cluster.name for cluster in config.clusters]
    for name in only:
        if name not in known:
            raise Invalid(f"--cluster {name!r} is none of {', '.join(known)}")
    templates = read_templates(Path(file).parent / config.templates)
    chosen = [cluster for cluster in config.clusters if not only or cluster.name in only]
    return config, [(cluster, rendered(config, templates, tenants[cluster.name])) for cluster in chosen]


async def _round(file: str, only: Sequence[str], options: SyncOptions, settings: Settings) -> list[ClusterReport]:
    """Sync all clusters at once. Raises Invalid for what is wrong with the file."""
    config, plan = _plan(file, only)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_cluster(cluster, file, config, wanted, options, settings), name=f"sync {cluster.name}")
            for cluster, wanted in plan
        ]
    return [task.result() for task in tasks]


async def _cluster(
    cluster: Cluster,
    file: str,
    config: Tenants,
    wanted: Sequence[Rendered],
    options: SyncOptions,
    settings: Settings,
) -> ClusterReport:
    try:
        async with connect(
            load_connection(_kubeconfig(cluster, file), cluster.context or None), settings.client
        ) as client:
            await client.reach(settings.client.reach_deadline)
            return await sync(client, cluster.name, config.name, wanted, options)
    except PropellerError as error:
        return ClusterReport(cluster.name, error=error)


def _kubeconfig(cluster: Cluster, file: str) -> str | None:
    """Relative to the file that names it."""
    return str(Path(file).parent / cluster.kubeconfig) if cluster.kubeconfig else None


async def _keep(file: str, only: Sequence[str], options: SyncOptions, settings: Settings) -> None:
    """Sync again and again, until the lease is lost. The file and its templates are read anew in each round."""
    config, _ = _plan(file, only)
    first = config.clusters[0]
    async with connect(load_connection(_kubeconfig(first, file), first.context or None), settings.client) as client:
        identity = f"{platform.node()}_{uuid.uuid4()}"
        election = Election(client, config.lease.namespace, config.lease.name, identity, settings.election)
        _log.info("waiting for lease %s on cluster %s", election.lease, first.name)
        causes = Causes(_log)
        async with election.lead():
            while True:
                try:
                    config, _ = _plan(file, only)
                    for report in await _round(file, only, options, settings):
                        _tell(report, causes)
                except PropellerError as error:
                    causes.report(error, "%s cannot be used; what it said before stays", file)
                await asyncio.sleep(config.interval)


def _tell(report: ClusterReport, causes: Causes) -> None:
    """Log what a round has changed, and what failed."""
    if report.error is not None:
        causes.report(report.error, "cluster %s", report.cluster)
    for change in report.changes:
        if change.error is not None:
            causes.report(change.error, "cluster %s: %s", report.cluster, _what(change))
        elif change.action is not Action.UNCHANGED:
            _log.info(
                "cluster %s: %s %s %s", report.cluster, _what(change), change.action, "; ".join(change.differences)
            )


def _what(change: Change) -> str:
    where = f"{change.namespace}/{change.name}" if change.namespace else change.name
    return f"{change.kind.lower()}/{where}"


def _show(report: ClusterReport, options: SyncOptions) -> None:
    for line in _lines(report, options):
        say(line, to_stderr=line.startswith("error"))


def _lines(report: ClusterReport, options: SyncOptions) -> Iterator[str]:
    """A line for each object that was not as it should be, with its differences below it; then the sums."""
    if report.error is not None:
        yield f"error: cluster {report.cluster}: {report.error}"
        return
    for change in report.changes:
        if change.error is not None:
            yield f"error: cluster {report.cluster}: {_what(change)}: {change.error}"
        elif change.action is not Action.UNCHANGED:
            yield f"{report.cluster}: {_what(change)} {_word(change.action, options)}"
            yield from (f"    {line}" for line in change.differences)
    counts = {action: sum(change.action is action for change in report.changes) for action in Action}
    sums = ", ".join(f"{count} {_word(action, options)}" for action, count in counts.items() if count)
    yield f"{report.cluster}: {sums or 'nothing to do'}"


def _word(action: Action, options: SyncOptions) -> str:
    if not options.dry_run or action in (Action.UNCHANGED, Action.FAILED):
        return str(action)
    return {Action.CREATED: "would be created", Action.MENDED: "has drifted", Action.PRUNED: "would be pruned"}[action]


def _document(report: ClusterReport) -> Mapping[str, Any]:
    return {
        "cluster": report.cluster,
        "error": None if report.error is None else str(report.error),
        "objects": [
            {
                "action": str(change.action),
                "kind": change.kind,
                "namespace": change.namespace,
                "name": change.name,
                "tenant": change.whose,
                "differences": list(change.differences),
                "error": None if change.error is None else str(change.error),
            }
            for change in report.changes
        ],
    }
