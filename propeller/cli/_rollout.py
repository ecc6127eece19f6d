"""`propeller rollout`: a new version of the controller takes the work step by step, and goes back if it is bad."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from propeller.cli._connecting import connected
from propeller.cli._event_loop import run
from propeller.cli._exit_codes import PLATFORM_FAILED, SUCCEEDED
from propeller.cli._output import say, say_json
from propeller.cli._routing_tables import Tables, table_of_settings
from propeller.cli._settings import load_settings
from propeller.cli._sharded import group_of
from propeller.cli._table import table
from propeller.clock import SYSTEM_CLOCK
from propeller.config import Settings
from propeller.errors import Conflict, Invalid, NotFound
from propeller.reconcile.rollouts import Rollout, State, abort, begin, promote, waits_for
from propeller.reconcile.shards import GroupView, ShardMap, change_rollout, view_group
from propeller.routing import State as ClusterState
from propeller.routing import Table
from propeller.text import one_line
from propeller.workflow import cluster_of_key

LOOK_SECONDS = 2.0
"""Between two looks of --wait."""

MAX_VERSION = 63
"""Characters of a version, as in `shards.version`."""

MAX_REASON = 500
"""Characters of why a rollout is aborted."""

Change = Callable[[GroupView], Rollout | None]


def start(
    *,
    candidate: str,
    current: str,
    by: str | None,
    wait: bool,
    kubeconfig: str | None,
    context: str | None,
    config: str | None,
) -> int:
    """Start to give shards to a new version."""
    for option, version in (("--to", candidate), ("--from", current)):
        if len(version) > MAX_VERSION or not version.isprintable():
            raise Invalid(
                f"{option} must be {MAX_VERSION} printable characters at most, as the version of a controller"
            )
    settings = load_settings(config)
    named = table_of_settings(settings)
    routes = run(Tables(kubeconfig, context, settings).read(named)) if named and by != "shards" else None

    def change(view: GroupView) -> Rollout:
        running = view.map.rollout
        if running is not None and not running.state.is_over:
            raise Conflict(f"the rollout of {running.candidate} is {running.state}: promote or abort it first")
        old = current or _version_that_runs(view)
        new = candidate or _other_version(view, old)
        if new not in view.map.versions.values():
            say(f"no member is of version {one_line(new)} yet; there are {_versions_text(view)}", to_stderr=True)
        first = () if by == "shards" else tuple(_by_clusters(view, routes))
        if by == "clusters" and not first:
            raise Invalid("no cluster has a shard of its own: shards.clusters in the controllers' settings names some")
        return begin(new, old, view.loads, view.map.count, settings.rollout, SYSTEM_CLOCK.now(), first)

    return run(_change(kubeconfig, context, settings, change, wait=wait))


def status(*, output: str, wait: bool, kubeconfig: str | None, context: str | None, config: str | None) -> int:
    """Show the rollout."""
    return run(_status(kubeconfig, context, load_settings(config), output, wait=wait))


def promote_it(*, whole: bool, kubeconfig: str | None, context: str | None, config: str | None) -> int:
    """Go on to the next stage now, whatever was seen."""

    def change(view: GroupView) -> Rollout:
        return promote(_under_way(view), SYSTEM_CLOCK.now(), whole=whole, why="promoted by hand")

    return run(_change(kubeconfig, context, load_settings(config), change))


def abort_it(*, reason: str, kubeconfig: str | None, context: str | None, config: str | None) -> int:
    """Give all shards back to the version that runs."""
    if len(reason) > MAX_REASON:
        raise Invalid(
            f"--reason has {len(reason)} characters, over {MAX_REASON}: every process reads it again and again"
        )

    def change(view: GroupView) -> Rollout:
        return abort(_under_way(view), one_line(reason), SYSTEM_CLOCK.now())

    return run(_change(kubeconfig, context, load_settings(config), change))


def _under_way(view: GroupView) -> Rollout:
    if view.map.rollout is None:
        raise NotFound("no rollout is under way; start one: propeller rollout start")
    return view.map.rollout


def _version_that_runs(view: GroupView) -> str:
    """The version whose members hold the most shards. Raises Invalid if none tells its version."""
    held = Counter(view.map.versions.get(name, "") for name in view.map.holders.values())
    held.pop("", None)
    if not held:
        raise Invalid("no member that holds shards tells its version: say which one runs, --from VERSION")
    return held.most_common(1)[0][0]


def _other_version(view: GroupView, current: str) -> str:
    others = sorted(set(view.map.versions.values()) - {current})
    if len(others) != 1:
        raise Invalid(f"say which version to roll out, --to VERSION: beside {current} there are {others or 'none'}")
    return others[0]


def _by_clusters(view: GroupView, routes: Table | None) -> list[int]:
    """The shards of clusters in the order in which a new version gets them; without a table, that of the settings."""
    shards = {cluster_of_key(name): shard for name, shard in view.map.named_shards.items()}
    if routes is None:
        return list(shards.values())
    if unknown := sorted(shards.keys() - routes.clusters.keys()):
        raise Invalid(
            f"{', '.join(unknown)} of shards.clusters is not in the routing table: name that table's clusters"
        )

    def rank(cluster: str) -> tuple[bool, int]:
        found = routes.clusters[cluster]
        return found.state is not ClusterState.BAKE, found.priority

    return [shards[cluster] for cluster in sorted(shards, key=rank)]


def _versions_text(view: GroupView) -> str:
    return ", ".join(sorted(map(one_line, set(view.map.versions.values())))) or "none that tell theirs"


async def _change(
    kubeconfig: str | None, context: str | None, settings: Settings, change: Change, *, wait: bool = False
) -> int:
    async with connected(kubeconfig, context, settings) as (client, _):
        namespace, group = settings.election.lease_namespace, group_of(settings)
        rollout = await change_rollout(client, namespace, group, change)
        while True:
            if rollout is None:
                say("the rollout is over: all members are of one version")
                return SUCCEEDED
            say(_headline(rollout))
            if not wait or rollout.state.is_over:
                return PLATFORM_FAILED if wait and rollout.state is State.ABORTED else SUCCEEDED
            before = rollout
            while rollout == before:
                await asyncio.sleep(LOOK_SECONDS)
                rollout = (await view_group(client, namespace, group)).map.rollout


async def _status(kubeconfig: str | None, context: str | None, settings: Settings, output: str, *, wait: bool) -> int:
    async with connected(kubeconfig, context, settings) as (client, _):
        namespace, group = settings.election.lease_namespace, group_of(settings)
        while True:
            view = await view_group(client, namespace, group)
            rollout = view.map.rollout
            if not wait or rollout is None or rollout.state.is_over:
                break
            await asyncio.sleep(LOOK_SECONDS)
    if output == "json":
        say_json(_document(view))
    else:
        say("\n".join(_lines(view)))
    return PLATFORM_FAILED if wait and rollout is not None and rollout.state is State.ABORTED else SUCCEEDED


def _document(view: GroupView) -> dict[str, Any]:
    rollout = view.map.rollout
    return {
        "rollout": None
        if rollout is None
        else {
            "candidate": rollout.candidate,
            "current": rollout.current,
            "state": rollout.state,
            "stage": rollout.stage + 1,
            "stages": list(rollout.options.stages),
            "shards": sorted(rollout.shards),
            "clusters": sorted(_clusters_of(view.map, rollout)),
            "since": rollout.since,
            "reason": rollout.reason,
            "crashes": rollout.crashes,
            "waitsFor": waits_for(rollout),
        },
        "members": [
            {
                "name": name,
                "process": view.identities.get(name, ""),
                "version": view.map.versions.get(name, ""),
                "shards": sorted(view.map.held_by(name)),
                "counts": {what: [share.bad, share.total] for what, share in counts.shares.items()}
                if (counts := view.counts.get(name)) is not None
                else {},
            }
            for name in view.map.members
        ],
    }


def _clusters_of(map_: ShardMap, rollout: Rollout) -> list[str]:
    """The clusters whose shards the candidate is to have."""
    return [cluster_of_key(name) for name, shard in map_.named_shards.items() if shard in rollout.shards]


def _headline(rollout: Rollout) -> str:
    stage = "" if rollout.state.is_over else f", stage {rollout.stage + 1} of {len(rollout.options.stages)}"
    return (
        f"{one_line(rollout.candidate)} over {one_line(rollout.current)}: {rollout.state}{stage}: "
        f"{one_line(rollout.reason)}"
    )


def _lines(view: GroupView) -> Iterator[str]:
    yield "no rollout" if view.map.rollout is None else _headline(view.map.rollout)
    if view.map.rollout is not None and (clusters := _clusters_of(view.map, view.map.rollout)):
        yield f"it is to run the executions of {', '.join(map(one_line, clusters))}"
    if view.map.rollout is not None and (waits := waits_for(view.map.rollout)):
        yield f"to go on it waits for {one_line(waits)}"
    rows = (_row(view, name) for name in view.map.members)
    yield from table(("VERSION", "SHARDS", "MEMBER", "SINCE IT BEGAN"), rows)


def _row(view: GroupView, name: str) -> Sequence[object]:
    """What a member is and has done."""
    counts = view.counts.get(name)
    shares, done = (counts.shares, counts.done) if counts is not None else ({}, {})
    did = (
        *(f"{share.bad} of {share.total} {what}" for what, share in shares.items()),
        *(f"{count} {what}" for what, count in done.items()),
    )
    return (
        view.map.versions.get(name) or "-",
        len(view.map.held_by(name)),
        view.identities.get(name) or name,
        ", ".join(did),
    )
