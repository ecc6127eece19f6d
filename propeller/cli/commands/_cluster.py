"""`propeller cluster`: the embedded cluster over HTTP."""

from __future__ import annotations

from typing import Any

import click

from propeller.cli.commands._options import PORT_OR_ANY, config_option


@click.command("cluster")
@click.option(
    "--port",
    type=PORT_OR_ANY,
    default=0,
    show_default="any free one",
    metavar="PORT",
    help="Port of the API server, on 127.0.0.1.",
)
@click.option(
    "--kubeconfig", default="propeller.kubeconfig", show_default=True, metavar="FILE", help="Where to write it."
)
@click.option("--controller/--no-controller", default=True, show_default=True, help="Run FlyteWorkflows too.")
@click.option("--python", default="", metavar="PATH", help="The interpreter that pods run with.")
@click.option("--max-pods", type=click.IntRange(min=1), default=None, help="Pods at once; see kubelet.max_pods.")
@click.option("--tls/--no-tls", default=False, show_default=True, help="Serve HTTPS (needs the openssl command).")
@config_option()
def command(**given: Any) -> Any:
    """Serve an API server whose pods run as processes of this machine, until Ctrl-C.

    Tasks find the modules of the directory in which it is started.

    \b
    propeller cluster &
    kubectl --kubeconfig propeller.kubeconfig get nodes
    propeller compile flow.py wf --x 3 | kubectl --kubeconfig propeller.kubeconfig create -f -
    kubectl --kubeconfig propeller.kubeconfig get flyteworkflows,pods -w
    """
    from propeller.cli._cluster import serve_cluster

    return serve_cluster(**given)
