"""`propeller routes`: which cluster an execution goes to and why, before and after a change of the table."""

from __future__ import annotations

import click

from propeller.cli import _routes_check, _routes_explain, _routes_simulate


@click.group("routes")
def command() -> None:
    """Say which cluster executions go to, and why; check a routing table before it is in force (docs/routing.md).

    TABLE is a file, or routingtable/NAME for that of the cluster.

    \b
    propeller routes explain routes.yaml --project ml --domain production
    propeller routes explain routes.yaml --project ml --task-type pytorch --resource nvidia.com/gpu=2
    propeller routes check routes.yaml expectations.yaml
    propeller routes simulate routingtable/default routes.yaml
    """


command.add_command(_routes_explain.command)
command.add_command(_routes_check.command)
command.add_command(_routes_simulate.command)
