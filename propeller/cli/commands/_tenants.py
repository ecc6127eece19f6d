"""`propeller tenants`: who may have how much, and what each tenant has on each cluster."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import Commands, Finite, cluster_options, config_option, output_option


@click.group("tenants", cls=Commands)
def command() -> None:
    """Limits of projects and their domains, and their namespaces, quotas and accounts.

    \b
    propeller tenants list
    propeller tenants limit set ml/production hive=40
    propeller tenants sync tenants.yaml --dry-run
    """


@command.group("limit")
def _limit() -> None:
    """Change the limits of a tenant, while controllers run."""


@_limit.command("set")
@click.argument("tenant")
@click.argument("limits", nargs=-1, metavar="[POOL=N]...")
@cluster_options
@click.option(
    "--weight", type=Finite(0, min_open=True), default=None, help="Its share relative to the tenants beside it."
)
@click.option("--queue", default="", metavar="NAME", help="The FairQueue; default: the one that has the pool.")
@click.option(
    "--timeout",
    type=Finite(0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a controller to follow.",
)
@config_option()
def set_limits(**given: Any) -> Any:
    """Set how many tokens of pools a TENANT (a project, or project/domain) may hold, and its weight.

    The FairQueue that has the pool is changed, and running controllers follow it at once.

    \b
    propeller tenants limit set ml hive=40 cluster=200
    propeller tenants limit set ml/production --weight 3
    propeller tenants limit set ml hive=none              no limit any more
    """
    from propeller.cli._tenant_limits import set_limits

    return set_limits(**given)


@command.command("list")
@cluster_options
@output_option
@config_option()
def list_tenants(**given: Any) -> Any:
    """List the tenants of all FairQueues: weights and limits, and what they hold and wait for now."""
    from propeller.cli._tenant_limits import list_tenants

    return list_tenants(**given)


@command.command("sync")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Change nothing; show what differs, and exit with 1 if anything does.")
@click.option("--prune", is_flag=True, help="Delete marked objects that no template makes any more, but no namespace.")
@click.option("--prune-namespaces", is_flag=True, help="Delete such namespaces, with all that is in them.")
@click.option("--cluster", "only", multiple=True, metavar="NAME", help="Only this cluster; may be repeated.")
@click.option("--watch", "-w", is_flag=True, help="Go on, a round each interval, while holding the lease.")
@output_option
@config_option()
def sync(**given: Any) -> Any:
    """Make each cluster have what the templates of FILE mean for each project and domain.

    \b
    propeller tenants sync tenants.yaml --dry-run       what would change
    propeller tenants sync tenants.yaml                 change it
    propeller tenants sync tenants.yaml --watch         and keep it so
    """
    from propeller.cli._tenant_sync import sync_tenants

    return sync_tenants(**given)
