"""`propeller install`: the manifests that a cluster needs before a controller can run on it."""

from __future__ import annotations

import click
import yaml

from propeller.config import LeaseOptions
from propeller.controller import manifests, workflow_crd
from propeller.fairqueues import fair_queue_crd


@click.command("install")
@click.option("--print", "print_", is_flag=True, help="Print the manifests as YAML (the only thing this command does).")
@click.option(
    "--namespace",
    default=LeaseOptions().lease_namespace,
    show_default=True,
    help="Where the controller's service account and its lease live.",
)
@click.option(
    "--only",
    default="",
    metavar="NAMESPACE",
    help="Rights on workflows and pods of this namespace alone, for propeller controller -n; default: of all.",
)
@click.option("--crd-only", is_flag=True, help="Only the CustomResourceDefinitions.")
def command(*, print_: bool, namespace: str, only: str, crd_only: bool) -> None:
    """Print the CRDs, service account and least-privilege RBAC of the controller.

    \b
    propeller install --print | kubectl apply -f -
    propeller install --print --namespace team-a --only team-a | kubectl apply -f -
    propeller controller -n team-a --lease team-a/propeller-controller
    """
    if not print_:
        raise click.UsageError("say --print: the manifests go to standard output, for kubectl apply -f -")
    documents = [workflow_crd(), *([] if only else [fair_queue_crd()])] if crd_only else manifests(namespace, only)
    click.echo(yaml.safe_dump_all(documents, sort_keys=False), nl=False)
