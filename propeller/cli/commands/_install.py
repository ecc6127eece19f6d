"""`propeller install`: manifests."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import config_option


@click.command("install")
@click.option("--print", "print_", is_flag=True, help="Print the manifests as YAML (the only thing this command does).")
@click.option(
    "--namespace",
    default="",
    show_default="flyte",
    metavar="NAMESPACE",
    help="Where the controller's service account and its lease live.",
)
@click.option(
    "--only",
    default="",
    metavar="NAMESPACE",
    help="Rights on workflows and pods of this namespace alone, for propeller controller -n; default: of all.",
)
@click.option("--image", default="", metavar="IMAGE", help="Also a Deployment that runs the controller.")
@config_option("Settings, TOML or YAML: rights that they do not need are left out; with --image the Deployment's.")
@click.option(
    "--routing",
    is_flag=True,
    help="Also the RoutingTable type, and the rights to follow one, as if routing.table were set (docs/routing.md).",
)
@click.option(
    "--shards",
    is_flag=True,
    help="Also the rights to divide the workflows, as if shards.count were set (docs/scale.md).",
)
@click.option(
    "--cluster-secret",
    "cluster_secrets",
    multiple=True,
    metavar="NAME",
    help="The right to read this Secret, which has the kubeconfig of a routing table's cluster. May be repeated.",
)
@click.option("--crd-only", is_flag=True, help="Only the CustomResourceDefinitions.")
@click.option(
    "--execution-cluster",
    is_flag=True,
    help="Account and rights in a cluster that only runs tasks, without a controller.",
)
def command(**given: Any) -> Any:
    """Print the CRDs, service account and least-privilege RBAC of the controller, and on request the controller itself.

    \b
    propeller install --print | kubectl apply -f -
    propeller install --print --image registry/propeller:0.1.0 --config propeller.yaml | kubectl apply -f -
    propeller install --print --namespace team-a --only team-a | kubectl apply -f -
    propeller controller -n team-a --lease team-a/propeller-controller
    """
    from propeller.cli._install import print_manifests

    return print_manifests(**given)
