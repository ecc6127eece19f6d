"""`propeller tenants`: who may have how much, and what each tenant has on each cluster."""

from __future__ import annotations

import click

from propeller.cli import _tenant_limits, _tenant_sync


@click.group("tenants")
def command() -> None:
    """Limits of projects and their domains, and their namespaces, quotas and accounts.

    \b
    propeller tenants list
    propeller tenants limit set ml/production hive=40
    propeller tenants sync tenants.yaml --dry-run
    """


@click.group("limit")
def _limit() -> None:
    """Change the limits of a tenant, while controllers run."""


_limit.add_command(_tenant_limits.set_limits)
command.add_command(_limit)
command.add_command(_tenant_limits.list_tenants)
command.add_command(_tenant_sync.command)
