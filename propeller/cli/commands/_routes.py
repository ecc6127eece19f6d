"""`propeller routes`: which cluster an execution goes to and why, before and after a change of the table."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import Commands, cluster_options, config_option, output_option


@click.group("routes", cls=Commands)
def command() -> None:
    """Say which cluster executions go to, and why; check a routing table before it is in force (docs/routing.md).

    TABLE is a file, or routingtable/NAME for that of the cluster.

    \b
    propeller routes explain routes.yaml --project ml --domain production
    propeller routes explain routes.yaml --project ml --task-type pytorch --resource nvidia.com/gpu=2
    propeller routes check routes.yaml expectations.yaml
    propeller routes simulate routingtable/default routes.yaml
    """


@command.command("explain")
@click.argument("table")
@click.option("--project", default="", metavar="NAME", help="Of the execution.")
@click.option("--domain", default="", metavar="NAME", help="Of the execution.")
@click.option("--workflow", default="", metavar="NAME", help="Such as flows.train.wf.")
@click.option("--launch-plan", default="", metavar="NAME", help="That started the execution.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of the execution.")
@click.option("--task-label", "task_labels", multiple=True, metavar="KEY=VALUE", help="Place a task with this label.")
@click.option("--task-type", default="", metavar="TYPE", help="Place a task: such as python-task or pytorch.")
@click.option("--accelerator", default="", metavar="KIND", help="Place a task that asks for this kind of GPU.")
@click.option(
    "--resource", "resources", multiple=True, metavar="NAME=AMOUNT", help="Place a task that requests so much."
)
@click.option("--interruptible/--not-interruptible", default=None, help="Place a task that is, or is not.")
@click.option(
    "-f",
    "--resource-file",
    "file",
    default="",
    metavar="FILE",
    help="A FlyteWorkflow (propeller compile, kubectl get -o json; - for standard input): its execution and its tasks.",
)
@click.option("--key", default="", metavar="NAMESPACE/NAME", help="Of the execution: what is hashed.")
@click.option("--current", default="", metavar="CLUSTER", help="The cluster that the execution has already.")
@click.option("--down", multiple=True, metavar="CLUSTER", help="As if this cluster were unhealthy; may be repeated.")
@click.option("--all-rules", is_flag=True, help="Also those after the rule that decides.")
@cluster_options
@output_option
@config_option()
def explain(**given: Any) -> Any:
    """Explain where TABLE sends an execution or a task: each rule with why it does not match, and the clusters with
    their scores.

    Without an option about tasks it is an execution as a whole, which rules about tasks pass over.

    \b
    propeller routes explain routes.yaml --project ml --domain production --down gpu-1
    propeller routes explain routes.yaml --task-type pytorch --resource nvidia.com/gpu=2
    propeller compile flow.py wf --x 3 | propeller routes explain routes.yaml -f -
    """
    from propeller.cli._routes_explain import explain_route

    return explain_route(**given)


@command.command("check")
@click.argument("table")
@click.argument("expectations", required=False, default="")
@cluster_options
@output_option
@config_option()
def check(**given: Any) -> Any:
    """Check TABLE: by itself, and against a file of EXPECTATIONS if there is one.

    Exit code 0 if all is well, 1 if an expectation is not met, 2 if the table or the file is wrong: then every problem
    is named with its line and column.

    \b
    propeller routes check routes.yaml
    propeller routes check routes.yaml expectations.yaml

    \b
    # expectations.yaml
    expectations:
      - execution: {project: ml, domain: production}
        task: {type: pytorch, resources: {nvidia.com/gpu: 2}}
        expect: {clusters: [gpu-1, gpu-2], rule: training}
      - execution: {project: ml}
        down: [gpu-1, gpu-2]
        expect: {waits: true}
    """
    from propeller.cli._routes_check import check_table

    return check_table(**given)


@command.command("simulate")
@click.argument("old")
@click.argument("new")
@click.option(
    "--executions",
    default="",
    metavar="FILE",
    help="Executions, in place of the cluster's: kubectl get flyteworkflows -A -o json, or a list of attributes.",
)
@click.option("--down", multiple=True, metavar="CLUSTER", help="As if this cluster were unhealthy; may be repeated.")
@cluster_options
@output_option
@config_option()
def simulate(**given: Any) -> Any:
    """Say how many running executions would move if table NEW took the place of OLD, and what each cluster would have.

    An execution moves if its cluster may no longer have its new attempts; what runs there goes on to its end. Nothing
    is changed. The cluster of an execution is that of its status, or the one that OLD would choose.

    \b
    propeller routes simulate routingtable/default routes.yaml
    propeller routes simulate old.yaml new.yaml --executions executions.yaml

    \b
    # executions.yaml
    executions:
      - {key: ml-production/a1, project: ml, domain: production, cluster: gpu-1}
      - {key: ml-production/a2, project: ml, domain: production, labels: {team: vision}}
    """
    from propeller.cli._routes_simulate import simulate_tables

    return simulate_tables(**given)
